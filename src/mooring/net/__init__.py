"""Sockets: addresses, listeners, connections, deadlines, and the loop that owns every descriptor."""
