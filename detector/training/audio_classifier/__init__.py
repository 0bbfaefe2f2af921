"""Training of the audio classifier: its clips, the linear fit and cross-validation by page, and export with calibration."""
