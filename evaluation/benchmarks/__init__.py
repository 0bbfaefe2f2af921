"""Benchmarks to tables: who is tested on what, whose scores, which figures."""
