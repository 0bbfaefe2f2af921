"""One scoring process: reads paths and writes verdicts as JSON lines. Started by :mod:`avwitness.detector.inference.pool`."""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def main() -> None:
    """Score the paths on standard input until it closes."""
    # Libraries print to descriptor 1, so verdicts get a descriptor of their own.
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    settings = json.loads(sys.stdin.readline())

    import torch

    torch.set_num_threads(settings["threads"])
    from .detector import load
    from .file_scorer import FileScorer
    from .zero_shot import load_zero_shot

    def reply(message: dict[str, Any]) -> None:
        replies.write(json.dumps(message, allow_nan=False) + "\n")
        replies.flush()

    try:
        detector: FileScorer
        if settings["zero_shot"]:
            detector = load_zero_shot(settings["model"], settings["device"], settings["threshold"])
        else:
            detector = load(settings["model"], device=settings["device"])
    except Exception as error:  # raised again by the parent
        reply({"failed": type(error).__name__, "message": str(error)})
        return
    reply({"ready": True})
    for line in sys.stdin:
        verdict = detector.score_guarded(
            json.loads(line),
            modality=settings["modality"],
            trim_silence=settings["trim_silence"],
            hook=lambda done, total: reply({"progress": [done, total]}),
        )
        reply({"verdict": verdict.to_dict()})


if __name__ == "__main__":
    main()
