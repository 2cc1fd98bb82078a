"""Dataclass <-> TOML <-> `KEY=VALUE`: settings are typed, and a key that nothing knows is an error.

A settings class is a frozen dataclass whose fields are numbers, strings, paths, `Literal`s, lists
or tuples of these, tables of them by any name (`dict[str, ...]`), an optional of these, and again
settings classes, which are TOML's tables.
"""

import dataclasses
import difflib
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import tomli_w

from unmask.errors import UserError

Settings = TypeVar("Settings")

_NAMES: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a string",
    Path: "a path",
    list: "a list",
    tuple: "a list",
}


def load(
    cls: type[Settings], layers: Sequence[tuple[str, Mapping[str, Any]]], sets: Sequence[str] = ()
) -> Settings:
    """Build settings from TOML tables laid over one another, then `KEY=VALUE` pairs; later wins.

    A layer is its origin (a file, as errors are to name it) and its table. Keys of a pair are
    dotted, its value is TOML or else a plain string; `none` makes an optional setting absent.

    Raises UserError for an unknown key, a wrong type, a pair without `=`, a setting left open.
    """
    merged: dict[str, Any] = {}
    for origin, table in layers:
        _merge(merged, _Reader(cls, origin).table(cls, table, ""))
    for pair in sets:
        _merge(merged, _Reader(cls, f"--set {pair}").table(cls, _nested(pair), ""))
    origins = ", ".join(dict.fromkeys(origin for origin, _ in layers))
    return cast(Settings, _build(cls, merged, "", origins))


def dump(settings: Any) -> str:
    """Write settings as TOML. `load` reads the same settings back; what is None stays out."""
    return tomli_w.dumps(_plain(settings))


def keys(cls: Any, prefix: str = "") -> Iterator[str]:
    """Name every setting of a class, dotted, tables before what they hold."""
    for name, hint in get_type_hints(cls).items():
        yield prefix + name
        if dataclasses.is_dataclass(hint):
            yield from keys(hint, f"{prefix}{name}.")


@dataclasses.dataclass(frozen=True, slots=True)
class _Reader:
    """Checks one layer's values against the types, and knows what to name in an error."""

    root: Any
    origin: str

    def table(self, cls: Any, table: Any, key: str) -> dict[str, Any]:
        """Convert a table that may leave settings out; what it holds is still nested dicts."""
        if not isinstance(table, Mapping):
            raise self._wrong(key, table, "a table of settings")
        hints, converted = get_type_hints(cls), {}
        for name, value in table.items():
            inner = f"{key}.{name}" if key else name
            if name not in hints:
                raise UserError(
                    f"{self.origin}: unknown setting {inner!r}; {self._nearest(name, inner, hints)}"
                )
            converted[name] = self.value(hints[name], value, inner)
        return converted

    def value(self, hint: Any, value: Any, key: str) -> Any:
        """Convert a value to the type of its setting."""
        if dataclasses.is_dataclass(hint):
            return self.table(hint, value, key)
        origin, arguments = get_origin(hint), get_args(hint)
        if origin in (Union, UnionType):
            return self._optional(arguments, value, key)
        if origin is Literal:
            if (type(value), value) not in [(type(one), one) for one in arguments]:  # 1 == True
                raise self._wrong(key, value, "one of " + ", ".join(map(str, arguments)))
            return value
        if origin is dict:
            if not isinstance(value, Mapping):
                raise self._wrong(key, value, "a table")
            return {
                name: self.value(arguments[1], inner, f"{key}.{name}")
                for name, inner in value.items()
            }
        if origin in (list, tuple):
            return self._items(origin, arguments, value, key)
        return self._scalar(hint, value, key)

    def _optional(self, arguments: tuple[Any, ...], value: Any, key: str) -> Any:
        inner = [hint for hint in arguments if hint is not NoneType]
        assert len(inner) == 1, f"{key}: the only union that settings know is an optional"
        return None if value is None else self.value(inner[0], value, key)

    def _items(self, kind: Any, arguments: tuple[Any, ...], value: Any, key: str) -> Any:
        if not isinstance(value, list | tuple):
            raise self._wrong(key, value, "a list")
        hints = [arguments[0]] * len(value)
        if kind is tuple and arguments[-1] is not Ellipsis:
            hints = list(arguments)
            if len(hints) != len(value):
                raise self._wrong(key, value, f"a list of {len(hints)}")
        return kind(
            self._item(*pair, f"{key}[{i}]")
            for i, pair in enumerate(zip(hints, value, strict=True))
        )

    def _item(self, hint: Any, value: Any, key: str) -> Any:
        """Convert an item of a list: a table among them has to be whole."""
        converted = self.value(hint, value, key)
        if dataclasses.is_dataclass(hint):
            return _build(hint, converted, f"{key}.", self.origin)
        return converted

    def _scalar(self, hint: Any, value: Any, key: str) -> Any:
        if hint is float and type(value) is int:
            return float(value)
        if hint is Path and isinstance(value, str):
            return Path(value)
        if type(value) is not hint:
            raise self._wrong(key, value, _NAMES[hint])
        return value

    def _wrong(self, key: str, value: Any, wanted: str) -> UserError:
        return UserError(f"{self.origin}: {key} is {value!r}, but should be {wanted}")

    def _nearest(self, name: str, key: str, siblings: Collection[str]) -> str:
        """Suggest settings of the same table that look like this one, or of another that do."""
        table = key.removesuffix(name)
        near = [table + sibling for sibling in difflib.get_close_matches(name, siblings)]
        known = list(keys(self.root))
        if not near:
            ends = difflib.get_close_matches(name, {other.rpartition(".")[2] for other in known})
            near = [other for other in known if other.rpartition(".")[2] in ends]
        return f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(known)}"


def _nested(pair: str) -> dict[str, Any]:
    """Turn `a.b=3` into `{"a": {"b": 3}}`."""
    key, equals, text = pair.partition("=")
    if not equals or not key.strip():
        raise UserError(f"--set {pair}: write KEY=VALUE, as in --set optimizer.rate=1e-3")
    value = _value(text.strip())
    for name in reversed(key.strip().split(".")):
        value = {name: value}
    return dict(value)


def _value(text: str) -> Any:
    if text == "none":
        return None
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if len(parsed) == 1 else text


def _merge(below: dict[str, Any], above: Mapping[str, Any]) -> None:
    """Lay one nested dict over another, in place. Lists are replaced as wholes."""
    for name, value in above.items():
        if isinstance(value, dict) and isinstance(below.get(name), dict):
            _merge(below[name], value)
        else:
            below[name] = value


def _build(cls: Any, values: Mapping[str, Any], prefix: str, origins: str) -> Any:
    """Make the dataclass of converted values, and complain of the settings that are left open."""
    hints, arguments = get_type_hints(cls), dict(values)
    for field in dataclasses.fields(cls):
        required = (field.default, field.default_factory) == (dataclasses.MISSING,) * 2
        hint, key = hints[field.name], prefix + field.name
        if dataclasses.is_dataclass(hint) and (required or field.name in values):
            arguments[field.name] = _build(hint, values.get(field.name, {}), f"{key}.", origins)
        elif required and field.name not in values:
            raise UserError(f"{origins or 'settings'}: {key} is missing; give it a value")
    return cls(**arguments)


def _plain(value: Any) -> Any:
    """Turn settings into what TOML can hold."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {name: _plain(inner) for name, inner in pairs if inner is not None}
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
