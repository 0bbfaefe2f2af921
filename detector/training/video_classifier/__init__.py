"""Training of the video classifier on CLIP features."""
