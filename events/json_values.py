"""Conversion of arbitrary values to JSON that an event can hold. Does no I/O and raises nothing.

docs/reference.md, "Values", has the table. `convert` changes types, `fit` shortens to a size. Types
of other packages are recognized by attributes of their classes, without importing the packages.
"""

import base64
import math
import sys
from collections import UserList, deque
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from itertools import islice
from operator import index
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID

import orjson

from events.codec import dump_json, replace_invalid, time_text
from events.exceptions import InvalidEvent
from events.json_size import OMITTED, fit, unused_key

MAX_DEPTH: Final = 64
MAX_ITEMS: Final = 10_000
MAX_NODES: Final = 100_000
# A large item leaves as many nodes to each one after it, but at most half of the nodes to all.
_RESERVED_NODES: Final = 1_000
_MAX_BYTES_SHOWN: Final = 256
_ENVELOPE_BYTES: Final = 256  # of an event: its timestamp
_MIN_INTEGER: Final = -(2**63)
_MAX_INTEGER: Final = 2**64 - 1

_TEXT_TYPES: Final = (
    Decimal, UUID, PurePath, complex, IPv4Address, IPv6Address, IPv4Network, IPv6Network,
)  # fmt: skip
_LISTS: Final = (list, tuple, deque, range, UserList, KeysView, ValuesView, ItemsView)


def to_json(value: Any, max_bytes: int) -> Any:
    """Return a JSON value of at most `max_bytes`: `value` itself if it is one, else a new one."""
    try:
        # orjson writes dataclasses without the fields whose names begin with an underscore.
        if len(dump_json(value, "", orjson.OPT_PASSTHROUGH_DATACLASS)) <= max_bytes:
            return value
    except InvalidEvent:
        pass
    return fit(convert(value), max_bytes)


