"""TODO media.face."""
