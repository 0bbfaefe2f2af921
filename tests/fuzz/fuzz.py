"""Decode damaged files in limited child processes, and count what goes wrong.

Every file is decoded in a child process with limits on its memory and time. A file must be decoded or refused as damaged: a child that dies
is a crash, one that exceeds its time a hang, one that exceeds its memory is counted as such, and any other exception is an error.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from containers import write_containers
from mutations import MUTATIONS

from avwitness.media.clip import MediaError
from avwitness.media.windows import MediaReader

SECONDS = 60.0  # for one file
OUTCOMES = ("decoded", "refused", "crash", "hang", "memory", "error")
CAUSES = {  # what the errors of the child processes say
    "crash": ("crashes the decoder", "sent what is no answer"),
    "hang": ("of processor time", "gave no answer", "stopped to answer"),
    "memory": ("of memory",),
}


@dataclass(frozen=True)
class Case:
    """One damaged file.

    Parameters
    ----------
    number : int
        With the seed it determines the file.
    container : str
    mutations : tuple of str
    outcome : str
        One of :data:`OUTCOMES`.
    cause : str
        The error, if there was one.
    seconds : float
    """

    number: int
    container: str
    mutations: tuple[str, ...]
    outcome: str
    cause: str
    seconds: float


def mutate(number: int, seed: int, whole: dict[str, bytes]) -> tuple[str, tuple[str, ...], bytes]:
    """Name of the container, names of the mutations, and the bytes of a damaged file."""
    rng = np.random.default_rng([seed, number])
    names = list(whole)
    name = names[number % len(names)]  # every container in turn
    data, others, done = bytearray(whole[name]), list(whole.values()), []
    for _ in range(int(rng.integers(1, 4))):
        mutation = MUTATIONS[int(rng.integers(len(MUTATIONS)))]
        if len(data) > 1:
            mutation(data, rng, others)
            done.append(mutation.__name__)
    return name, tuple(done), bytes(data)


def decode(path: Path) -> tuple[str, str]:
    """Outcome and cause of decoding a file, which happens in the limited child processes of :mod:`avwitness.media.sandbox`."""
    begun = time.monotonic()
    try:
        media = MediaReader(path)
        for _ in media.windows():
            if time.monotonic() - begun > SECONDS:
                return "hang", f"takes more than {SECONDS:.0f} s"
        media.check()
    except MediaError as error:
        outcome = next((outcome for outcome, causes in CAUSES.items() if any(cause in error.cause for cause in causes)), "refused")
        return outcome, error.cause
    except Exception as error:
        return "memory" if isinstance(error, MemoryError) else "error", repr(error)
    return "decoded", ""


def run_cases(count: int, seed: int = 0, keep: Path | None = None) -> Iterator[Case]:
    """Damage and decode files.

    Parameters
    ----------
    count : int
        Number of files.
    seed : int
    keep : Path, optional
        Folder for the files that are neither decoded nor refused.
    """
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        whole = write_containers(Path(folder))
        for number in range(count):
            name, mutations, data = mutate(number, seed, whole)
            path = Path(folder) / f"{number}.{name}"
            path.write_bytes(data)
            begun = time.monotonic()
            outcome, cause = decode(path)
            yield Case(number, name, mutations, outcome, cause, round(time.monotonic() - begun, 3))
            if keep is not None and outcome not in ("decoded", "refused"):
                keep.mkdir(parents=True, exist_ok=True)
                path.replace(keep / f"{seed}-{path.name}")
            path.unlink(missing_ok=True)
