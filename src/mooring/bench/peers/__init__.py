"""The other servers, each in a file that can be run and read by itself: ``python FILE PORT [ARGUMENT ...]``.

They answer ``+PONG`` to every line. Those called ``..._mixed`` also know ``SLOW`` (wait 5 ms), ``CPU N`` (count to N
in Python) and ``PING surprise`` (sleep 100 ms where nobody expects it). Each is meant to be what its own
documentation would have one write; where a choice was to be made, the faster one was taken.
"""
