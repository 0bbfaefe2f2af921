"""Settings of a run: dataclasses, nested ones too, read from YAML; unknown names are refused by their path."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass, replace
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

Settings = TypeVar("Settings")

#: Class attribute in which a dataclass may list names of earlier versions, each with the path of its successor.
RENAMED = "RENAMED"


def read_settings(path: str | os.PathLike[str] | None, kind: type[Settings], **given: Any) -> Settings:
    """A dataclass with the values of a YAML file, those not named at their defaults.

    Parameters
    ----------
    path : path-like, optional
        Nothing but defaults without it.
    kind : type
        The dataclass. A field that is a dataclass itself is a group: a mapping in the file, read in the same way.
    **given
        Values that outrank the file's.

    Raises
    ------
    ValueError
        If the file is no mapping, names something that the dataclass does not have, lacks something that has no default, or
        holds a value of a wrong type. The message names the file and the path of the name, as in ``optim.learning_rate``.
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
    try:
        return build_settings(kind, {**values, **given})
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def build_settings(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    """A dataclass from plain values, such as :func:`dataclasses.asdict` gives; errors as :func:`read_settings`, without a file."""
    return cast(Settings, _build(kind, values, "", None))


def merge_settings(kind: type, *parts: Mapping[str, Any]) -> dict[str, Any]:
    """Values for a dataclass, later parts outranking earlier ones: groups are merged name by name, other values are replaced."""
    hints = get_type_hints(kind)
    merged: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            group = is_dataclass(hints.get(name)) and isinstance(value, Mapping) and isinstance(merged.get(name), Mapping)
            merged[name] = merge_settings(hints[name], merged[name], value) if group else value
    return merged


def _build(kind: type, values: Any, where: str, default: Any) -> Any:
    """A dataclass at the path ``where``; names without a value are taken from ``default``, else from the class."""
    values = {} if values is None else values
    if not isinstance(values, Mapping):
        raise ValueError(f"{where} must hold names and values, not {type(values).__name__}")
    known = {field.name: field for field in fields(kind) if field.init}
    _check_names(kind, values, known, where)
    hints = get_type_hints(kind)
    found = {
        name: _value(hints[name], value, where + f".{name}" if where else name, _default(known[name], default))
        for name, value in values.items()
    }
    if default is not None:
        return replace(default, **found)
    required = {name for name, field in known.items() if field.default is MISSING and field.default_factory is MISSING}
    if missing := sorted(required - set(found)):
        raise ValueError(f"{where or 'settings'}: {', '.join(missing)} must be given")
    return kind(**found)


def _check_names(kind: type, values: Mapping[str, Any], known: Mapping[str, object], where: str) -> None:
    prefix = f"{where}." if where else ""
    unknown = sorted(map(str, set(values) - set(known)))
    renamed: Mapping[str, str] = getattr(kind, RENAMED, {})
    moved = [f"{prefix}{name} is now {renamed[name]}" for name in unknown if name in renamed]
    if moved:
        raise ValueError(f"settings of an earlier version: {'; '.join(moved)}")
    if unknown:
        names = (", ".join(prefix + name for name in group) for group in (unknown, sorted(known)))
        raise ValueError("unknown settings {}; there are {}".format(*names))


def _default(field: Field[Any], owner: Any) -> Any:
    """The value that a field has where none is given; ``None`` where there is no such value."""
    if owner is not None:
        return getattr(owner, field.name)
    if field.default_factory is not MISSING:
        return field.default_factory()
    return None if field.default is MISSING else field.default


def _value(hint: Any, value: Any, where: str, default: Any = None) -> Any:
    """A value as its annotation asks for it: groups become dataclasses, lists become tuples, ``1e-3`` a number."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        if value is None and NoneType in arguments:
            return None
        kinds = [argument for argument in arguments if argument is not NoneType]
        return _value(kinds[0], value, where, default) if len(kinds) == 1 else value
    if isinstance(hint, type) and is_dataclass(hint):
        return _build(hint, value, where, default)
    if origin in (list, tuple):
        return _sequence(origin, arguments, value, where)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ValueError(f"{where} must hold names and values, not {value!r}")
        return {name: _value(arguments[1], each, f"{where}.{name}") for name, each in value.items()}
    return _plain(hint, value, where)


def _sequence(origin: type, arguments: tuple[Any, ...], value: Any, where: str) -> Any:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ValueError(f"{where} must be a list, not {value!r}")
    if origin is tuple and arguments[-1] is not Ellipsis:
        if len(value) != len(arguments):
            raise ValueError(f"{where} must have {len(arguments)} values, not {len(value)}")
        hints = arguments
    else:
        hints = (arguments[0],) * len(value)
    return origin(_value(hint, each, f"{where}[{index}]") for index, (hint, each) in enumerate(zip(hints, value, strict=True)))


def _plain(hint: Any, value: Any, where: str) -> Any:
    if hint is float and not isinstance(value, bool):
        try:
            return float(value)  # YAML takes 1e-3, without a dot, for a word
        except (TypeError, ValueError):
            pass
    elif hint not in (bool, int, float, str) or (isinstance(value, hint) and (hint is bool or not isinstance(value, bool))):
        return value
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a word"}
    raise ValueError(f"{where} must be {names[hint]}, not {value!r}")
