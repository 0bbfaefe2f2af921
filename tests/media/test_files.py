from __future__ import annotations

import hashlib
from multiprocessing import get_context
from pathlib import Path

import pytest

from avwitness.media.files import atomic_write, file_sha256


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "table.csv"
    with atomic_write(target) as partial:
        assert partial.parent == tmp_path and partial.suffix == ".csv" and partial.name.startswith(".")
        partial.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]
    assert file_sha256(target) == hashlib.sha256(b"new").hexdigest()


@pytest.mark.parametrize("folder", [False, True])
def test_an_error_leaves_the_target_as_it_was(tmp_path: Path, folder: bool) -> None:
    target = tmp_path / "target"
    target.write_text("old")

    def fail() -> None:
        with atomic_write(target) as partial:
            if folder:
                partial.mkdir()
            (partial / "part" if folder else partial).write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with pytest.raises(FileNotFoundError), atomic_write(target):
        pass
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_folders_are_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "model"
    for name in ("first", "second"):
        with atomic_write(target) as partial:
            partial.mkdir()
            (partial / name).touch()
    assert [file.name for file in target.iterdir()] == ["second"]
    assert list(tmp_path.iterdir()) == [target]


def write_often(target: Path, byte: bytes) -> None:
    for _ in range(50):
        with atomic_write(target) as partial:
            partial.write_bytes(byte * 10_000)


def test_two_processes_write_the_same_file(tmp_path: Path) -> None:
    target = tmp_path / "shared.bin"
    context = get_context("fork")
    processes = [context.Process(target=write_often, args=(target, byte)) for byte in (b"a", b"b")]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert target.read_bytes() in (b"a" * 10_000, b"b" * 10_000)
    assert list(tmp_path.iterdir()) == [target]
