"""From a media file to a verdict: quality checks, windows, scoring, worker processes or a Ray cluster, output files."""
