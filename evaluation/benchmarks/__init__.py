"""Evaluation on benchmarks: protocols, score files, metrics, fairness, temporal localisation, and the results folder."""
