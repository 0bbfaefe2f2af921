"""The program of a scoring process: files come in and verdicts go out as JSON lines."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from typing import Any

from ...media.parallel import exit_with_parent
from .detector import load
from .file_scorer import FileScorer
from .zero_shot import load_zero_shot


def load_detector(
    model: str, device: str = "auto", zero_shot: bool = False, threshold: float | None = None, workers: int = 0
) -> FileScorer:
    """Load a trained detector, or an encoder for zero-shot scoring.

    Parameters
    ----------
    model, device, workers
        As for :func:`avwitness.load`.
    zero_shot : bool
        Whether ``model`` is a folder for :func:`avwitness.detector.inference.zero_shot.load_zero_shot`, which ``threshold`` goes to.
    threshold : float, optional
    """
    if zero_shot:
        return load_zero_shot(model, device, threshold, workers)
    return load(model, device=device, workers=workers)


def main() -> None:
    """Serve until standard input closes or the parent process is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal; the parent ends this one
    # Libraries print to descriptor 1, so verdicts get a descriptor of their own.
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    settings = json.loads(sys.stdin.readline())

    threading.Thread(target=exit_with_parent, args=(settings["parent"],), daemon=True).start()
    import torch

    torch.set_num_threads(settings["threads"])

    def reply(message: dict[str, Any]) -> None:
        replies.write(json.dumps(message, allow_nan=False) + "\n")
        replies.flush()

    try:
        detector = load_detector(**{name: settings[name] for name in ("model", "device", "zero_shot", "threshold")})
    except Exception as error:  # raised again by the parent
        reply({"failed": type(error).__name__, "message": str(error)})
        return
    reply({"ready": True})
    for line in sys.stdin:
        job = json.loads(line)
        verdict = detector.score_guarded(job["path"], **job["options"], hook=lambda done, total: reply({"progress": [done, total]}))
        reply({"verdict": verdict.to_dict()})


if __name__ == "__main__":
    main()
