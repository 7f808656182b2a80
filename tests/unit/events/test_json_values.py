import json
import sys
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from inspect import stack

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.codec import dump_json
from events.json_size import replace_base64
from events.json_values import convert, fit, number, to_json
from tests.support.values import VALUES, Mute, Named, Plain

LIMIT = 64 * 1024
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(("value", "form"), [row[1:] for row in VALUES], ids=[r[0] for r in VALUES])
def test_form_of_a_value(value, form):
    assert json.loads(dump_json(to_json(value, LIMIT), "it")) == form
    assert convert([value]) == [form]
    assert json.loads(dump_json(convert({"key": value}), "it")) == {"key": form}


def test_valid_value_is_returned_itself():
    value = {"a": [1, "b", {"c": None}]}
    assert to_json(value, LIMIT) is value


def test_generators_are_not_consumed():
    numbers = iter([1, 2])
    convert({"numbers": numbers})
    assert next(numbers) == 1


def test_deep_values():
    deep = []
    for _ in range(3000):
        deep = [deep]
    data = orjson.dumps(convert({"deep": deep, "after": 1}))
    assert b'{"$type":"list","omitted":"depth"}' in data
    assert data.endswith(b'"after":1}')
    assert orjson.loads(orjson.dumps(to_json(deep, LIMIT)))


def test_deep_values_at_the_end_of_the_stack():
    def below(levels):
        return below(levels - 1) if levels else convert({"a": [[[[1]]]], "b": 1})

    limit = sys.getrecursionlimit()
    room = limit - len(stack())
    for levels in range(20, 200, 5):
        found = below(room - levels)
        assert "a" in found or "$type" in found


def test_wide_values():
    (*items, note) = convert([Plain()] + [1] * 20_000)
    assert (len(items), note) == (10_000, {"$omitted": 10_001})
    found = convert({str(n): 1j for n in range(10_003)})
    assert (len(found), found["$omitted"]) == (10_001, 3)


def test_large_item_leaves_room_for_later_ones():
    table = [[0.5] * 768] * 1000
    found = convert({"pages": [{"table": table, "title": "A"}, {"title": "B"}], "answer": "yes"})
    assert [page["title"] for page in found["pages"]] == ["A", "B"]
    assert found["answer"] == "yes"
    rows = found["pages"][0]["table"]
    assert rows[-1]["$omitted"] + len(rows) == 1001


@pytest.mark.timeout(30)
def test_number_of_nodes_is_limited():
    """Without the limit, the conversion takes longer than the timeout of the test."""
    value = ["x", 1j]
    for _ in range(40):
        value = [value, value]
    assert len(orjson.dumps(convert(value))) < 10_000_000


class Lines(dict):
    def items(self):
        raise AssertionError("not called: orjson does not call it either")


class Surprise:
    def __json__(self):
        return Surprise()


class Hostile(type):
    def __getattribute__(cls, name):
        if name in ("__qualname__", "__module__"):
            raise RuntimeError(name)
        return super().__getattribute__(name)


def test_hostile_values():
    assert convert(Lines(a=1j)) == {"a": "1j"}
    assert "omitted" in json.dumps(convert(Surprise()))
    kind = Hostile("Kind", (), {})
    assert "$type" in convert(kind())
    assert convert({Mute(): 1, Mute(): 2, Named(): 3}) == {
        "tests.support.values.Mute": 1,
        "tests.support.values.Mute (2)": 2,
        "the name": 3,
    }


def test_values_of_numpy():
    numpy = pytest.importorskip("numpy")
    value = {
        "f32": numpy.float32(0.5),
        "f64": numpy.float64("nan"),
        "i": numpy.int64(7),
        "b": numpy.bool_(True),
        "s": numpy.str_("a"),
        "when": numpy.datetime64("2026-01-02T03:04:05.000000001"),
        "long": numpy.longdouble(2),
        "grid": numpy.arange(4).reshape(2, 2),
        "scalar": numpy.array(3),
        "objects": numpy.array([None, 1j], dtype=object),
        numpy.int64(1): 1,
    }
    assert to_json(value, LIMIT) == {
        "f32": 0.5,
        "f64": "NaN",
        "i": 7,
        "b": True,
        "s": "a",
        "when": "2026-01-02T03:04:05.000000001",
        "long": 2.0,
        "grid": [[0, 1], [2, 3]],
        "scalar": 3,
        "objects": [None, "1j"],
        "1": 1,
    }
    assert convert(numpy.zeros(200_000))[-1] == {"$omitted": 190_000}
    assert [number(numpy.float32(0.5)), number(numpy.int64(7))] == [0.5, 7]
    assert [type(number(numpy.float64(1))), type(number(numpy.int8(1)))] == [float, int]


