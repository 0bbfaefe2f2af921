"""Talking and listening heads."""
