"""Training of the sync network: recordings of speech that is heard and seen, contrast in time, calibration, export."""
