"""Talking-head and listening-head generation: four models, one renderer, their training, and marked export."""
