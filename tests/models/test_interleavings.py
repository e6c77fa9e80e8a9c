"""The hand-over of the loop, in every order in which its steps can happen.

Two connections, three loop threads, one worker of the pool, and two takings. The actors of this test are generators:
they call the engine's own transition functions (opening and ending a service, taking a spare, winning the role,
parking, filling and taking an inbox, clearing the mark) and yield before each step that others can see. A depth-first
search with replay then runs them in all orders and leaves out states that it has seen.

In each state: nobody but the leader touches the role's state, no two handlers of a connection run at once. In the end,
whatever the order: every message has run once and in order, every mark is cleared, and one thread leads.

The search must be able to fail: three designs that look right, and are not, are run through the same search.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mooring.handler import Handling
from mooring.models.epoll import EpollModel, append_to_inbox
from mooring.models.handover import Handover, LoopThread
from mooring.models.pause import NeverPaused
from mooring.models.serving import Serving
from mooring.net.connection.connection import Connection

Step = tuple[Any, ...]
"""What an actor yields: (name, whatever of its own matters later ..., whether it can go on, or None for always)."""
Actor = Iterator[Step]

READS = ((0, (b"a1", b"a2")), (1, (b"b1",)), (0, (b"a3",)))
"""What the kernel brings, read by read: connection, messages. A service runs one message; the rest is put back."""


HANDLING = Handling(lambda connection, message: None, None)

Takings = tuple[int, tuple[bytes, ...]]
WATCHED: Takings = (2, ())
ANNOUNCED: Takings = (1, (b"a1",))
"""Who takes: how many watchdogs, once each, and which messages announce that they will wait."""

WATCHDOG = 4
"""The first of the watchdogs among the actors: three loop threads and the worker come before."""


class Broken(AssertionError):
    """An invariant does not hold."""


class Mutant:
    """The design as it is; the wrong ones override."""

    marks_first = True

    def prepare(self, threads: list[LoopThread]) -> None:
        """Change the threads before anything runs."""

    def attempt(self, token: Any, function: Callable[[], bool]) -> Iterator[Step]:
        """A try for a token: one step."""
        return function()
        yield


class FlagInsteadOfToken(Mutant):
    """Tests a flag, and sets it in a further step."""

    class Flag:
        def __init__(self) -> None:
            self.taken = True

        def locked(self) -> bool:
            return self.taken

        def acquire(self, blocking: bool = True) -> bool:
            self.taken = True
            return True

        def release(self) -> None:
            self.taken = False

    def prepare(self, threads: list[LoopThread]) -> None:
        for thread in threads:
            thread.token = self.Flag()  # type: ignore[assignment]

    def attempt(self, token: Any, function: Callable[[], bool]) -> Iterator[Step]:
        if token.locked():
            return False
        yield ("tested", None)
        return function()


class OneTokenForAll(Mutant):
    """A late thread can win the token of its successor's service."""

    def prepare(self, threads: list[LoopThread]) -> None:
        for thread in threads[1:]:
            thread.token = threads[0].token


class MarksLate(Mutant):
    """Marks the connection only when its service has begun."""

    marks_first = False


class Role:
    """Stands where the loop's state stands for the Handover."""

    leader: int | None = None


class FakeLoop:
    def __init__(self) -> None:
        self.state = self
        self.ready: deque[Connection] = deque()
        self.departures = None


