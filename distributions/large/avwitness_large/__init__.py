"""Weights of the detector ``large``; ``avwitness`` finds them by the entry point group ``avwitness.weights``."""
