"""Group commit: rows from many callers, stored by few commits. Usable alone, with any pool of ``mooring.db``."""

from .group import GroupCommit
from .stats import GroupCommitStats

__all__ = ["GroupCommit", "GroupCommitStats"]
