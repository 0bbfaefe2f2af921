"""The dual-label detector: model, training, calibration, and the way from a file to a verdict."""
