"""Training of the detector: samples, batches, augmentation, losses, recipes, export of checkpoints."""
