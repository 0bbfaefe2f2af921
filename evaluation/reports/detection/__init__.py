"""Reports on the detector: results on benchmarks, ablations, and the held-out forged set."""
