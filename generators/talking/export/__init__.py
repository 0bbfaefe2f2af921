"""TODO generators.talking.export."""
