"""For the tests of programs that use Mooring: a proof for framings, and the blocking client.

::

    def test_the_framing_of_our_meters():
        check_framing(Meters(), b"\\x02ab\\x03\\x02c\\x03", [b"ab", b"c"])

    def test_a_ping_is_answered():
        with Server(handler) as server, Client(f"tcp://127.0.0.1:{server.port}") as client:
            client.send(b"PING")
            assert client.recv() == b"+PONG"
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from mooring.client import Client
from mooring.errors import FrameError
from mooring.framing import Framing

__all__ = ["Client", "check_framing"]

# Bounds on the work for long streams: together a fraction of a second for a framing of ordinary speed.
_MOST_SPLITS = 4096
_MOST_BYTES = 4_000_000
_GARBAGE_STREAMS = 200


def check_framing(framing: Framing, stream: bytes, messages: Sequence[bytes]) -> None:
    """Prove that ``framing`` keeps the promises of ``mooring.framing.Framing`` on this stream.

    - The stream gives these messages, however it is cut: at every one point, at every two points, and byte by byte.
      Each cut ends as the uncut stream does, with the same rest or with a FrameError.
    - Fewer bytes than ``missing`` never complete a message or show a fault.
    - ``split`` keeps nothing between calls.
    - ``join`` makes of each message a frame that ``split`` takes apart again, alone and in a row.
    - Garbage (random bytes, and the stream with bytes changed, lost, doubled and put in) raises FrameError or nothing,
      and gives the same however it is cut.

    For long streams the work is bounded: at most 4,096 cuts at one point, as many at two and as many pieces, fewer over
    1,000 bytes. They are spread evenly or chosen by a fixed seed, so that a failure is found again. A stream of up to
    90 bytes is cut at every two points. Choose one that has everything the protocol can do; it may end within a
    message, or with a fault that raises FrameError.

    ``Raw`` cannot pass: it leaves the borders of messages to the network.

    Args:
        framing: the framing to prove.
        stream: bytes as they would arrive.
        messages: what ``split`` gives for them.

    Raises:
        AssertionError: a promise is broken; the text says which, for which cut, what was expected and what came.
    """
    expected = _outcome_of(framing, [stream])
    if expected.messages != list(messages):
        raise AssertionError(f"split of the whole stream gave the wrong messages{_difference(messages, expected)}")
    _check_cuts(framing, stream, expected)
    _check_missing(framing, stream)
    _check_join(framing, messages)
    _check_garbage(framing, stream)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a stream gave in the end: messages, and the rest or a fault (None)."""

    messages: list[bytes]
    rest: bytes | None

    def __str__(self) -> str:
        end = "FrameError" if self.rest is None else f"rest {_short(self.rest)}"
        return f"{_listed(self.messages)}, then {end}"


def _outcome_of(framing: Framing, pieces: Iterable[bytes]) -> _Outcome:
    """Feed the pieces as a server does."""
    messages: list[bytes] = []
    rest = b""
    for piece in pieces:
        complete, left, _ = _split(framing, rest + piece)
        messages += complete
        if left is None:
            return _Outcome(messages, None)
        rest = left
    return _Outcome(messages, rest)


def _split(framing: Framing, data: bytes) -> tuple[list[bytes], bytes | None, int]:
    """Split, with a rest of None for FrameError; anything else that a framing must not do is an AssertionError."""
    try:
        result = framing.split(data)
    except FrameError as exc:
        _require_messages(list(exc.messages), data)
        return list(exc.messages), None, 0
    except Exception as exc:
        raise AssertionError(f"split({_short(data)}) raised {exc!r}; only FrameError is allowed") from exc
    if not isinstance(result, tuple) or len(result) != 3:
        raise AssertionError(f"split({_short(data)}) returned {result!r}, not (messages, rest, missing)")
    messages, rest, missing = result
    _require_messages(messages, data)
    if not isinstance(rest, bytes):
        raise AssertionError(f"split({_short(data)}) returned a rest of type {type(rest).__name__}, not bytes")
    if not isinstance(missing, int) or missing < 0:
        raise AssertionError(f"split({_short(data)}) returned missing={missing!r}, not a number of bytes")
    return messages, rest, missing


def _require_messages(messages: object, data: bytes) -> None:
    if not isinstance(messages, list) or not all(isinstance(message, bytes) for message in messages):
        raise AssertionError(f"split({_short(data)}) gave messages that are no list of bytes: {messages!r}")


def _check_cuts(framing: Framing, stream: bytes, expected: _Outcome) -> None:
    for points in _cuts(len(stream)):
        got = _outcome_of(framing, _pieces(stream, points))
        if got != expected:
            raise AssertionError(
                f"{_named(points, len(stream))} changes the outcome\n  expected {expected}\n  got      {got}"
                f"\n  stream   {_short(stream)}"
            )


