"""Exit statuses of the commands."""

from __future__ import annotations

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2
EXIT_FAKE = 3  # of `score --fail-on-fake`
EXIT_LEAK = 3  # of `audit`
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it
