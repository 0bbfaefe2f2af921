"""The forge: plans a set of forged and genuine clips, applies the methods, postprocesses, and writes files and manifest."""
