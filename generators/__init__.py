"""Talking heads and voices: the forgeries that the detector is trained on."""
