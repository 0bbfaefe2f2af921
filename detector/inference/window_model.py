"""The interface between a file's windows and the model that scores them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..calibration import Calibration
from ..verdict import ModelInfo

#: Called after every window with the seconds done and the seconds in all (None if the container does not state them).
Hook = Callable[[float, float | None], None]


class NonFiniteOutput(RuntimeError):
    """A model output NaN or infinity.

    Parameters
    ----------
    fields : sequence of str
        Names of the outputs that are not finite.
    """

    def __init__(self, fields: Sequence[str]) -> None:
        super().__init__(
            f"the model output NaN or infinity ({', '.join(fields)}), so there is no verdict; its weights are damaged or the installed "
            "torch or transformers does not load them as they were saved: install avwitness again with constraints.txt, or score on "
            "another device"
        )
        self.fields = tuple(fields)

    def __reduce__(self) -> tuple[type[NonFiniteOutput], tuple[tuple[str, ...]]]:
        return type(self), (self.fields,)


@dataclass(frozen=True)
class WindowOutput:
    """Model output for one window, as arrays; fields of an absent stream are ``None``.

    Parameters
    ----------
    audio, video : float or None
        Logit of the stream over the whole window.
    audio_frames, video_frames : float32 [T] or None
        Logit of every frame at 25 Hz.
    sync : float32 [2, 31] or None
        Sums of similarities and counts of compared frames by offset, see :class:`avwitness.avsr.sync_network.SyncNetwork`.
    """

    audio: float | None = None
    video: float | None = None
    audio_frames: np.ndarray | None = None
    video_frames: np.ndarray | None = None
    sync: np.ndarray | None = None

    def check(self) -> None:
        """Raise :class:`NonFiniteOutput` if any number is NaN or infinite."""
        wrong = [name for name, value in vars(self).items() if value is not None and not np.isfinite(value).all()]
        if wrong:
            raise NonFiniteOutput(wrong)


class WindowModel(Protocol):
    """A model that scores windows: a trained detector, or the comparison of zero-shot scoring."""

    info: ModelInfo
    calibration: Calibration

    @property
    def uses_portraits(self) -> bool:
        """Whether windows need portraits of the speaking face."""

    def extract_audio_features(self, waveform: np.ndarray) -> np.ndarray:
        """Audio features [T, F] of a waveform."""

    def predict_window(
        self,
        features: np.ndarray | None,
        crops: np.ndarray | None,
        usable: np.ndarray | None,
        faces: np.ndarray | None = None,
        waveform: np.ndarray | None = None,
        portraits: tuple[np.ndarray, np.ndarray] | None = None,
        lips: np.ndarray | None = None,
    ) -> WindowOutput:
        """Model output for one window; see :meth:`avwitness.detector.inference.detector.Detector.predict_window`."""
