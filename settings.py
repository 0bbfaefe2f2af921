"""Settings of a run: dataclasses read from YAML, with an error for what they do not know."""

from __future__ import annotations

import os
from dataclasses import fields
from typing import Any, TypeVar

Settings = TypeVar("Settings")


def read_settings(path: str | os.PathLike[str] | None, kind: type[Settings], **given: Any) -> Settings:
    """A dataclass with the values of a YAML file, those not named at their defaults.

    Parameters
    ----------
    path : path-like, optional
        Nothing but defaults without it.
    kind : type
        The dataclass.
    **given
        Values that outrank the file's.

    Raises
    ------
    ValueError
        If the file names something that the dataclass does not have, or is no mapping.
    """
    import yaml

    values: Any = {}
    if path is not None:
        with open(path) as file:
            try:
                values = yaml.safe_load(file)
            except yaml.YAMLError as error:
                raise ValueError(f"{path}: is no YAML: {error}") from None
        values = {} if values is None else values
    if not isinstance(values, dict):
        raise ValueError(f"{path}: must hold names and values, not {type(values).__name__}")
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(map(str, set(values) - known))
    if unknown:
        raise ValueError(f"{path}: unknown settings {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    return kind(**{**values, **given})
