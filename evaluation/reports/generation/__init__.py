"""Reports on the talking-head generators: image quality, lip sync, identity, and the claims of their papers."""
