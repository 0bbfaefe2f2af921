"""TODO generators.voices."""