class World:
    """All shared state of one execution, the actors, and what they have done.

    ``holder`` is the thread that holds the role and is not in a service; ``offered`` the one whose open service offers
    it; ``heir`` the spare that was given it and is not awake yet. Exactly one of the three is set.
    """

    def __init__(self, mutant: Mutant, takings: Takings) -> None:
        self.mutant = mutant
        watchdogs, self.announcing = takings
        self.requests: deque[Connection] = deque()
        self.queue: deque[Connection] = deque()
        self.reads = deque(READS)
        self.loop = FakeLoop()
        self.handover = Handover(Role(), lambda: None, limit=8, name="test", rare=None)  # type: ignore[arg-type]
        self.threads = [LoopThread(name) for name in "xyz"]
        for number, thread in enumerate(self.threads):
            thread.ident = number + 1
        mutant.prepare(self.threads)
        self.serving = Serving(
            HANDLING,
            join=bytes,
            attend=self.requests.append,
            pause=NeverPaused(),
            rare=None,  # type: ignore[arg-type]
        )
        self.model = EpollModel(self.serving, self.loop)  # type: ignore[arg-type]
        lock = threading.Lock()
        self.connections = [Connection(None, None, "", number, lock, 0.0) for number in range(2)]  # type: ignore[arg-type]
        self.running: list[str | None] = [None, None]
        self.done: list[tuple[bytes, ...]] = [(), ()]
        self.handover.leader = self.threads[0]
        self.heir: LoopThread | None = self.threads[0]
        self.offered: LoopThread | None = None
        self.holder: LoopThread | None = None
        self.threads[0].baton.release()
        for thread in self.threads[1:]:
            assert self.handover.park(thread)
        self.actors = [loop_thread(self, thread) for thread in self.threads]
        self.actors += [worker(self), *(watchdog(self) for _ in range(watchdogs))]
        self.steps = [next(actor) for actor in self.actors]

    # The search's view ----------------------------------------------------------------------------------------------

    def enabled(self) -> list[int]:
        return [number for number, step in enumerate(self.steps) if step and (step[-1] is None or step[-1]())]

    def advance(self, number: int) -> None:
        self.steps[number] = next(self.actors[number], ())

    def key(self) -> tuple[Any, ...]:
        """What the rest of the run depends on; which of two watchdogs is where makes no difference."""
        handover = self.handover
        steps = [step[:-1] for step in self.steps]
        return (
            tuple(steps[:WATCHDOG]),
            tuple(sorted(steps[WATCHDOG:])),
            tuple((thread.token.locked(), thread.baton.locked()) for thread in self.threads),
            tuple(thread.name for thread in handover.parked),
            name_of(handover.leader),
            handover.late,
            tuple((c._served, c._watched, tuple(c._inbox or ())) for c in self.connections),
            ids(self.requests),
            ids(self.queue),
            ids(self.loop.ready),
            len(self.reads),
            tuple(self.running),
            tuple(self.done),
            name_of(self.holder),
            name_of(self.offered),
            name_of(self.heir),
        )

    def check_end(self) -> None:
        """Nobody can go on. Is everything done?"""
        idle = [step[1] for step in self.steps[:3] if step and step[0] == "idle"]
        expect(len(idle) == 1, f"{len(idle)} threads lead in the end: {self.steps}")
        for number, connection in enumerate(self.connections):
            wanted = tuple(message for at, messages in READS if at == number for message in messages)
            expect(self.done[number] == wanted, f"messages lost or out of order: {self.done[number]}")
            expect(not connection._served, "a mark was not cleared")
            expect(not connection._inbox, "a message waits for ever")
        expect(self.handover.late == 0, "a late thread was forgotten")
        expect(len(self.handover.parked) == 2, "a spare was lost")

    # What the actors say ----------------------------------------------------------------------------------------------

    def touch(self, thread: LoopThread) -> None:
        """The thread is about to touch the role's state."""
        expect(self.holder is thread, f"{thread.name} touches the role, which {name_of(self.holder)} holds")

    def begin(self, connection: Connection, who: str) -> None:
        number = connection.id
        expect(self.running[number] is None, f"two handlers of connection {number} at once")
        self.running[number] = who

    def end(self, connection: Connection, message: bytes) -> None:
        self.running[connection.id] = None
        self.done[connection.id] += (message,)


def expect(condition: bool, text: str) -> None:
    if not condition:
        raise Broken(text)


def name_of(thread: LoopThread | None) -> str | None:
    return thread.name if thread is not None else None


def ids(connections: deque[Connection]) -> tuple[int, ...]:
    return tuple(connection.id for connection in connections)


# The actors ----------------------------------------------------------------------------------------------------------


