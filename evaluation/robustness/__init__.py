"""Robustness of a detector: its metrics on degraded copies of a benchmark."""
