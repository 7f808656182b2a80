"""Shortening of JSON values to a size in bytes, inside the value: its shape is kept. No I/O."""

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import orjson

# The shortest text, container or key that remains of a longer one.
_MIN_TEXT_BYTES: Final = 128
_MIN_ITEM_BYTES: Final = 64
_CUT_BYTES: Final = 40  # at least those of the note on a cut text
_OMITTED_BYTES: Final = 32  # at least those of the note on omitted items
_MIN_BASE64: Final = 1_000
OMITTED: Final = "$omitted"

_CUT: Final = re.compile(r" \[\.\.\. ([0-9]{1,18}) more characters\]\Z")
_DIGITS: Final = "[A-Za-z0-9+/_-]"
_MEDIA: Final = r"[\w.+-]{1,64}/[\w.+-]{1,64}"
_BASE64: Final = re.compile(
    rf"(?:data:(?P<media>{_MEDIA})?(?:;[\w.+=-]{{1,64}})*?;base64,)?(?<!{_DIGITS})"
    # In one line, or in lines as in MIME.
    rf"(?P<data>(?:(?:{_DIGITS}{{60,}}+\r?\n){{8,}}+{_DIGITS}*+|{_DIGITS}{{{_MIN_BASE64},}}+)={{0,2}})"
)
_DATA_URL: Final = re.compile(rf"data:({_MEDIA})(?:;[\w.+=-]{{1,64}}){{0,8}},")
_MEDIA_KEYS: Final = ("mime_type", "media_type", "mimeType", "content_type")

PrefixLength = Callable[[str], int]


def fit(value: Any, max_bytes: int, prefix_length: PrefixLength = len) -> Any:
    """Return a value of `convert` with at most `max_bytes` of JSON, at least 64.

    Base64 is replaced by its size, then long texts are cut to one length, then containers keep
    their first items. `prefix_length` returns how much of a cut text may remain.
    """
    if size_of(value) <= max_bytes:
        return value
    value = replace_base64(value)
    sizes = [size_of(text) for text in _texts(value)]
    excess = size_of(value) - max_bytes
    if excess > 0:
        most = max(_level(sizes, sum(sizes) - excess), _MIN_TEXT_BYTES)
        value = _map_texts(value, lambda text, _: _cut_to(text, most, prefix_length))
    return _prune(value, max_bytes, prefix_length)


def cut_text(text: str, end: int) -> str:
    """Return the text, or its first `end` characters and the number of the others."""
    if len(text) <= end:
        return text
    match = _CUT.search(text, max(len(text) - _CUT_BYTES, 0))
    known = int(match[1]) if match else 0
    text = text[: match.start()] if match else text
    kept = text[:end]
    return f"{kept} [... {len(text) - len(kept) + known} more characters]"


def size_of(value: Any) -> int:
    """Return the bytes of a JSON value."""
    return len(orjson.dumps(value))


def replace_base64(value: Any) -> Any:
    """Return a JSON value with long base64 text replaced by its media type and size."""
    if all(len(text) < _MIN_BASE64 for text in _texts(value)):
        return value
    return _map_texts(value, _without_base64)


def unused_key(key: str, used: Any, counts: dict[str, int]) -> str:
    """Return the key, with a number if another key of the object has the same text."""
    name = key
    while name in used:
        counts[key] = counts.get(key, 1) + 1
        name = f"{key} ({counts[key]})"
    return name


def _without_base64(text: str, media: str) -> str:
    if len(text) < _MIN_BASE64:
        return text
    url = _DATA_URL.match(text)
    if url and ";base64," not in url[0]:
        return f"[{url[1]}, {len(text) - len(url[0]):,} bytes]"
    return _BASE64.sub(lambda match: _base64_size(match, media), text)


def _base64_size(match: re.Match[str], media: str) -> str:
    data, media = match["data"], match["media"] or media
    is_data = match[0].startswith("data:") or (data.upper() != data and data.lower() != data)
    if not is_data:  # digits in one case, a line of dashes
        return match[0]
    return f"[{media + ', ' if media else ''}{len(data):,} bytes of base64]"


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts in a JSON value, without keys."""
    values = [value]
    while values:
        each = values.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, dict):
            values.extend(each.values())
        elif isinstance(each, list):
            values.extend(each)


def _map_texts(value: Any, function: Callable[[str, str], str], media: str = "") -> Any:
    """Apply a function to each text and the media type next to it."""
    if isinstance(value, str):
        return function(value, media)
    if isinstance(value, list):
        return [_map_texts(item, function) for item in value]
    if not isinstance(value, dict):
        return value
    names = [value[key] for key in _MEDIA_KEYS if isinstance(value.get(key), str)]
    media = names[0] if names and re.fullmatch(_MEDIA, names[0]) else ""
    return {key: _map_texts(item, function, media) for key, item in value.items()}


def _level(sizes: list[int], room: int) -> int:
    """Return the largest size to which the larger ones are cut so that all have `room`."""
    remaining = max(room, 0)
    for position, size in enumerate(sorted(sizes)):
        share = remaining // (len(sizes) - position)
        if size > share:
            return share
        remaining -= size
    return max(sizes, default=0)


def _cut_to(text: str, max_bytes: int, prefix_length: PrefixLength) -> str:
    """Return the text, or its start and the number of the missing characters."""
    if len(text) * 6 <= max_bytes or size_of(text) <= max_bytes:
        return text
    room = max(max_bytes - _CUT_BYTES, 2)
    least, most = 0, min(len(text), room)
    while least < most:
        middle = (least + most + 1) // 2
        least, most = (middle, most) if size_of(text[:middle]) <= room else (least, middle - 1)
    return cut_text(text, prefix_length(text[:least]))


def _prune(value: Any, max_bytes: int, prefix_length: PrefixLength) -> Any:
    """Return the value with the first items of each container that is too large."""
    if isinstance(value, str):
        return _cut_to(value, max_bytes, prefix_length)
    if not isinstance(value, (dict, list)) or size_of(value) <= max_bytes:
        return value
    keys = _short_keys(value) if isinstance(value, dict) else [""] * len(value)
    items = list(value.values()) if isinstance(value, dict) else value
    sizes = [size_of(item) for item in items]
    extra = [size_of(key) + 2 if isinstance(value, dict) else 1 for key in keys]
    room, kept = max_bytes - _OMITTED_BYTES, 0
    for size, more in zip(sizes, extra, strict=True):
        room -= more + min(size, _MIN_ITEM_BYTES)
        if room < 0:
            break
        kept += 1
    most = _level(sizes[:kept], max_bytes - _OMITTED_BYTES - sum(extra[:kept]))
    found = [_prune(item, most, prefix_length) for item in items[:kept]]
    omitted = sum(map(_count, keys[kept:], items[kept:]))
    if isinstance(value, list):
        return [*found, {OMITTED: omitted}] if omitted else found
    return dict(zip(keys, found, strict=False)) | ({OMITTED: omitted} if omitted else {})


def _short_keys(value: dict[str, Any]) -> list[str]:
    keys: dict[str, None] = {}
    counts: dict[str, int] = {}
    for key in value:
        keys[unused_key(_cut_to(key, _MIN_TEXT_BYTES, len), keys, counts)] = None
    return list(keys)


def _count(key: str, item: Any) -> int:
    """Return the number of items that an omitted one stands for."""
    note = item if key == OMITTED else item.get(OMITTED) if isinstance(item, dict) else None
    return note if isinstance(note, int) and (key == OMITTED or len(item) == 1) else 1
