"""The audit of a data set for shortcuts: its statistics, the probes of them, and what is said of it."""
