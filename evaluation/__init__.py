"""Benchmarks to tables: metrics, trivial rivals, reports, speed."""