def loop_thread(world: World, thread: LoopThread) -> Actor:
    """Handover._live: parked, leading, late, parked again."""
    while True:
        yield ("parked", lambda: not thread.baton.locked())
        thread.baton.acquire()
        expect(world.heir is thread, f"{thread.name} was woken without being given the role")
        world.heir, world.holder = None, thread
        yield from lead(world, thread)
        # RoleLost
        yield ("late no more", None)
        world.handover.return_late(thread)
        yield ("parks", None)
        expect(world.handover.park(thread), "there was no room for a spare")


def lead(world: World, thread: LoopThread) -> Actor:
    """Loop.run, until the role is lost: requests, what is ready, what comes in."""
    loop = world.loop
    while True:
        yield ("idle", thread.name, lambda: bool(world.requests or loop.ready or world.reads))
        world.touch(thread)
        if world.requests:
            yield from look(world, thread, world.requests.popleft())
        elif loop.ready:
            connection = loop.ready.popleft()
            if world.handover.parked:
                items = world.serving.take_inbox(connection)
                if not (yield from serve(world, thread, connection, items)):
                    return
            else:
                world.queue.append(connection)
        else:
            number, messages = world.reads.popleft()
            if not (yield from deliver(world, thread, world.connections[number], list(messages))):
                return


def look(world: World, thread: LoopThread, connection: Connection) -> Actor:
    """Loop._balance: serve what waits, if nobody does."""
    with connection._lock:
        resume = bool(connection._inbox) and not connection._served
    if resume:
        yield from resumes(world, thread, connection)


def resumes(world: World, thread: LoopThread, connection: Connection) -> Actor:
    """HybridModel.resume: the mark, then the ready list or the pool's queue."""
    yield ("marks", connection.id, None)
    world.touch(thread)
    connection._served = True
    if world.handover.parked:
        world.loop.ready.append(connection)
    else:
        world.queue.append(connection)


def deliver(world: World, thread: LoopThread, connection: Connection, items: list[Any]) -> Actor:
    """HybridModel.deliver. False: the role was lost."""
    if connection._served or connection._inbox:
        yield ("fills the inbox", connection.id, tuple(items), None)
        world.touch(thread)
        append_to_inbox(connection, items)
        yield ("looks at the mark", connection.id, None)
        if not connection._served:
            yield from resumes(world, thread, connection)
        return True
    if not world.handover.parked:
        append_to_inbox(connection, items)
        yield from resumes(world, thread, connection)
        return True
    if world.mutant.marks_first:
        connection._served = True
    return (yield from serve(world, thread, connection, items))


def serve(world: World, thread: LoopThread, connection: Connection, items: list[Any]) -> Actor:
    """HybridModel._serve. False: the role was lost."""
    yield ("opens", connection.id, tuple(items), None)
    world.touch(thread)
    thread.connection = connection
    thread.open_service()
    world.holder, world.offered = None, thread
    if not world.mutant.marks_first:
        yield ("marks late", connection.id, tuple(items), None)
        connection._served = True
    done = yield from run(world, connection, items, thread)
    yield ("ends", connection.id, tuple(items), None)
    if (yield from world.mutant.attempt(thread.token, thread.end_service)):
        expect(world.offered is thread, f"{thread.name} takes itself for the leader: two lead")
        world.offered, world.holder = None, thread
        yield ("leaves", connection.id, tuple(items[done:]), None)
        world.touch(thread)
        world.model._leave(connection, items, done)
        return True
    yield ("finishes late", connection.id, tuple(items[done:]), None)
    more = world.serving.finish(connection, items, done)
    yield ("posts", connection.id, more, None)
    (world.queue if more else world.requests).append(connection)
    return False


def run(world: World, connection: Connection, items: list[Any], thread: LoopThread | None) -> Actor:
    """Serving.run: a service is one message long. ``thread`` is None in the pool."""
    if not items:
        return 0
    world.begin(connection, name_of(thread) or "worker")
    yield ("runs", connection.id, tuple(items), None)
    if thread is not None and items[0] in world.announcing and thread.is_serving:
        yield from take_role(world, thread)  # as Handover._announce does
        yield ("waits", connection.id, tuple(items), None)
    world.end(connection, items[0])
    return 1


