"""TODO generators.talking.rendering."""
