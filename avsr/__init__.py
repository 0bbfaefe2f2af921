"""Audio-visual speech: the backbones that the detector stands on."""
