"""TODO generators.forge."""
