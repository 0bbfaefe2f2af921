"""Benchmarks to tables: metrics, trivial baselines, reports, speed."""