def worker(world: World) -> Actor:
    """A thread of the pool: HybridModel._work."""
    while True:
        yield ("works", lambda: bool(world.queue))
        connection = world.queue.popleft()
        items = world.serving.take_inbox(connection)
        yield ("took", connection.id, tuple(items), None)
        done = yield from run(world, connection, items, None)
        yield ("finishes", connection.id, tuple(items[done:]), None)
        if world.serving.finish(connection, items, done):
            yield ("queues", connection.id, None)
            world.queue.append(connection)


def watchdog(world: World) -> Actor:
    """It saw a thread serving, however long ago, and takes the role from it."""
    handover = world.handover
    yield ("watches", lambda: handover.leader is not None and handover.leader.is_serving)
    server = handover.leader
    assert server is not None
    yield ("saw", server.name, None)
    yield from take_role(world, server)


def take_role(world: World, server: LoopThread) -> Actor:
    """Handover.take_role."""
    handover = world.handover
    spare = handover.take_spare()
    if spare is None:
        return
    yield ("has a spare", server.name, spare.name, None)
    if (yield from world.mutant.attempt(server.token, lambda: handover.win_role(server, spare, announced=False))):
        expect(world.offered is server, f"the role was won from {server.name}, who did not offer it: two lead")
        world.offered, world.heir = None, spare
        yield ("wakes", spare.name, None)
        spare.baton.release()
    else:
        yield ("parks it again", spare.name, None)
        expect(handover.park(spare), "there was no room for a spare")


# The search ----------------------------------------------------------------------------------------------------------


def explore(mutant: Mutant, takings: Takings) -> tuple[int, int]:
    """Run all interleavings; returns how many states and ends there are.

    Raises:
        Broken: with the steps that lead there.
    """
    seen: set[tuple[Any, ...]] = set()
    ends = 0
    branches: list[tuple[int, ...]] = [()]
    while branches:
        path = list(branches.pop())
        world = World(mutant, takings)
        try:
            for choice in path:
                world.advance(choice)
            while True:
                key = world.key()
                if key in seen:
                    break
                seen.add(key)
                enabled = world.enabled()
                if not enabled:
                    ends += 1
                    world.check_end()
                    break
                branches.extend((*path, other) for other in enabled[1:])
                path.append(enabled[0])
                world.advance(enabled[0])
        except Broken as exc:
            raise Broken(f"{exc}\nafter {trace(mutant, takings, path)}") from None
    return len(seen), ends


def trace(mutant: Mutant, takings: Takings, path: list[int]) -> str:
    """The steps of a path, to read."""
    world, steps = World(mutant, takings), []
    for choice in path[:-1]:
        steps.append(f"{choice}: {' '.join(map(str, world.steps[choice][:-1]))}")
        world.advance(choice)
    return "\n".join(steps)


@pytest.mark.parametrize("takings", [WATCHED, ANNOUNCED], ids=["two watchdogs", "a watchdog and an announcement"])
def test_the_role_is_neither_doubled_nor_lost_and_every_message_runs_once_in_order(takings: Takings) -> None:
    """Invariants 2 to 7, in all interleavings."""
    states, ends = explore(Mutant(), takings)
    assert states > 5_000, "the search has become small: look whether the actors still yield"
    assert ends >= 1


@pytest.mark.parametrize(
    ("mutant", "fault"),
    [
        (FlagInsteadOfToken(), "two lead"),
        (OneTokenForAll(), "two lead"),
        (MarksLate(), "two handlers of connection|messages lost or out of order"),
    ],
    ids=["a flag tested and then set", "one token shared by the loop", "marking after the service began"],
)
def test_the_search_finds_what_is_wrong_with_designs_that_look_right(mutant: Mutant, fault: str) -> None:
    """Invariants 3, 4 and 6: why they are as they are."""
    with pytest.raises(Broken, match=fault):
        explore(mutant, ANNOUNCED if isinstance(mutant, MarksLate) else WATCHED)
