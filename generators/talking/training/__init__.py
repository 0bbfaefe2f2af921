"""Training of the renderer and of the four motion models."""
