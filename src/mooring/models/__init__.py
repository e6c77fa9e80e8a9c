"""The three ways to run handlers: ``hybrid``, ``epoll`` and ``threads``."""
