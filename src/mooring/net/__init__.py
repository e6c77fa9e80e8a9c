"""Sockets: addresses, how connections come, live and end, and the loop that owns every descriptor."""
