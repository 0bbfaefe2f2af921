from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import pytest

from avwitness import checkpoints
from avwitness.checkpoints import card_version, find_weights, list_weights, read_card, user_weights

ROOT = Path(checkpoints.__file__).parent


def make_weights(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (folder / name).touch()
    (folder / "card.json").write_text(json.dumps({"name": folder.name, "version": "9.9"}))
    return folder


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package of an installed distribution that brings huge weights, and one whose package is absent."""
    for name, entries in (("avwitness_huge", "huge = avwitness_huge\n"), ("broken", "broken = no_such_package_anywhere\n")):
        metadata = tmp_path / f"{name}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[avwitness.weights]\n{entries}")
    package = tmp_path / "avwitness_huge"
    for kind in ("detector", "avsr"):
        make_weights(package / kind / "huge")
    make_weights(package / "detector" / "small")  # a bundled name
    make_weights(package / "detector" / "half") and (package / "detector" / "half" / "model.safetensors").unlink()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "avwitness_huge", raising=False)
    return package


def test_bundled_weights_are_found_by_name() -> None:
    assert find_weights("detector", "small") == ROOT / "detector" / "weights" / "small"
    assert find_weights("avsr", "small") == ROOT / "avsr" / "weights" / "small"
    assert {"font", "opt", "vocoder"} <= set(list_weights("generators"))
    folder = find_weights("generators", "font")
    assert read_card(folder)["name"] == "font" and card_version(folder) == read_card(folder)["version"]


def test_folders_are_found_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_weights(tmp_path / "small")
    assert find_weights("detector", folder) == folder
    monkeypatch.chdir(tmp_path)
    assert find_weights("detector", "./small").resolve() == folder
    assert find_weights("detector", "small") == ROOT / "detector" / "weights" / "small"
    assert card_version(folder) == "9.9"
    (folder / "card.json").unlink()
    assert card_version(folder) == "unknown"


def test_what_is_not_there_is_an_error_that_names_what_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"enormous: no such model; bundled: small; or name a folder with config\.json and"):
        find_weights("avsr", "enormous")
    with pytest.raises(FileNotFoundError, match=r"with card\.json and model\.safetensors"):
        find_weights("generators", tmp_path)


def test_an_installed_distribution_brings_weights(distribution: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert find_weights("detector", "huge") == distribution / "detector" / "huge"
    assert "broken = no_such_package_anywhere" in caplog.text
    assert find_weights("avsr", "huge") == distribution / "avsr" / "huge"
    assert find_weights("detector", "small") == ROOT / "detector" / "weights" / "small"
    assert list(list_weights("detector")) == ["huge", "large", "small"]
    with pytest.raises(FileNotFoundError, match="bundled: huge, large, small"):
        find_weights("detector", "half")


def test_the_users_own_weights_come_after_bundled_and_installed_ones(
    distribution: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("AVWITNESS_WEIGHTS", raising=False)
    own = make_weights(tmp_path / "data" / "avwitness" / "weights" / "avsr" / "whisper")
    assert find_weights("avsr", "whisper") == own == user_weights("avsr", "whisper")
    for name in ("small", "huge"):
        assert find_weights("avsr", name) != make_weights(own.parent / name)
    monkeypatch.setenv("AVWITNESS_WEIGHTS", str(tmp_path / "other"))
    with pytest.raises(FileNotFoundError):
        find_weights("avsr", "whisper")
    make_weights(tmp_path / "other" / "avsr" / "whisper")
    assert find_weights("avsr", "whisper") == tmp_path / "other" / "avsr" / "whisper"
