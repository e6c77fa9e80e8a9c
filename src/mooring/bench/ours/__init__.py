"""Our own servers, each in a file that is run like any user's: ``python FILE PORT [ARGUMENT ...]``.

Nothing is set for the sake of a figure: dispatch is measured, all limits stand, and heartbeats are on.
"""
