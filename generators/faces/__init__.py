"""TODO generators.faces."""
