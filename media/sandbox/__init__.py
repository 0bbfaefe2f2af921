"""Decoding of untrusted media in child processes with limits on memory, processor time and files."""
