"""The examples, run as a user runs them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from makers import Talk
from service import load_server, load_service

from avwitness.media.encode import write_media

pytest.importorskip("fastapi", reason="fastapi is not installed: pip install fastapi httpx")
httpx = pytest.importorskip("httpx", reason="httpx is not installed")

UPLOADS = 40


@pytest.fixture(scope="module")
def server() -> ModuleType:
    return load_server()


@pytest.fixture(scope="module")
def bodies(talk: Talk, broken_files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Twenty uploads, one of them hostile."""
    file = write_media(tmp_path_factory.mktemp("up") / "speech.wav", waveform=talk.waveform[:16_000], audio_codec="pcm_s16le")
    return [file.read_bytes()] * 19 + [broken_files["corrupt"].read_bytes()]


async def request(app: Any, calls: Any) -> Any:
    """Run calls of a client while the service is up."""
    transport = httpx.ASGITransport(app=app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://test", timeout=None) as client:
        return await calls(client)


@pytest.mark.slow
def test_every_upload_gets_an_answer(bodies: list[bytes]) -> None:
    load = load_service(bodies, UPLOADS)
    assert load.codes == [200] * UPLOADS
    assert load.states == (["ok"] * 19 + ["error"]) * (UPLOADS // 20)
    assert load.free == load.places == 17


@pytest.mark.slow
def test_limits(server: ModuleType, bodies: list[bytes], talk: Talk, tmp_path: Path) -> None:
    long = write_media(tmp_path / "long.wav", waveform=np.tile(talk.waveform, 400), audio_codec="pcm_s16le").read_bytes()
    app = server.create_app(server.Limits(workers=1, waiting=1, megabytes=50, score_seconds=0.2))

    async def calls(client: Any) -> list[Any]:
        async def in_parts() -> Any:
            for _ in range(60):
                yield bytes(1_000_000)

        large = await client.post("/score", content=bytes(51_000_000))
        larger = await client.post("/score", content=in_parts())
        busy = await asyncio.gather(*(client.post("/score", content=long) for _ in range(3)))
        return [large, larger, *busy]

    large, larger, *busy = asyncio.run(request(app, calls))
    assert large.status_code == larger.status_code == 413
    assert sorted(answer.status_code for answer in busy) == [200, 200, 429]
    for answer in busy:
        if answer.status_code == 200:
            assert answer.json()["path"] == "upload"
            error = answer.json()["error"]
            assert error["type"] == "Timeout" and error["message"] == "upload: took longer than 0.2 s and was given up"
