"""From a media file to a verdict: decoding, quality checks, windows, scoring in worker processes or on a Ray cluster, output files."""
