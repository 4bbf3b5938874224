"""Tallies that a database makes of compacted events, and that are not those of the page."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from skillstat_agg._buckets import Granularity, bucket_of
from skillstat_agg._events import Place, RecordedEvent
from skillstat_agg._pages import TalliedPage
from skillstat_agg._tallies import Tally
from skillstat_agg.backends.sqlite import SQLiteEventStore
from skillstat_agg.testing.gallery._frame import BrokenStore
from skillstat_agg.testing.gallery._sqlite_frame import on_sqlite


class _Tallying(SQLiteEventStore):
    """Makes a tally of its own of the page: see ``_tally_of``."""

    def tally(
        self, after: Place | None, /, *, limit: int, granularity: Granularity
    ) -> TalliedPage | None:
        tallied = super().tally(after, limit=limit, granularity=granularity)
        if tallied is None or tallied.records == tallied.count:
            return tallied
        tally = self._tally_of(self.read(after, limit=limit).events, granularity)
        return attrs.evolve(tallied, tally=tally, count=sum(tally.counts.values()))

    def _tally_of(self, events: Sequence[RecordedEvent], granularity: Granularity) -> Tally:
        raise NotImplementedError


class CountsRows(_Tallying):
    """``count(*)``, whatever a row stands for."""

    def _tally_of(self, events: Sequence[RecordedEvent], granularity: Granularity) -> Tally:
        return Tally.of((one.event for one in events), granularity)


class CarriesAgain(_Tallying):
    """What a row carries, times the number of events it stands for."""

    def _tally_of(self, events: Sequence[RecordedEvent], granularity: Granularity) -> Tally:
        groups = (
            (
                one.event.skill_id,
                one.event.kind,
                bucket_of(one.event.occurred_at, granularity),
                one.event.deltas,
                one.count,
            )
            for one in events
        )
        return Tally.of_groups(groups, granularity)


STORES = (
    BrokenStore(
        name="tallies rows",
        mistake="The tally counts rows: a compacted event is one event, though the page that is"
        " read plainly says how many it stands for.",
        reported=("no public report was found",),
        row="P17",
        breaks=("same_tally", "same_sums", "slowest_reader", "kept_events", "whole_segments"),
        killer="PUSH-06",
        remedy="add how many events each row stands for",
        harness=on_sqlite(events=CountsRows, prunes=True),
    ),
    BrokenStore(
        name="tallies sums again and again",
        mistake="What a group of events carries is multiplied by their number, and so are the sums"
        " of compacted ones.",
        reported=("no public report was found",),
        row="P17",
        breaks=("same_tally", "same_sums"),
        killer="PUSH-06",
        remedy="multiply what single events carry, and never the sums of compacted ones",
        harness=on_sqlite(events=CarriesAgain, prunes=True),
    ),
)
