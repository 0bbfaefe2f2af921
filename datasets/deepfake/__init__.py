"""TODO datasets.deepfake."""
