"""TODO evaluation.robustness.degradations."""
