"""TODO generators.talking.training."""
