"""Measurement of the offset between audio and lips of a file."""
