"""A log and stats in memory: for tests, and as the shortest text of the contract.

Allocation and visibility are kept apart, as in a database: an append can be held open,
committed late or rolled back, and later appends may become visible before it.
"""

from skillstat_agg.backends.memory._badges import MemoryBadgeStore
from skillstat_agg.backends.memory._database import MemoryDatabase
from skillstat_agg.backends.memory._log import MemoryEventStore, OpenAppend
from skillstat_agg.backends.memory._stats import MemoryStatsStore

__all__ = [
    "MemoryBadgeStore",
    "MemoryDatabase",
    "MemoryEventStore",
    "MemoryStatsStore",
    "OpenAppend",
]
