"""A scoring service: uploads in, verdicts out, with limits on size, load and time, and one pool of worker processes.

Install it with ``pip install avwitness fastapi uvicorn`` and start it with
``uvicorn fastapi_server:app --workers 1`` in this folder. One server process is enough: scoring happens in worker processes, and a
second server process would start a pool of its own.

Every request gets exactly one answer:

- 200 and a verdict, also where the file is damaged, hangs its decoder or takes too long (``status`` is ``error`` then);
- 413 where the upload is too large, before it is read to its end;
- 429 where too many uploads wait already, so that a client tries again later instead of waiting without an end;
- 503 where the model cannot be loaded.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response

import avwitness
from avwitness.detector.inference.processes.pool import ModelUnavailable

CHUNK = 1 << 20  # bytes of an upload that are in memory at once


@dataclass(frozen=True)
class Limits:
    """What a client may ask for.

    Parameters
    ----------
    workers : int
        Worker processes.
    waiting : int
        Uploads that may be received or wait, beside those that are scored.
    megabytes : int
        Size of an upload.
    upload_seconds, score_seconds : float
        Time to receive an upload, and to score it. A day of sound in a small file is cut off by the latter.
    """

    workers: int = max(1, (os.cpu_count() or 1) // 2)
    waiting: int = 16
    megabytes: int = 200
    upload_seconds: float = 60.0
    score_seconds: float = 120.0


async def receive(request: Request, target: Path, limits: Limits) -> None:
    """Write the body of a request to a file.

    Raises
    ------
    HTTPException
        413 if it is too large, 408 if it comes too slowly.
    """
    most = limits.megabytes * 1_000_000
    size = 0
    try:
        async with asyncio.timeout(limits.upload_seconds):
            with target.open("wb") as file:
                async for chunk in request.stream():
                    size += len(chunk)
                    if size > most:
                        raise HTTPException(413, f"the upload is larger than {limits.megabytes} MB")
                    await asyncio.to_thread(file.write, chunk)
    except TimeoutError:
        raise HTTPException(408, f"the upload took longer than {limits.upload_seconds:g} s") from None


async def score_until_disconnected(detector: avwitness.Detector, file: Path, request: Request, seconds: float) -> avwitness.Verdict | None:
    """Score a file; ``None`` where the client has gone meanwhile, in which case the worker is free for another file at once."""
    scoring = asyncio.ensure_future(detector.ascore(file, timeout=seconds))
    try:
        while not scoring.done():
            await asyncio.wait([scoring], timeout=0.5)
            if not scoring.done() and await request.is_disconnected():
                return None
        return scoring.result()
    finally:
        scoring.cancel()


def create_app(limits: Limits | None = None, model: str = "small") -> FastAPI:
    """The service.

    Parameters
    ----------
    limits : Limits, optional
    model : str
        As for :func:`avwitness.load`.
    """
    limits = limits or Limits()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with avwitness.load(model, workers=limits.workers) as detector:  # the processes live as long as the service
            app.state.detector = detector
            app.state.places = limits.workers + limits.waiting  # touched by the event loop alone, so no lock is needed
            yield

    app = FastAPI(title="avwitness", lifespan=lifespan)

    @app.post("/score")
    async def score(request: Request) -> Any:
        """Score the body of the request, a media file."""
        if int(request.headers.get("content-length") or 0) > limits.megabytes * 1_000_000:
            raise HTTPException(413, f"the upload is larger than {limits.megabytes} MB")
        if app.state.places <= 0:
            raise HTTPException(429, "too many uploads wait; try again later", headers={"Retry-After": "5"})
        app.state.places -= 1
        try:
            with tempfile.TemporaryDirectory(prefix="upload-") as folder:
                file = Path(folder) / "upload"  # never a name that the client chose
                await receive(request, file, limits)
                verdict = await score_until_disconnected(app.state.detector, file, request, limits.score_seconds)
        except ModelUnavailable as error:
            raise HTTPException(503, str(error)) from None
        finally:
            app.state.places += 1
        if verdict is None:
            return Response(status_code=499)  # nobody reads it
        answer = verdict.to_dict()
        answer["path"] = "upload"
        if answer["error"] is not None:
            answer["error"]["message"] = answer["error"]["message"].replace(str(file), "upload")
        return answer

    @app.get("/health")
    async def health() -> dict[str, int]:
        """Places that are left for uploads."""
        return {"places": app.state.places}

    return app


app = create_app()
