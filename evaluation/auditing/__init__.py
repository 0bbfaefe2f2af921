"""Audit of a data set for shortcuts: trivial statistics, the probes of them, and the report."""
