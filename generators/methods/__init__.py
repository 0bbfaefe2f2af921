"""TODO generators.methods."""
