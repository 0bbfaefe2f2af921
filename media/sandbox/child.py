"""The decoding child process: takes jobs from a socket, decodes within its limits, and sends back frames and samples."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import resource
import select
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import av
import numpy as np

from ..clip import SAMPLE_RATE, AudioInfo, Damage, MediaError, MediaInfo, Track, VideoInfo
from .containers import MediaFile
from .decoders import batches, stream_frames, stream_samples
from .messages import CANCEL, receive, send
from .packets import packet_statistics
from .probing import probe_file

MEMORY = 4 << 30  # bytes of address space
CPU_SECONDS = 120  # of processor time from one frame, or one batch of samples, to the next
BATCH = SAMPLE_RATE // 2  # samples that are sent at once


def info_from(values: dict[str, Any]) -> MediaInfo:
    """Inverse of :func:`dataclasses.asdict` for what JSON made of a :class:`MediaInfo`."""
    return MediaInfo(
        path=Path(values["path"]),
        container=str(values["container"]),
        duration=values["duration"],
        video=VideoInfo(**values["video"]) if values["video"] else None,
        audio=AudioInfo(**values["audio"]) if values["audio"] else None,
        tracks=tuple(Track(**track) for track in values["tracks"]),
    )


def _import_all() -> None:
    """Import what PyAV imports on first use: while a job runs, no file can be opened."""
    for module in pkgutil.walk_packages(av.__path__, "av."):
        if not module.name.endswith("__main__"):
            with contextlib.suppress(ImportError):
                importlib.import_module(module.name)


def main(descriptor: int) -> None:
    """Serve jobs until the parent process closes its end of the socket."""
    connection = socket.socket(fileno=descriptor)
    _import_all()
    for kind, value in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0)):
        with contextlib.suppress(ValueError, OSError):  # lower already, or not known here
            resource.setrlimit(kind, (value, value))
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)
    with contextlib.suppress(OSError, EOFError):  # the parent process is gone
        send(connection, {"ready": True})
        while True:
            start, descriptors, _, _ = socket.recv_fds(connection, 1, 1)
            if not start:
                return
            if start == CANCEL:  # of a job that had just ended
                continue
            header, _ = receive(connection)
            _serve(connection, header, descriptors[0])


def _serve(connection: socket.socket, job: dict[str, Any], descriptor: int) -> None:
    file = MediaFile(descriptor, job["path"])
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    limited = job.get("reader") != "decord"  # which opens the descriptor by its name in /dev/fd
    try:
        _limit_processor_time()
        if limited:
            resource.setrlimit(resource.RLIMIT_NOFILE, (0, files[1]))
        reply = _run(connection, file, job)
    except MediaError as error:
        reply = {"error": error.cause}
    except MemoryError:
        reply = {"error": f"needs more than {MEMORY >> 30} GB of memory to be decoded: damaged or made to fill it"}
    except (OSError, EOFError) as error:
        if getattr(error, "errno", None) is None or isinstance(error, (BrokenPipeError, ConnectionError)):
            raise
        reply = {"error": f"cannot be read ({getattr(error, 'strerror', None) or error})"}
    except Exception as error:  # whatever a damaged file makes a decoder raise
        reply = {"error": f"could not be decoded: damaged or of a kind that is not known ({type(error).__name__}: {error})"}
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, files)
        file.close()
    send(connection, reply)


def _run(connection: socket.socket, file: MediaFile, job: dict[str, Any]) -> dict[str, Any]:
    if job["job"] == "probe":
        return {"info": json.loads(json.dumps(asdict(probe_file(file, job["video_track"], job["audio_track"])), default=str))}
    info, damage = info_from(job["info"]), Damage()
    if job["job"] == "packets":
        return {"info": {kind: asdict(stats) for kind, stats in packet_statistics(file, info).items()}}
    items: Iterator[Any]
    message: Callable[[Any], tuple[dict[str, Any], np.ndarray]]
    if job["job"] == "frames":
        items = stream_frames(file, info, damage, job["long_side"], job["reader"], job["max_seconds"])
        message = lambda item: ({"time": item[0], "shape": item[1].shape[:2]}, item[1])  # noqa: E731
    else:
        items = batches(stream_samples(file, info, damage, job["max_seconds"], job["channel"], job["native"]), BATCH)
        message = lambda item: ({"samples": len(item)}, item)  # noqa: E731
    with contextlib.closing(items):  # type: ignore[type-var]
        for item in items:
            header, payload = message(item)
            send(connection, {**header, "damage": asdict(damage)}, payload)
            if select.select([connection], [], [], 0)[0]:
                break  # cancelled
            _limit_processor_time()
    return {"end": True, "damage": asdict(damage)}


def _limit_processor_time() -> None:
    limit = int(time.process_time()) + CPU_SECONDS
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


if __name__ == "__main__":
    main(int(sys.argv[1]))
