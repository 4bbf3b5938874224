"""Stores that are broken on purpose, each a documented anti-pattern.

`drain` runs over them unchanged and counts wrongly: a test that lets one of them pass would
let the same mistake pass in a real adapter. Neither Hypothesis nor pytest is needed.
"""

from __future__ import annotations

from skillstat_agg.testing.gallery import (
    _answers,
    _appends,
    _arguments,
    _building,
    _calls,
    _changes,
    _chunks,
    _commits,
    _history,
    _holes,
    _identity,
    _inside,
    _kept,
    _limits,
    _lost_answers,
    _marks,
    _parking,
    _positions,
    _prunes,
    _prunes_inside,
    _reading,
    _retention,
    _retries,
    _sizes,
    _sqlite,
    _sqlite_calls,
    _sqlite_logs,
    _sqlite_prunes,
    _sqlite_tallies,
    _stats_atomic,
    _stats_buckets,
    _stats_forget,
    _stats_numbers,
    _stats_records,
    _swaps,
    _ties,
    _verifying,
    _visibility,
)
from skillstat_agg.testing.gallery._frame import BrokenStore
from skillstat_agg.testing.gallery._timestamps import TimestampAfter, TimestampFrom

__all__ = ["BROKEN_STORES", "BrokenStore", "TimestampAfter", "TimestampFrom"]

BROKEN_STORES: tuple[BrokenStore, ...] = (
    *_ties.STORES,
    *_positions.STORES,
    *_reading.STORES,
    *_visibility.STORES,
    *_holes.STORES,
    *_history.STORES,
    *_appends.STORES,
    *_retries.STORES,
    *_calls.STORES,
    *_arguments.STORES,
    *_identity.STORES,
    *_changes.STORES,
    *_commits.STORES,
    *_inside.STORES,
    *_lost_answers.STORES,
    *_chunks.STORES,
    *_stats_atomic.STORES,
    *_stats_numbers.STORES,
    *_stats_buckets.STORES,
    *_stats_records.STORES,
    *_stats_forget.STORES,
    *_parking.STORES,
    *_retention.STORES,
    *_building.STORES,
    *_swaps.STORES,
    *_verifying.STORES,
    *_kept.STORES,
    *_marks.STORES,
    *_limits.STORES,
    *_answers.STORES,
    *_sizes.STORES,
    *_prunes.STORES,
    *_prunes_inside.STORES,
    *_sqlite.STORES,
    *_sqlite_calls.STORES,
    *_sqlite_logs.STORES,
    *_sqlite_tallies.STORES,
    *_sqlite_prunes.STORES,
)
"""Every broken store, each with the law it breaks and the check that must fail for it."""
