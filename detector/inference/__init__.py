"""TODO detector.inference."""
