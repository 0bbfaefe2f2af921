"""TODO generators.talking.models."""
