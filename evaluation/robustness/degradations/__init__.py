"""Degradations of a clip for robustness tests, by name: coding, noise, timing, changes of the image and of the audio."""
