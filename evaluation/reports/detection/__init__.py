"""TODO evaluation.reports.detection."""
