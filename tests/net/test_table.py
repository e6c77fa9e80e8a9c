from __future__ import annotations

import sys
import threading
from typing import Any

from mooring.net.loop.table import ConnectionTable


def test_a_connection_is_found_by_its_descriptor_until_it_is_taken_out(pairs: Any) -> None:
    table = ConnectionTable()
    connection, _ = pairs.make()
    table.add(connection)
    assert table.slots[connection._socket.fileno()] is connection
    assert (table.count, table.snapshot()) == (1, [connection])
    table.remove(connection)
    assert table.slots[connection._socket.fileno()] is None
    assert (table.count, table.snapshot()) == (0, [])


def test_whoever_polls_a_descriptor_has_made_room_for_it(pairs: Any) -> None:
    table = ConnectionTable()
    table.make_room(1000)
    assert table.slots[1000] is None
    table.make_room(3)
    assert len(table.slots) > 1000


def test_a_connection_whose_socket_somebody_closed_is_taken_out_and_its_successor_is_not(pairs: Any) -> None:
    table = ConnectionTable()
    gone, _ = pairs.make(1)
    table.add(gone)
    number = gone._socket.fileno()
    gone._socket.close()
    successor = pairs.make(2)[0]
    assert successor._socket.fileno() == number, "the kernel gives the lowest free one"
    table.add(successor)
    table.remove(gone)
    assert (table.count, table.snapshot()) == (1, [successor])


def test_in_pieces_everybody_comes_once_from_either_end(pairs: Any) -> None:
    table = ConnectionTable()
    made = [pairs.make(number)[0] for number in range(9)]
    for connection in made:
        table.add(connection)
    table.remove(made.pop(4))
    pieces = list(table.pieces(4))
    assert max(map(len, pieces)) <= 4
    assert [connection for piece in pieces for connection in piece] == made
    assert [connection for piece in table.pieces(4, backwards=True) for connection in piece] == made[::-1]


def test_threads_may_add_while_the_loop_looks(pairs: Any) -> None:
    table = ConnectionTable()
    made = [pairs.make(number)[0] for number in range(200)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [
            threading.Thread(target=lambda part=part: list(map(table.add, part))) for part in (made[::2], made[1::2])
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            assert set(table.snapshot()) <= set(made)
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert table.count == 200
    assert set(table.snapshot()) == set(made)
