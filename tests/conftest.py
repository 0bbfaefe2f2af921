"""Media that tests need: generated here, or, where only real footage will do, found beside the repository."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from broken import write_broken_files
from hypothesis import settings
from makers import Talk
from people import run_forge_command, track_people, write_people

from avwitness.generators.demo import animate, portrait, synthetic_voice
from avwitness.generators.methods.source import Source
from avwitness.media.encode import write_media

ROOT = Path(__file__).parents[1]
SLOW_FIXTURES = {"forged_set", "make"}  # forgeries of every method, whose tests `make quick` leaves out

# Several processes of tests that each take every core slow each other down.
torch.set_num_threads(max(1, (os.cpu_count() or 1) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))))

# The machine may be busy; a slow example is no wrong one.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if SLOW_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


def footage_folder() -> Path:
    return Path(os.environ.get("AVWITNESS_DATA") or ROOT.parent / "shared" / "data")


@pytest.fixture(scope="session")
def footage() -> Path:
    folder = footage_folder()
    if not (folder / "manifest.csv").is_file():
        pytest.skip(f"no development footage at {folder}; set AVWITNESS_DATA")
    return folder


@pytest.fixture(scope="session")
def golden() -> Path:
    folder = footage_folder().parent / "golden"
    if not folder.is_dir():
        pytest.skip(f"no golden values at {folder}; set AVWITNESS_DATA")
    return folder


@pytest.fixture(scope="session")
def talk() -> Talk:
    waveform, opening = synthetic_voice(3.0, seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Talk(animate(portrait(), opening), waveform, opening)


@pytest.fixture(scope="session")
def talk_file(talk: Talk, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_media(tmp_path_factory.mktemp("talk") / "talk.mp4", talk.frames, talk.waveform)


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the manifest of a small corpus, see ``support/people.py``."""
    return write_people(tmp_path_factory.mktemp("people") / "corpus").parent


@pytest.fixture(scope="session")
def followed(people: Path) -> dict[str, Source]:
    """The clips of that corpus, their faces followed; the tracks lie in ``people / "tracks"``."""
    return track_people(people / "manifest.csv", people / "tracks")


@pytest.fixture(scope="session")
def forged_set(people: Path, followed: dict[str, Source], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a set forged from that corpus by the command."""
    out = tmp_path_factory.mktemp("forged") / "set"
    done = run_forge_command(people, out, workers=2)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Short transforms on several threads of a busy machine take a hundred times as long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def broken_files(talk_file: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every kind of file that cannot be scored, by kind."""
    folder = tmp_path_factory.mktemp("broken")
    files = write_broken_files(folder, talk_file)
    files["missing"] = folder / "missing.mp4"
    files["directory"] = folder
    return files
