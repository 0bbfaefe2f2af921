"""Reading of settings from YAML: groups, conversion of values, and errors that name the path of a setting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

from avwitness.settings import build_settings, merge_settings, read_settings


@dataclass(frozen=True)
class Some:
    """Flat settings."""

    minutes: float = 1.0
    seed: int = 0
    model: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """A group in a list, with a name that must be given."""

    name: str
    rate: float = 1.0


@dataclass(frozen=True)
class Optim:
    """A group in a group."""

    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.98)
    fused: bool = False


@dataclass(frozen=True)
class Training:
    """A group."""

    steps: int = 10
    optim: Optim = field(default_factory=lambda: Optim(learning_rate=2e-3))

    RENAMED: ClassVar[Mapping[str, str]] = {"rate": "training.optim.learning_rate"}


@dataclass(frozen=True)
class Nested:
    """Settings with groups."""

    training: Training = field(default_factory=Training)
    stages: list[Stage] = field(default_factory=list)
    parts: tuple[str, ...] = ()
    limit: float | None = None
    options: dict[str, Any] = field(default_factory=dict)

    RENAMED: ClassVar[Mapping[str, str]] = {"steps": "training.steps", "learning_rate": "training.optim.learning_rate"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "some.yaml"


def test_values_of_the_file_outrank_defaults_and_given_ones_outrank_both(file: Path) -> None:
    file.write_text("minutes: 2.5\nmodel: {channels: 8}\n")
    assert read_settings(file, Some) == Some(2.5, 0, {"channels": 8})
    assert read_settings(str(file), Some, minutes=4.0, seed=3) == Some(4.0, 3, {"channels": 8})


@pytest.mark.parametrize("text", ["", "# only a comment\n", "{}\n"])
def test_an_empty_file_leaves_the_defaults(text: str, file: Path) -> None:
    file.write_text(text)
    assert read_settings(file, Some) == Some()
    assert read_settings(None, Nested) == Nested()


def test_unknown_names_are_refused_and_the_known_ones_listed(file: Path) -> None:
    file.write_text("minuets: 2\nseed: 1\nwig: 3\n")
    with pytest.raises(ValueError, match=r"some\.yaml: unknown settings minuets, wig; there are minutes, model, seed"):
        read_settings(file, Some)


@pytest.mark.parametrize("text", ["- 1\n- 2\n", "just words\n", "7\n", "[]\n", "1: 2\n", "minutes: [1\n"])
def test_a_file_that_is_no_mapping_is_refused_by_its_name(text: str, file: Path) -> None:
    file.write_text(text)
    with pytest.raises(ValueError, match=r"some\.yaml"):
        read_settings(file, Some)


def test_a_missing_file_is_reported(file: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_settings(file, Some)


def test_groups_are_read_over_their_own_defaults(file: Path) -> None:
    file.write_text("training: {optim: {fused: true}}\nstages: [{name: a}, {name: b, rate: 3}]\nparts: [x, y]\noptions: {z: {deep: [1]}}\n")
    read = read_settings(file, Nested)
    assert read.training == Training(10, Optim(2e-3, fused=True))  # the default of the group where it is a field, not of its class
    assert read.stages == [Stage("a"), Stage("b", 3.0)] and isinstance(read.stages[1].rate, float)
    assert read.parts == ("x", "y") and read.limit is None and read.options == {"z": {"deep": [1]}}
    assert build_settings(Nested, asdict(read)) == read
    file.write_text("training:\nlimit: 1e-3\n")  # YAML reads 1e-3 as a string
    assert read_settings(file, Nested) == Nested(limit=0.001)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training: {optim: {learning_rat: 1}}", r"unknown settings training\.optim\.learning_rat; there are training\.optim\.betas"),
        ("stages: [{name: a}, {name: b, rat: 1}]", r"unknown settings stages\[1\]\.rat; there are stages\[1\]\.name"),
        ("stages: [{rate: 1}]", r"stages\[0\]: name must be given"),
        ("training: fast", r"training must hold names and values, not str"),
        ("training: {optim: {learning_rate: fast}}", r"training\.optim\.learning_rate must be a number, not 'fast'"),
        ("training: {optim: {learning_rate: true}}", r"training\.optim\.learning_rate must be a number, not True"),
        ("training: {optim: {fused: 1}}", r"training\.optim\.fused must be true or false, not 1"),
        ("training: {optim: {betas: [0.9]}}", r"training\.optim\.betas must have 2 values, not 1"),
        ("training: {steps: 1.5}", r"training\.steps must be a whole number, not 1\.5"),
        ("parts: x", r"parts must be a list, not 'x'"),
        ("parts: [1]", r"parts\[0\] must be a word, not 1"),
        ("options: [1]", r"options must hold names and values"),
        ("limit: none", r"limit must be a number, not 'none'"),
        ("steps: 3\nlearning_rate: 1", r"steps is now training\.steps"),
        ("training: {rate: 3}", r"earlier version: training\.rate is now training\.optim\.learning_rate"),
    ],
)
def test_errors_name_the_file_and_the_path_of_the_setting(text: str, message: str, file: Path) -> None:
    file.write_text(text)
    with pytest.raises(ValueError, match=r"some\.yaml: .*" + message):
        read_settings(file, Nested)


def test_groups_are_merged_and_other_values_replaced() -> None:
    base = {"training": {"steps": 5, "optim": {"learning_rate": 0.1}}, "options": {"a": 1}, "parts": ["x"]}
    changes = {"training": {"optim": {"fused": True}}, "options": {"b": 2}}
    merged = merge_settings(Nested, base, {}, changes)
    assert merged == {"training": {"steps": 5, "optim": {"learning_rate": 0.1, "fused": True}}, "options": {"b": 2}, "parts": ["x"]}
    assert base["training"] == {"steps": 5, "optim": {"learning_rate": 0.1}}  # inputs are not changed
