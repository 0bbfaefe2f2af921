"""TODO evaluation.reports."""
