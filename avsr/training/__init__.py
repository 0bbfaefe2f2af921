"""TODO avsr.training."""
