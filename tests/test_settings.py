"""Settings are read from YAML; what is not known is refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from avwitness.settings import read_settings


@dataclass(frozen=True)
class Some:
    """Settings of nothing in particular."""

    minutes: float = 1.0
    seed: int = 0
    model: dict[str, int] = field(default_factory=dict)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "some.yaml"


def test_values_of_the_file_outrank_defaults_and_given_ones_outrank_both(file: Path) -> None:
    file.write_text("minutes: 2.5\nmodel: {channels: 8}\n")
    assert read_settings(file, Some) == Some(2.5, 0, {"channels": 8})
    assert read_settings(str(file), Some, minutes=4.0, seed=3) == Some(4.0, 3, {"channels": 8})


@pytest.mark.parametrize("text", ["", "# nothing but a remark\n", "{}\n"])
def test_an_empty_file_leaves_the_defaults(text: str, file: Path) -> None:
    file.write_text(text)
    assert read_settings(file, Some) == Some()


def test_unknown_names_are_refused_and_the_known_ones_listed(file: Path) -> None:
    file.write_text("minuets: 2\nseed: 1\nwig: 3\n")
    with pytest.raises(ValueError, match=r"some\.yaml: unknown settings minuets, wig; there are minutes, model, seed"):
        read_settings(file, Some)


@pytest.mark.parametrize("text", ["- 1\n- 2\n", "just words\n", "7\n", "[]\n", "1: 2\n", "minutes: [1\n"])
def test_what_is_no_list_of_names_and_values_is_refused_by_the_files_name(text: str, file: Path) -> None:
    file.write_text(text)
    with pytest.raises(ValueError, match=r"some\.yaml"):
        read_settings(file, Some)


def test_a_file_that_is_not_there_is_not_there(file: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_settings(file, Some)
