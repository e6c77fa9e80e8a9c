"""Threads: a resizable, pausable executor that finds its own size; results that come later. Usable without a server."""

from mooring.threads.blocking import about_to_block, blocking
from mooring.threads.histogram import Histogram
from mooring.threads.pending import Pending
from mooring.threads.pool import ThreadPool
from mooring.threads.stats import ThreadInfo, ThreadPoolStats

__all__ = ["Histogram", "Pending", "ThreadInfo", "ThreadPool", "ThreadPoolStats", "about_to_block", "blocking"]
