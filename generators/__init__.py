"""Generators of synthetic training fakes: voices, faces, talking heads, and the forge that writes labelled sets from genuine clips."""
