"""Readers of deepfake benchmarks: one module per benchmark, each returns a table of clips with a label for each stream."""
