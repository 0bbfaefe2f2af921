"""Scoring in worker processes: the pool, and the threads that send files to the processes and replace them."""