def _cuts(size: int) -> Iterator[tuple[int, ...]]:
    """Yield points to cut a stream at: none, each one, pairs, and one after every byte."""
    yield ()
    step = max(1, -(-size // _most_cuts(size)))
    yield from ((point,) for point in range(1, size, step))
    pairs = size * (size - 1) // 2
    if pairs <= _most_cuts(size):
        yield from combinations(range(1, size), 2)
    else:
        chosen = random.Random(size)
        yield from (tuple(sorted(chosen.sample(range(1, size), 2))) for _ in range(_most_cuts(size)))
    yield tuple(range(1, size, step))


def _most_cuts(size: int) -> int:
    return max(16, min(_MOST_SPLITS, _MOST_BYTES // (size + 1)))


def _pieces(stream: bytes, points: Sequence[int]) -> list[bytes]:
    return [stream[begin:end] for begin, end in zip((0, *points), (*points, len(stream)), strict=True)]


def _check_missing(framing: Framing, stream: bytes) -> None:
    """Split every beginning of the stream, and see whether anything happens before it was promised."""
    promised, promised_at = 0, 0
    rest = b""
    step = max(1, -(-len(stream) // _most_cuts(len(stream))))
    for begin in range(0, len(stream), step):
        end = min(begin + step, len(stream))
        messages, left, missing = _split(framing, rest + stream[begin:end])
        if (messages or left is None) and end < promised:
            raise AssertionError(
                f"after {promised_at} bytes split said that {promised - promised_at} bytes were missing, but "
                f"{end - promised_at} were enough for {_listed(messages) if messages else 'a FrameError'}"
                f"\n  stream {_short(stream)}"
            )
        if left is None:
            return
        rest = left
        if messages or end + missing > promised:
            promised, promised_at = end + missing, end


def _check_join(framing: Framing, messages: Sequence[bytes]) -> None:
    frames = [_frame(framing, message) for message in messages]
    for message, frame in zip(messages, frames, strict=True):
        got = _outcome_of(framing, [frame])
        if got != _Outcome([message], b""):
            raise AssertionError(f"join({_short(message)}) made {_short(frame)}, which splits into {got}")
    got = _outcome_of(framing, [b"".join(frames)])
    if got != _Outcome(list(messages), b""):
        raise AssertionError(f"the joined frames in a row split into the wrong messages{_difference(messages, got)}")


def _frame(framing: Framing, message: bytes) -> bytes:
    try:
        frame = framing.join(message)
    except Exception as exc:
        raise AssertionError(f"join refused {_short(message)}, which split gave: {exc!r}") from exc
    if not isinstance(frame, bytes):
        raise AssertionError(f"join({_short(message)}) returned {type(frame).__name__}, not bytes")
    return frame


def _check_garbage(framing: Framing, stream: bytes) -> None:
    chosen = random.Random(len(stream))
    for _ in range(max(16, min(_GARBAGE_STREAMS, _MOST_BYTES // (len(stream) + 1)))):
        garbage = _spoiled(stream, chosen) if chosen.random() < 0.8 else chosen.randbytes(chosen.randrange(200))
        expected = _outcome_of(framing, [garbage])
        points = sorted(chosen.sample(range(len(garbage) + 1), min(2, len(garbage))))
        got = _outcome_of(framing, _pieces(garbage, points))
        if got != expected:
            raise AssertionError(
                f"{_named(points, len(garbage))} changes the outcome of garbage\n  uncut   {expected}\n  cut     {got}"
                f"\n  garbage {_short(garbage)}"
            )


def _spoiled(stream: bytes, chosen: random.Random) -> bytes:
    """Return the stream with a few bytes changed, lost, doubled or put in."""
    spoiled = bytearray(stream)
    for _ in range(chosen.randint(1, 3)):
        begin = chosen.randrange(len(spoiled) + 1)
        end = begin + chosen.choice((0, 1, 1, 2, 4))
        spoiled[begin:end] = chosen.choice(
            (b"", chosen.randbytes(1), chosen.randbytes(3), bytes(spoiled[begin:end]) * 2)
        )
    return bytes(spoiled)


def _named(points: Sequence[int], size: int) -> str:
    if not points:
        return "splitting the stream again, uncut,"
    if len(points) > 2:
        return f"cutting the stream into {len(points) + 1} pieces of {-(-size // (len(points) + 1))} bytes"
    return f"cutting at {' and '.join(map(str, points))} of {size} bytes"


def _difference(messages: Sequence[bytes], got: _Outcome) -> str:
    return f"\n  expected {_listed(messages)}\n  got      {got}"


def _listed(messages: Sequence[bytes]) -> str:
    shown = ", ".join(_short(message) for message in messages[:8])
    return f"{len(messages)} messages [{shown}{', ...' if len(messages) > 8 else ''}]"


def _short(data: bytes) -> str:
    return repr(data) if len(data) <= 80 else f"{data[:40]!r} ... {data[-20:]!r} ({len(data)} bytes)"
