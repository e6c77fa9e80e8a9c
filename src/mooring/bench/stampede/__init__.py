"""Connections that do everything at random, while both ends verify every byte: what ``mooring bench stampede`` runs.

``words`` is what is said, ``visitors`` the program with the clients, ``disturber`` what happens to the server
meanwhile; the server is ``ours/stampede.py``.
"""
