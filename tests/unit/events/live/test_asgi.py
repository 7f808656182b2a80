"""Bodies of streaming responses: small frames are joined, large parts are split."""

from types import SimpleNamespace

from events.live.asgi import MAX_CHUNK_BYTES, joined, stream_response


def test_small_frames_are_joined():
    frames = [b"x" * 1000] * 200
    parts = list(joined(iter(frames)))
    assert b"".join(parts) == b"".join(frames)
    assert len(parts) == 4
    assert all(MAX_CHUNK_BYTES - 1000 < len(part) <= MAX_CHUNK_BYTES for part in parts[:-1])
    assert list(joined([b"x", b"y" * 100_000, b"z"])) == [b"x", b"y" * 100_000, b"z"]
    assert list(joined([])) == []


async def test_large_parts_are_split_and_the_body_is_closed():
    closed = []

    async def body():
        try:
            yield b"x" * 300_000
            yield b""
            yield b"y"
        finally:
            closed.append(True)

    response = stream_response(SimpleNamespace(), body())
    sizes = [len(chunk) async for chunk in response]
    assert sizes == [*[MAX_CHUNK_BYTES] * 4, 300_000 - 4 * MAX_CHUNK_BYTES, 1]
    assert closed == [True]
