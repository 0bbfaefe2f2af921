"""Reports on the talking-head generators: image quality, lip sync, identity, motion, and ablations."""
