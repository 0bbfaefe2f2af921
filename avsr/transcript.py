"""What transcription of a file gives, and what every transcriber of files does alike."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from ..media.clip import MediaError
from .decoding import Word


@dataclass(frozen=True)
class Transcript:
    """Transcript of one file.

    Parameters
    ----------
    path : str
    modality : str or None
        Streams that were transcribed: av, audio or video.
    text : str or None
    words : tuple of Word
    error : str or None
        Why there is no text.
    """

    path: str
    modality: str | None = None
    text: str | None = None
    words: tuple[Word, ...] = field(default_factory=tuple)
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self) | {"words": [asdict(word) for word in self.words]}


class FileTranscriber(ABC):
    """Transcribes files one by one; a bad file gives a transcript with an error.

    Attributes
    ----------
    modalities : tuple of str
        What can be asked for; ``av`` uses the streams that the file has and the model takes.
    """

    modalities: ClassVar[tuple[str, ...]] = ("av", "audio", "video")

    def transcribe_many(self, paths: Iterable[str | os.PathLike[str]], modality: str = "av") -> Iterator[Transcript]:
        """One transcript per path, in order; a file that cannot be read becomes a transcript with an error."""
        for path in paths:
            yield self.transcribe(path, modality)

    def transcribe(self, path: str | os.PathLike[str], modality: str = "av") -> Transcript:
        """Transcribe one file; a file that cannot be read gives a transcript with an error.

        Parameters
        ----------
        modality : str
            One of :attr:`modalities`.

        Raises
        ------
        ValueError
            If it is none of them.
        """
        self.check(modality)
        name = os.fspath(path)
        try:
            return self._transcribe(name, modality)
        except MediaError as error:
            return Transcript(name, error=str(error))
        except Exception as error:  # one file must not stop the others
            return Transcript(name, error=f"{name}: could not be transcribed: {type(error).__name__}: {error}")

    def check(self, modality: str) -> None:
        """Raise ``ValueError`` if the model does not take this modality."""
        if modality not in self.modalities:
            raise ValueError(f"modality must be one of {', '.join(self.modalities)}, not {modality!r}")

    @abstractmethod
    def _transcribe(self, path: str, modality: str) -> Transcript:
        """Transcribe one file.

        Raises
        ------
        MediaError
            If it cannot be read, or lacks the streams.
        """
