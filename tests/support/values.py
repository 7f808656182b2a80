"""Values of all kinds with their form in the log; for every place that takes arbitrary values."""

import dataclasses
import enum
import ipaddress
import pathlib
import uuid
from collections import Counter, OrderedDict, UserDict, defaultdict, deque, namedtuple
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Any

import attrs
import pydantic
from django.utils.functional import lazystr
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy
from langchain_core.documents import Document
from langchain_core.messages import ToolMessage

Pair = namedtuple("Pair", "left right")


class Color(enum.Enum):
    RED = "red"
    HALF = Decimal("0.5")


class Level(enum.IntEnum):
    HIGH = 3


class Mode(enum.StrEnum):
    FAST = "fast"


@dataclasses.dataclass
class Point:
    x: int
    tags: set[str] = dataclasses.field(default_factory=lambda: {"b", "a"})
    _hidden: int = 1


@attrs.define
class Size:
    width: Decimal


class Invoice(pydantic.BaseModel):
    total: Decimal
    content: str = "one line"


class Tags(pydantic.RootModel[list[str]]):
    pass


class Refund(Invoice):
    reason: str

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def broken(self) -> str:
        raise ValueError("no rate")


class Order(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow", arbitrary_types_allowed=True)
    invoice: Invoice
    client: Any = None
    key: str = pydantic.Field("hidden", exclude=True)


class Discount(Invoice):
    percent: int


class Masked(pydantic.BaseModel):
    card: str
    invoice: Invoice | None = None

    @pydantic.field_serializer("card")
    def mask(self, card: str) -> str:
        return f"…{card[-4:]}"


class Hidden(pydantic.BaseModel):
    card: Annotated[str, pydantic.PlainSerializer(lambda card: f"…{card[-4:]}")]


class Mute:
    def __repr__(self) -> str:
        raise RuntimeError("detached from its session")

    __str__ = __repr__


class Plain:
    def __repr__(self) -> str:
        raise AssertionError("repr() may be a query")


class Named:
    def __str__(self) -> str:
        return "the name"


class Jsonable:
    def __json__(self) -> Any:
        return {"id": Decimal("1")}


class Answer(int):
    pass


class Label(str):
    __slots__ = ()


class Moment(datetime):
    pass


def _cycle() -> Any:
    items: list[Any] = [1]
    items.append({"again": items})
    return items


HERE = "tests.support.values"

# Name, value, and its form in the log.
VALUES: list[tuple[str, Any, Any]] = [
    ("none", None, None),
    ("true", True, True),
    ("text", "tee", "tee"),
    ("text-subclass", Label("tee"), "tee"),
    ("safe-text", mark_safe("<b>"), "<b>"),
    ("nul", "a\0b", "a\ufffdb"),
    ("surrogate", "a\ud800b", "a\ufffdb"),
    ("integer", 7, 7),
    ("integer-subclass", Answer(42), 42),
    ("64-bits", 2**64 - 1, 2**64 - 1),
    ("large-integer", {"big": 2**70, "n": 1}, {"big": str(2**70), "n": 1}),
    ("very-large-integer", 10**5000, {"$type": "int", "bits": 16610}),
    ("float", 0.5, 0.5),
    ("nan", {"loss": float("nan"), "epochs": 3}, {"loss": "NaN", "epochs": 3}),
    ("infinities", [float("inf"), -float("inf")], ["Infinity", "-Infinity"]),
    ("decimal", {"total": Decimal("9.90")}, {"total": "9.90"}),
    ("decimal-nan", Decimal("NaN"), "NaN"),
    ("complex", 1 + 2j, "(1+2j)"),
    ("datetime", datetime(2026, 1, 2, 3, 4, 5, 6, UTC), "2026-01-02T03:04:05.000006+00:00"),
    ("datetime-subclass", Moment(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05"),
    ("date", date(2026, 1, 2), "2026-01-02"),
    ("time", time(3, 4, 5, tzinfo=UTC), "03:04:05+00:00"),
    ("duration", timedelta(days=1, hours=2, microseconds=5), "P1DT02H00M00.000005S"),
    ("negative-duration", -timedelta(minutes=61), "-P0DT01H01M00S"),
    ("uuid", uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ("path", pathlib.PurePosixPath("a/b.txt"), "a/b.txt"),
    ("address", ipaddress.ip_address("::1"), "::1"),
    ("network", ipaddress.ip_network("10.0.0.0/8"), "10.0.0.0/8"),
    ("lazy-text", {"title": gettext_lazy("Add")}, {"title": "Add"}),
    ("lazy-string", lazystr("tee"), "tee"),
    ("enum", Color.RED, "red"),
    ("enum-of-decimal", Color.HALF, "0.5"),
    ("int-enum", Level.HIGH, 3),
    ("str-enum", Mode.FAST, "fast"),
    ("integer-keys", {"by_page": {1: "a", 2: "b"}}, {"by_page": {"1": "a", "2": "b"}}),
    ("same-keys", {1: "a", "1": "b", 1.5: "c"}, {"1": "a", "1 (2)": "b", "1.5": "c"}),
    ("other-keys", {True: 1, None: 2, (1, 2): 3}, {"true": 1, "null": 2, "[1,2]": 3}),
    (
        "keys-as-text",
        {uuid.UUID(int=1): 1, date(2026, 1, 2): 2, Color.RED: 3, b"raw": 4, Named(): 5},
        {
            "00000000-0000-0000-0000-000000000001": 1,
            "2026-01-02": 2,
            "red": 3,
            "raw": 4,
            "the name": 5,
        },
    ),
    ("ordered-dict", OrderedDict(a=(1,)), {"a": [1]}),
    ("default-dict", defaultdict(list, a=[Decimal(1)]), {"a": ["1"]}),
    ("counter", Counter("aab"), {"a": 2, "b": 1}),
    ("proxy", MappingProxyType({"a": 1}), {"a": 1}),
    ("user-dict", UserDict(a=1), {"a": 1}),
    ("tuple", (1, (2, 3)), [1, [2, 3]]),
    ("named-tuple", Pair(1, Decimal(2)), [1, "2"]),
    ("deque", deque([1, 2]), [1, 2]),
    ("range", range(3), [0, 1, 2]),
    ("set", {"pages": 3, "tags": {"b", "a"}}, {"pages": 3, "tags": ["a", "b"]}),
    ("frozen-set", frozenset([2, 1]), [1, 2]),
    ("keys", {"a": 1}.keys(), ["a"]),
    ("items", {"a": 1}.items(), [["a", 1]]),
    ("dataclass", Point(1), {"x": 1, "tags": ["a", "b"], "_hidden": 1}),
    ("attrs", Size(Decimal(3)), {"width": "3"}),
    ("model", Invoice(total="1.5"), {"total": "1.5", "content": "one line"}),
    ("root-model", Tags(["a"]), ["a"]),
    (
        "model-of-a-subclass",
        Order(invoice=Refund(total=1, reason="late"), client=Plain(), note=Decimal(2)),
        {
            "invoice": {
                "total": "1",
                "content": "one line",
                "reason": "late",
                "broken": {"$type": "builtins.ValueError", "message": "no rate"},
            },
            "client": {"$type": f"{HERE}.Plain"},
            "note": "2",
        },
    ),
    (
        "model-without-validation",
        Invoice.model_construct(total={1}),
        {"total": [1], "content": "one line"},
    ),
    ("model-with-annotated-serializer", Hidden(card="4000123412341234"), {"card": "…1234"}),
    (
        "model-with-serializer",
        Masked(card="4000123412341234", invoice=Discount(total=1, percent=5)),
        {"card": "…1234", "invoice": {"total": "1", "content": "one line", "percent": 5}},
    ),
    (
        "document",
        Document("text", metadata={"n": Decimal(1)}),
        {"id": None, "metadata": {"n": "1"}, "page_content": "text", "type": "Document"},
    ),
    (
        "message",
        ToolMessage("no such file", tool_call_id="c1", name="edit", status="error", artifact={1}),
        {
            "content": "no such file",
            "additional_kwargs": {},
            "response_metadata": {},
            "type": "tool",
            "name": "edit",
            "id": None,
            "tool_call_id": "c1",
            "artifact": [1],
            "status": "error",
        },
    ),
    ("json-method", Jsonable(), {"id": "1"}),
    ("bytes", b"\x00\xff", {"$type": "bytes", "size": 2, "base64": "AP8="}),
    ("many-bytes", bytearray(1000), {"$type": "bytes", "size": 1000}),
    ("error", ValueError("no ink"), {"$type": "builtins.ValueError", "message": "no ink"}),
    ("object", object(), {"$type": "object"}),
    ("object-with-repr", Plain(), {"$type": f"{HERE}.Plain"}),
    ("object-with-text", Named(), {"$type": f"{HERE}.Named", "text": "the name"}),
    (
        "mute-inside",
        {"rows": 3, "last": Mute()},
        {"rows": 3, "last": {"$type": f"{HERE}.Mute"}},
    ),
    ("generator", (n for n in (1, 2)), {"$type": "generator"}),
    ("cycle", _cycle(), [1, {"again": {"$type": "list", "omitted": "cycle"}}]),
]
