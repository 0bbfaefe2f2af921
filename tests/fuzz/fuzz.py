"""Decode damaged files in limited child processes, and count what goes wrong: ``make fuzz``.

Every file is decoded in a process of its own, with limits on its memory and time. A file must be decoded or refused by
``MediaError``; a signal is a crash, the time limit a hang, the memory limit too much memory, any other exception an error.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from containers import write_containers
from mutations import MUTATIONS

from avwitness.media.clip import MediaError
from avwitness.media.windows import MediaReader

MEMORY = 2 * 1024**3  # bytes of address space that a file may add
SECONDS = 20  # of processor time for one file
OUTCOMES = ("decoded", "refused", "crash", "hang", "memory", "error")
REFUSED, OVER_MEMORY, OTHER = 10, 11, 12  # exit statuses of a child


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
    seconds : float
    """

    number: int
    container: str
    mutations: tuple[str, ...]
    outcome: str
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


def decode_in_child(path: Path) -> str:
    """Outcome of decoding a file in a fork of this process, which has no threads."""
    child = os.fork()
    if not child:
        _decode(path)
    deadline = time.monotonic() + 3 * SECONDS
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "hang"
        time.sleep(0.002)
    if os.WIFSIGNALED(status):
        return "hang" if os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL) else "crash"
    return {0: "decoded", REFUSED: "refused", OVER_MEMORY: "memory"}.get(os.WEXITSTATUS(status), "error")


def _decode(path: Path) -> None:
    """Decode a file and end this process."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    status = OTHER
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        media = MediaReader(path)
        for _ in media.windows():
            pass
        media.check()
        status = 0
    except MediaError:
        status = REFUSED
    except MemoryError:
        status = OVER_MEMORY
    except BaseException as error:
        status = OVER_MEMORY if "allocate" in str(error) else OTHER
    finally:
        os._exit(status)


def fuzz(count: int, seed: int = 0, keep: Path | None = None) -> Iterator[Case]:
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
            outcome = decode_in_child(path)
            yield Case(number, name, mutations, outcome, round(time.monotonic() - begun, 3))
            if keep is not None and outcome not in ("decoded", "refused"):
                keep.mkdir(parents=True, exist_ok=True)
                path.replace(keep / f"{seed}-{path.name}")
            path.unlink(missing_ok=True)


def main() -> int:
    """Entry point; the exit status is 1 if anything crashed, hung or took too much memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=None, help="folder for the files that went wrong")
    parser.add_argument("--json", type=Path, default=None, help="file for all cases")
    arguments = parser.parse_args()
    cases = []
    for case in fuzz(arguments.count, arguments.seed, arguments.keep):
        cases.append(case)
        if case.outcome not in ("decoded", "refused"):
            print(case, flush=True)
    counts = Counter(case.outcome for case in cases)
    containers = len({case.container for case in cases})
    print(f"{len(cases)} files of {containers} containers: " + ", ".join(f"{counts[name]} {name}" for name in OUTCOMES))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps([asdict(case) for case in cases]) + "\n")
    return int(any(counts[name] for name in OUTCOMES[2:]))


if __name__ == "__main__":
    raise SystemExit(main())
