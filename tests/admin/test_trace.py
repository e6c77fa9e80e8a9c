"""The stream of a trace: bounded, whoever is slow."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from unittest import mock

import pytest

from mooring.admin.trace import QUEUED, TraceStream

In = Callable[[Callable[[TraceStream], Awaitable[None]]], None]


@pytest.fixture
def in_a_loop() -> In:
    """Runs a test with a stream, in an event loop."""

    def run(test: Callable[[TraceStream], Awaitable[None]]) -> None:
        async def begin() -> None:
            await test(TraceStream(60.0))

        asyncio.run(begin())

    return run


def test_frames_that_nobody_takes_are_few_and_wake_the_viewer_once(in_a_loop: In) -> None:
    async def test(stream: TraceStream) -> None:
        with mock.patch.object(stream._loop, "call_soon_threadsafe") as wake:
            for number in range(QUEUED + 7):
                stream.put({"number": number})
        assert wake.call_count == 1
        assert stream._take() == [{"number": number} for number in range(QUEUED)]

    in_a_loop(test)


def test_the_first_frame_that_is_kept_again_says_how_many_were_left_out(in_a_loop: In) -> None:
    async def test(stream: TraceStream) -> None:
        for number in range(QUEUED + 7):
            stream.put({"number": number})
        stream._take()
        stream.put({"number": 2000})
        stream.put({"number": 2001})
        assert stream._take() == [{"number": 2000, "left_out": 7}, {"number": 2001}]

    in_a_loop(test)


def test_a_stream_gives_all_frames_in_order_and_then_ends(in_a_loop: In) -> None:
    stopped: list[int] = []

    async def test(stream: TraceStream) -> None:
        closed, told = asyncio.Event(), b""
        async for event in stream.events(lambda: stopped.append(1), closed):
            told += event
            if event.startswith(b"event: begin"):
                for number in range(120):
                    stream.put({"number": number})
            elif b'"number":119' in event:
                closed.set()
        order = [told.index(b'{"number":%d}' % number) for number in range(120)]
        assert order == sorted(order)
        assert told.endswith(b"event: end\ndata: {}\n\n")

    in_a_loop(test)
    assert stopped == [1]
