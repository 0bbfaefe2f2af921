"""TODO datasets.genuine."""