def event_of_values(event: dict[str, Any], max_bytes: int) -> Any:
    """Return an event dict with any values as one that `encode_event` accepts."""
    return to_json(event, max(max_bytes - _ENVELOPE_BYTES, max_bytes // 2))


def convert(value: Any) -> Any:
    """Return a value as JSON: a new value, except for texts and numbers."""
    return _Conversion().value(value)


def number(value: Any) -> Any:
    """Return a Decimal, a numpy scalar or another number as int or float; other values as is."""
    kind = type(value)
    if kind in (int, float) or issubclass(kind, (str, bool)):
        return value
    for name, function in (("__index__", index), ("__float__", float)):
        if hasattr(kind, name):
            with suppress(Exception):
                return function(value)
    return value


def type_name(kind: type) -> str:
    """Return the dotted path of a class, without the module for types of Python's own values."""
    try:
        is_plain = kind.__module__ == "builtins" and not issubclass(kind, BaseException)
        name = kind.__qualname__ if is_plain else f"{kind.__module__}.{kind.__qualname__}"
        return replace_invalid(name)
    except Exception:  # noqa: BLE001 - code of a metaclass
        return "type"


def marked_paths(value: Any, path: str = "") -> Iterator[str]:
    """Yield the paths in a value of `convert` to what it replaced or omitted."""
    if isinstance(value, (_Marker, _RepairedText)):
        yield path
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from marked_paths(item, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from marked_paths(item, f"{path}[{position}]")


class _Marker(dict[str, Any]):
    """The JSON of what `convert` did not represent completely."""


class _RepairedText(str):
    """A text with invalid characters replaced."""

    __slots__ = ()


class _Conversion:
    """One call of `convert`: counts the nodes, and holds the containers that enclose a value."""

    def __init__(self) -> None:
        self._nodes = MAX_NODES
        self._enclosing: set[int] = set()

    def value(self, value: Any, later: int = 0) -> Any:
        """Convert a value, which is followed by `later` items in its container."""
        self._nodes -= 1
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is str:
            return _text(value)
        try:
            plain, is_plain = _plain(value, kind)
            return plain if is_plain else self._compound(value, kind, later)
        except Exception:  # noqa: BLE001 - methods of the value may raise anything
            return _Marker({"$type": type_name(kind)})

    def _compound(self, value: Any, kind: type, later: int) -> Any:
        """Convert a value that contains others, unless it is too deep or contains itself."""
        parts = _parts(value, kind)
        if parts is None:
            return _marker(value, kind)
        if id(value) in self._enclosing:
            return _Marker({"$type": type_name(kind), "omitted": "cycle"})
        if len(self._enclosing) >= MAX_DEPTH:
            return _Marker({"$type": type_name(kind), "omitted": "depth"})
        reserved = min(_RESERVED_NODES * max(later, 0), max(self._nodes // 2, 0))
        self._nodes -= reserved
        self._enclosing.add(id(value))
        try:
            return self._contents(parts)
        finally:
            self._nodes += reserved
            self._enclosing.discard(id(value))

    def _contents(self, parts: Any) -> Any:
        if isinstance(parts, _Value):
            return self.value(parts.value)
        if isinstance(parts, Mapping):
            return self._object(parts)
        items: list[Any] = []
        for item in islice(parts, MAX_ITEMS):
            if self._nodes <= 0:
                break
            items.append(self.value(item, len(parts) - len(items) - 1))
        omitted = len(parts) - len(items)
        return [*items, _Marker({OMITTED: omitted})] if omitted > 0 else items

    def _object(self, parts: Mapping[Any, Any]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        duplicates: dict[str, int] = {}
        for key, item in islice(_items(parts), MAX_ITEMS):
            if self._nodes <= 0:
                break
            name = self._key(key)
            if isinstance(name, _RepairedText):
                name, result = str(name), _Marker(result)
            later = len(parts) - len(result) - 1
            result[unused_key(name, result, duplicates)] = self.value(item, later)
        omitted = len(parts) - len(result)
        if omitted > 0:
            result[unused_key(OMITTED, result, duplicates)] = omitted
            return _Marker(result)
        return result

    def _key(self, key: Any) -> str:
        """Return the text of a key: of a number as JSON, of a list as the JSON of its items."""
        if type(key) is str:
            return _text(key)
        if isinstance(key, bytes):
            return replace_invalid(key.decode("utf-8", "replace"))
        converted = self.value(key)
        if isinstance(converted, dict) and "$type" in converted:
            converted = converted.get("text") or converted["$type"]
        return converted if isinstance(converted, str) else orjson.dumps(converted).decode()


class _Value:
    """The parts of a value that stands for another one."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def _plain(value: Any, kind: type) -> tuple[Any, bool]:
    """Return the JSON of a value without parts, and whether it is one."""
    if not issubclass(kind, Enum):  # an IntEnum is an int, too
        for types, function in _PLAIN:
            if issubclass(kind, types):
                return function(value), True
        if _is_lazy_text(kind):
            return _text(value), True
    return None, False


def _text(value: object) -> str:
    text = str.__str__(value) if isinstance(value, str) else str(value)
    valid = replace_invalid(text)
    return text if valid == text else _RepairedText(valid)


def _integer(value: int) -> Any:
    if _MIN_INTEGER <= value <= _MAX_INTEGER:
        return value
    try:
        return str(value)
    except ValueError:  # sys.get_int_max_str_digits
        return _Marker({"$type": "int", "bits": value.bit_length()})


def _float(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _time(value: Any) -> str:
    try:
        return time_text(value)
    except TypeError:  # pandas.NaT
        return _text(value)


def _duration(value: timedelta) -> str:
    """Return the duration in ISO 8601, as Django's encoder writes it."""
    sign, value = ("-", -value) if value < timedelta(0) else ("", value)
    minutes, seconds = divmod(value.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{value.microseconds:06d}" if value.microseconds else ""
    return f"{sign}P{value.days}DT{hours:02d}H{minutes:02d}M{seconds:02d}{fraction}S"


def _bytes(value: memoryview) -> dict[str, Any]:
    marker = _Marker({"$type": "bytes", "size": value.nbytes})
    if value.nbytes <= _MAX_BYTES_SHOWN:
        marker["base64"] = base64.b64encode(value.tobytes()).decode()
    return marker


# In this order: subclasses of numpy have two bases.
_PLAIN: Final[tuple[tuple[Any, Callable[[Any], Any]], ...]] = (
    (str, _text),
    (int, lambda value: _integer(int.__int__(value))),
    (float, lambda value: _float(float.__float__(value))),
    ((datetime, date, time), _time),
    (timedelta, _duration),
    (_TEXT_TYPES, _text),
    ((bytes, bytearray, memoryview), lambda value: _bytes(memoryview(value))),
)


def _is_lazy_text(kind: type) -> bool:
    functional = sys.modules.get("django.utils.functional")
    return functional is not None and issubclass(kind, functional.Promise)


def _parts(value: Any, kind: type) -> Any:
    """Return a mapping or a sized iterable of the parts of a value; None if it has none."""
    if issubclass(kind, Enum):
        return _Value(value.value)
    if callable(getattr(kind, "__json__", None)):
        return _Value(value.__json__())
    if issubclass(kind, (Mapping, *_LISTS)):
        return value
    if issubclass(kind, (set, frozenset)):
        return _sorted(value)
    numpy = sys.modules.get("numpy")
    if numpy is not None and issubclass(kind, (numpy.generic, numpy.ndarray)):
        return _numpy_parts(value, numpy)
    return _fields(value, kind)


def _items(value: Mapping[Any, Any]) -> Iterable[tuple[Any, Any]]:
    # The values that orjson writes, for subclasses too.
    return list(dict.items(value)) if isinstance(value, dict) else value.items()


def _sorted(value: Iterable[Any]) -> list[Any]:
    try:
        return sorted(value)
    except Exception:  # noqa: BLE001 - items of several types, or without an order
        return list(value)


def _numpy_parts(value: Any, numpy: Any) -> Any:
    if isinstance(value, numpy.ndarray) and value.ndim:
        is_simple = value.dtype.kind in "biufU" and value.size <= MAX_NODES
        return _Value(value.tolist()) if is_simple else value
    if value.dtype.kind in "mM":  # dates and durations: their numbers have various units
        return _Value(str(value))
    item = value.item()
    return _Value(float(item) if isinstance(item, numpy.generic) else item)


def _fields(value: Any, kind: type) -> Any:
    """Return the fields of an object of a declared structure."""
    if hasattr(kind, "__pydantic_fields__"):
        return _pydantic_parts(value, kind)
    if issubclass(kind, BaseException):
        return None
    names: Iterator[str] | None = None
    if hasattr(kind, "__dataclass_fields__"):
        names = (name for name, each in _dataclass_fields(kind) if each)
    elif hasattr(kind, "__attrs_attrs__"):
        names = (each.name for each in kind.__attrs_attrs__)
    elif hasattr(kind, "__fields__") and hasattr(kind, "__fields_set__"):  # pydantic 1
        names = iter(kind.__fields__)
    if names is None:
        return None
    return _attributes(value, names)


def _dataclass_fields(kind: Any) -> Iterator[tuple[str, bool]]:
    for name, each in kind.__dataclass_fields__.items():
        # `ClassVar` and `InitVar` are no fields of an instance.
        yield name, getattr(each._field_type, "name", "") == "_FIELD"  # noqa: SLF001


def _attributes(value: Any, names: Iterable[str]) -> dict[str, Any]:
    """Return attributes that are set; of a property that raises, the error."""
    found: dict[str, Any] = {}
    for name in names:
        try:
            found[name] = getattr(value, name)
        except AttributeError:
            continue
        except Exception as error:  # noqa: BLE001 - code of the value
            found[name] = error
    return found


def _pydantic_parts(value: Any, kind: Any) -> Any:
    """Return all fields of a pydantic model, also those that its `model_dump` omits for a subclass.

    Only models with serializers of their own are dumped by them, unless they raise.
    """
    declared, declared_fields = kind.__pydantic_decorators__, kind.__pydantic_fields__
    metadata = (each for field in declared_fields.values() for each in field.metadata)
    annotations = (type(each).__name__ for each in metadata)
    is_annotated = any(name in ("PlainSerializer", "WrapSerializer") for name in annotations)
    if declared.model_serializers or declared.field_serializers or is_annotated:
        with suppress(Exception):
            # With `serialize_as_any`, fields of subclasses are kept, annotations are not used.
            return _Value(value.model_dump(warnings=False, serialize_as_any=not is_annotated))
    names = [name for name, each in declared_fields.items() if each.exclude is not True]
    fields = _attributes(value, names)
    if getattr(kind, "__pydantic_root_model__", False):
        return _Value(fields.get("root"))
    extra = getattr(value, "__pydantic_extra__", None) or {}
    return {**fields, **extra, **_attributes(value, declared.computed_fields)}


def _marker(value: Any, kind: type) -> dict[str, Any]:
    """Return the type of a value, and the text that its class defines, which is never `repr`."""
    marker = _Marker({"$type": type_name(kind)})
    is_error = issubclass(kind, BaseException)
    method: Any = kind.__str__
    if is_error or method is not object.__str__:
        with suppress(Exception):
            marker["message" if is_error else "text"] = _text(value)
    return marker