def test_number():
    assert [number(Decimal("12.5")), number(Fraction(1, 4))] == [12.5, 0.25]
    for value in ("half", 50, True, None, NOON, object):
        assert number(value) is value


PICTURE = "iVBOR" + "A" * 200_000


def test_base64_is_replaced_first():
    value = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + PICTURE}},
        {"type": "image", "base64": PICTURE, "mime_type": "image/jpeg"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/gif", "data": PICTURE}},
        {"type": "input_audio", "input_audio": {"data": PICTURE, "format": "wav"}},
        {"type": "text", "text": f"look: ![](data:image/png;base64,{PICTURE}) here"},
        json.dumps({"data": PICTURE, "note": "3 errors"}),
        "\r\n".join([PICTURE[:76]] * 30),
        "data:image/svg+xml;utf8," + "%3Csvg" * 1000,
        {"type": "text", "text": "words"},
    ]
    size = "200,005 bytes of base64]"
    assert fit(value, 32_768) == [
        {"type": "image_url", "image_url": {"url": f"[image/png, {size}"}},
        {"type": "image", "base64": f"[image/jpeg, {size}", "mime_type": "image/jpeg"},
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/gif", "data": f"[image/gif, {size}"},
        },
        {"type": "input_audio", "input_audio": {"data": f"[{size}", "format": "wav"}},
        {"type": "text", "text": f"look: ![]([image/png, {size}) here"},
        json.dumps({"data": f"[{size}", "note": "3 errors"}),
        "[2,338 bytes of base64]",
        "[image/svg+xml, 6,000 bytes]",
        {"type": "text", "text": "words"},
    ]


@pytest.mark.parametrize(
    "text", ["x" * 5000, "-" * 5000, "word " * 1000, "data: " + "words " * 1000, "Ab1" * 300]
)
def test_other_text_is_no_base64(text):
    assert replace_base64([text]) == [text]


def test_long_texts_are_cut_to_one_length():
    value = {"a": "x" * 50_000, "b": ["y" * 30_000, "short"], "c": "z" * 900, "d": 1}
    found = fit(value, 10_000)
    assert len(orjson.dumps(found)) <= 10_000
    assert (found["b"][1], found["c"], found["d"]) == ("short", value["c"], 1)
    assert found["a"].endswith(f" [... {50_000 - found['a'].count('x')} more characters]")
    assert found["a"].count("x") == found["b"][0].count("y") > 4000
    again = fit(found, 5_000)
    assert again["a"].endswith(f" [... {50_000 - again['a'].count('x')} more characters]")


def test_containers_keep_their_first_items():
    value = {"rows": [{"id": n, "name": f"row {n}"} for n in range(5000)], "total": 5000}
    found = fit(value, 4_000)
    *rows, note = found["rows"]
    assert len(orjson.dumps(found)) <= 4_000
    assert rows == value["rows"][: len(rows)]
    assert (note, found["total"]) == ({"$omitted": 5000 - len(rows)}, 5000)
    assert fit(found, 1000)["rows"][-1]["$omitted"] > note["$omitted"]
    keys = fit({"k" * 1000 + str(n): n for n in range(3)}, 1000)
    assert list(keys.values()) == [0, 1, 2]


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=300)
    | st.decimals() | st.datetimes() | st.timedeltas() | st.uuids() | st.builds(object)
    | st.builds(Mute) | st.complex_numbers(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner)
    | st.dictionaries(st.text() | st.integers() | st.none() | st.floats() | st.uuids(), inner)
    | st.sets(st.integers() | st.text()),
    max_leaves=40,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(json_like, st.integers(64, 3000))
def test_any_value_becomes_json_of_the_size(value, max_bytes):
    data = dump_json(to_json(value, max_bytes), "it")
    assert len(data) <= max_bytes
    if isinstance(value, (list, tuple)):
        assert data.startswith(b"[")


@settings(max_examples=100, deadline=None)
@given(json_like)
def test_nothing_is_dropped(value):
    converted = convert(value)
    assert dump_json(converted, "it") == dump_json(convert(converted), "it")
    if isinstance(value, (list, tuple, dict, set)):
        assert len(converted) == len(value)
