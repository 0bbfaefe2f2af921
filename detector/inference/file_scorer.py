"""Base class of the detectors: many files, worker processes, errors to verdicts."""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

import torch

from ...media.clip import MediaError
from ..verdict import ModelInfo, Verdict, error_verdict
from .window_model import Hook, NonFiniteOutput

log = logging.getLogger(__name__)


class FileScorer(ABC):
    """Scores files one by one or many at once.

    Attributes
    ----------
    info : ModelInfo
        Named in every verdict.
    source : str
        Name or folder from which worker processes load the same detector.
    device : torch.device
    """

    info: ModelInfo
    source: str
    device: torch.device

    @abstractmethod
    def score(
        self, path: str | os.PathLike[str], *, modality: str = "auto", trim_silence: bool = False, hook: Hook | None = None
    ) -> Verdict:
        """Score one file."""

    def score_many(
        self, paths: Iterable[str | os.PathLike[str]], workers: int = 0, *, modality: str = "auto", trim_silence: bool = False
    ) -> Iterator[Verdict]:
        """Score many files.

        Parameters
        ----------
        paths : iterable of path-like
        workers : int
            Number of processes; 0 scores in this one. With workers a decoder that crashes or hangs costs only its own file.
        modality, trim_silence
            As for :meth:`score`.

        Yields
        ------
        Verdict
            One for every input, in the order of the inputs.
        """
        if workers > 0:
            from .pool import score_in_processes

            settings: dict[str, Any] = {
                "model": self.source,
                "device": str(self.device),
                "modality": modality,
                "trim_silence": trim_silence,
            }
            yield from score_in_processes(paths, workers, **settings, **self._worker_settings())
            return
        for path in paths:
            yield self.score_guarded(path, modality=modality, trim_silence=trim_silence)

    def score_guarded(
        self, path: str | os.PathLike[str], *, modality: str = "auto", trim_silence: bool = False, hook: Hook | None = None
    ) -> Verdict:
        """As :meth:`score`, but every exception becomes a verdict of status ``error``."""
        try:
            return self.score(path, modality=modality, trim_silence=trim_silence, hook=hook)
        except Exception as error:  # one file must not stop the others
            log.debug("%s", error, exc_info=True)
            return error_verdict(os.fspath(path), type(error).__name__, f"{os.fspath(path)}: could not be scored: {error}", self.info)

    def _error_verdict(self, path: str | os.PathLike[str], error: MediaError | NonFiniteOutput) -> Verdict:
        """The verdict of status ``error`` on a file that cannot be read, or for which the model outputs no finite numbers."""
        log.debug("%s", error, exc_info=True)
        if isinstance(error, MediaError):
            return error_verdict(os.fspath(path), "MediaError", str(error), self.info)
        return error_verdict(os.fspath(path), "NonFiniteOutput", f"{os.fspath(path)}: {error}", self.info)

    def _worker_settings(self) -> dict[str, Any]:
        """Further arguments of :func:`avwitness.detector.inference.pool.score_in_processes`."""
        return {}
