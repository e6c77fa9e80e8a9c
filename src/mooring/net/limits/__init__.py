"""How much a server takes of whom: connections, paces, networks, and those who have offended."""
