"""Evaluation: metrics, benchmarks, robustness, audits of data sets, reports, speed."""
