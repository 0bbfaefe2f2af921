from __future__ import annotations

import shutil
from pathlib import Path

from avwitness.generators.methods.source import cache_name


def test_the_cache_name_depends_on_content_and_transcript(tmp_path: Path) -> None:
    first, copy, other = (tmp_path / name for name in ("a.mp4", "b.mp4", "c.mp4"))
    first.write_bytes(b"one")
    shutil.copy(first, copy)
    other.write_bytes(b"two")
    assert cache_name(first) == cache_name(copy) == cache_name(str(first))
    assert len({cache_name(first), cache_name(other), cache_name(first, "bin blue")}) == 3
    before = cache_name(first)
    first.write_bytes(b"changed")
    assert cache_name(first) != before
    assert cache_name(tmp_path / "absent.mp4") != cache_name(tmp_path / "gone.mp4")
