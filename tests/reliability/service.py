"""The scoring service of ``examples/`` under load: uploads, ten at once, five in a hundred hostile."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

SERVER = Path(__file__).parents[2] / "examples" / "fastapi_server.py"
AT_ONCE = 10


def load_server() -> ModuleType:
    """The module of the example, which is in no package."""
    spec = importlib.util.spec_from_file_location("fastapi_server", SERVER)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fastapi_server"] = module
    spec.loader.exec_module(module)
    return module


@dataclass
class Load:
    """Answers of the service.

    Parameters
    ----------
    codes : list of int
        HTTP status of each answer, in the order of the uploads.
    states : list of str
        ``status`` of each verdict.
    seconds : list of float
        From the upload to its answer.
    free : int
        Places that were free afterwards; all of them, unless an upload was lost.
    places : int
        Places that there are.
    """

    codes: list[int]
    states: list[str]
    seconds: list[float]
    free: int
    places: int

    @property
    def slowest(self) -> tuple[float, float]:
        """Median and 95th percentile of the seconds."""
        return float(np.median(self.seconds)), float(np.quantile(self.seconds, 0.95))


def load_service(bodies: list[bytes], count: int, workers: int = 1) -> Load:
    """Upload ``count`` bodies in turn, :data:`AT_ONCE` at once."""
    import httpx

    server = load_server()
    limits = server.Limits(workers=workers)
    app = server.create_app(limits)

    async def upload_all() -> Load:
        at_once = asyncio.Semaphore(AT_ONCE)
        transport = httpx.ASGITransport(app=app)
        async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://test", timeout=None) as client:

            async def upload(number: int) -> tuple[Any, float]:
                async with at_once:
                    begun = time.monotonic()
                    answer = await client.post("/score", content=bodies[number % len(bodies)])
                    return answer, time.monotonic() - begun

            answers = await asyncio.gather(*map(upload, range(count)))
            free = (await client.get("/health")).json()["places"]
        codes = [answer.status_code for answer, _ in answers]
        states = [answer.json().get("status", "") for answer, _ in answers]
        return Load(codes, states, [seconds for _, seconds in answers], free, limits.workers + limits.waiting)

    return asyncio.run(upload_all())
