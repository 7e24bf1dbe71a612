"""The fields of an architecture as text, as a flag or a file gives them: `--set model.block2_features=384`.

A value is read as the type that the module declares for its field.
"""

import inspect
import json
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING
from importlib import import_module
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from stfer.models.registry import check_fields, registration

# Set by the data, the precision and the devices, never by hand.
_FOLLOW = {
    "num_classes": "the classes of the data",
    "dtype": "the precision",
    "axis_name": "the devices",
}
_NOTHING = {"none": None, "null": None}
_SWITCH = {"true": True, "false": False}


def parse_fields(name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Read values of an architecture's fields.

    Numbers, names and switches are written as themselves; a tuple as `384,256,256`, with or without brackets; `none`
    where a field may be None; a type of number as its name; a function as its name in the architecture's own file or,
    failing that, in `jax.nn`. Values that are not text, as a JSON file holds them, are read alike.

    Args:
        name: a key of `ARCHITECTURES`.
        fields: from field to its value as text.

    Returns:
        From field to value, as `create_model` takes them.

    Raises:
        ValueError: the name or a field is unknown, a value does not fit its field, or the field is not to be set by
            hand.

    Example:
        >>> parse_fields("single_frame", {"block2_features": "384", "block3_features": "384,256,256"})
        {'block2_features': 384, 'block3_features': (384, 256, 256)}
    """
    module = registration(name).module
    check_fields(name, fields)
    declared = _declared(module)
    values = {}
    for field, text in fields.items():
        if field in _FOLLOW:
            raise ValueError(
                f"the field {field!r} of {name} follows {_FOLLOW[field]} and is not to be set"
            )
        try:
            values[field] = _parse(text, declared[field], module)
        except (ValueError, TypeError) as error:
            wanted = _described(declared[field])
            reason = f": {error}" if isinstance(error, _Unknown) else ""
            raise ValueError(
                f"the field {field!r} of {name} takes {wanted}, not {text!r}{reason}"
            ) from None
    return values


def describe_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Values of fields in JSON's types, which `parse_fields` reads again: functions and number types by name."""
    return {field: _plain(value) for field, value in fields.items()}


def default_fields(name: str, fields: Iterable[str]) -> dict[str, Any]:
    """The defaults of fields of an architecture, in JSON's types as by `describe_fields`.

    Args:
        name: a key of `ARCHITECTURES`.
        fields: the fields; those that the architecture lacks, and those without a plain default, are left out.
    """
    declared = registration(name).module.__dataclass_fields__
    defaults = {field: declared[field].default for field in fields if field in declared}
    return describe_fields({f: value for f, value in defaults.items() if value is not MISSING})


class _Unknown(ValueError):
    """A name that nothing has; its text says more than the type that is wanted."""


def _declared(module: type[nn.Module]) -> dict[str, Any]:
    """The declared type of each field; `Any` where a name in it cannot be resolved."""
    found = {}
    for name, field in module.__dataclass_fields__.items():
        kind = field.type
        if isinstance(kind, str):
            owner = next(c for c in module.__mro__ if name in inspect.get_annotations(c))
            try:
                kind = typing.get_type_hints(
                    type("_", (), {"__annotations__": {name: kind}, "__module__": owner.__module__})
                )[name]
            except NameError:
                kind = Any
        found[name] = kind
    return found


def _parse(value: Any, kind: Any, module: type[nn.Module]) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    text = value.strip() if isinstance(value, str) else value
    if kind in (jnp.dtype, DTypeLike):
        return jnp.dtype(text)
    if origin in (types.UnionType, typing.Union):
        return _parse_union(text, arguments, module)
    if _is_sequence(kind):
        return _parse_items(text, arguments, module)
    if (origin or kind) is Callable:
        return _parse_function(text, module)
    if kind is bool:
        return text if isinstance(text, bool) else _SWITCH[_lower(text, _SWITCH)]
    if kind in (int, float):
        if isinstance(text, bool) or (kind is int and isinstance(text, float)):
            raise TypeError
        return kind(text)
    if kind is str:
        if not isinstance(text, str):
            raise TypeError
        return text
    if kind is type(None):
        return None if text is None else _NOTHING[_lower(text, _NOTHING)]
    return _parse_freely(text)


def _parse_union(text: Any, kinds: Sequence[Any], module: type[nn.Module]) -> Any:
    # None first: as a string, "none" would be a name like any other.
    for kind in sorted(kinds, key=lambda kind: kind is not type(None)):
        try:
            return _parse(text, kind, module)
        except (ValueError, TypeError):
            continue
    raise ValueError(text)


def _is_sequence(kind: Any) -> bool:
    found = typing.get_origin(kind) or kind
    return found is not str and isinstance(found, type) and issubclass(found, Sequence)


def _parse_items(text: Any, kinds: Sequence[Any], module: type[nn.Module]) -> tuple:
    if isinstance(text, str):
        inner = text[1:-1] if text[:1] + text[-1:] in ("()", "[]") else text
        items = [item.strip() for item in inner.rstrip(", ").split(",")] if inner.strip() else []
    elif isinstance(text, Sequence):
        items = list(text)
    else:
        raise TypeError
    if not kinds:
        kinds = [Any] * len(items)
    elif len(kinds) == 1 or kinds[-1] is Ellipsis:
        kinds = [kinds[0]] * len(items)
    return tuple(_parse(item, kind, module) for item, kind in zip(items, kinds, strict=True))


def _parse_function(text: Any, module: type[nn.Module]) -> Callable:
    if callable(text):
        return text
    for place in (import_module(module.__module__), jax.nn):
        found = getattr(place, text, None)
        if callable(found):
            return found
    raise _Unknown(f"neither {module.__module__} nor jax.nn has it")


def _parse_freely(text: Any) -> Any:
    """A value whose type is not declared: JSON where it is, else the text itself."""
    if not isinstance(text, str):
        return tuple(text) if isinstance(text, list) else text
    try:
        return _parse_freely(json.loads(text))
    except ValueError:
        return text


def _lower(text: Any, known: Mapping[str, Any]) -> str:
    if not isinstance(text, str) or text.lower() not in known:
        raise ValueError(text)
    return text.lower()


def _described(kind: Any) -> str:
    """A type in words."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind in (jnp.dtype, DTypeLike):
        return "a type of number, such as float32"
    if origin in (types.UnionType, typing.Union):
        return " or ".join(_described(argument) for argument in arguments)
    if _is_sequence(kind):
        items = f" of {arguments[0].__name__}" if arguments and arguments[0] is not Any else ""
        return f"several values{items}, separated by commas"
    words = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "a name",
        type(None): "none",
        Callable: "the name of a function",
    }
    return words.get(origin or kind, "another value")


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (jnp.dtype, type)):
        return jnp.dtype(value).name
    if callable(value):
        return value.__name__
    return value
