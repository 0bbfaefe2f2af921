"""Benchmarks on disk."""
