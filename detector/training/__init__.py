"""TODO detector.training."""
