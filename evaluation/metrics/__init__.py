"""Metrics and their confidence intervals: ranking, classification, calibration, temporal localisation, bootstrap, baselines."""
