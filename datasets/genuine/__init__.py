"""Readers of corpora that hold genuine clips only: GRID, LRS, VoxCeleb2, and the speaker-listener pairs of ViCo."""
