"""TODO evaluation.reports.generation."""
