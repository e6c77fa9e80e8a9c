"""``mooring bench``: what a server costs, beside others that do the same work, and how to repeat it.

Every server runs as its user would start it, in a process of its own and pinned to one core; the load comes from
another process on another core. Rounds are interleaved, and of each figure the median and the spread are kept.
"""
