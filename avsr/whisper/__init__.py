"""Whisper: the first layers of its audio encoder as a feature extractor, and conversion of published checkpoints."""
