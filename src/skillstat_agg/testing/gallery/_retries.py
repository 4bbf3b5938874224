"""Something that is taken for a retry and is none, or the other way round."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import attrs

from skillstat_agg._appending import checked_events, content_digests, unseen_events
from skillstat_agg._commits import Commit, CommitResult
from skillstat_agg._deltas import Deltas
from skillstat_agg._events import Event, Position
from skillstat_agg._stores import Appended
from skillstat_agg.backends.memory._database import Pending
from skillstat_agg.testing.gallery._frame import BrokenStore, broken, events_of
from skillstat_agg.testing.gallery._logs import Log
from skillstat_agg.testing.gallery._stats_steps import OpenStats, with_stats


class LooksIntoTheLog(Log):
    """``WHERE id IN (...)``, and then an insert of every event whose id was not there."""

    def _allocate(
        self, pending: Pending, events: Iterable[Event], max_ahead: timedelta
    ) -> Appended:
        given = checked_events(events, now=self._clock(), max_ahead=max_ahead)
        ids, known = content_digests(given), self._database._digests
        unseen_events(given, ids, known)  # raises where an id stands for other content
        fresh = [event for event in given if event.event_id not in known]
        before = pending.digests
        for event in fresh:
            pending.digests = {}
            super()._allocate(pending, [event], max_ahead)
        pending.digests = {**before, **ids}
        position = Position(self._database._last) if given else None
        return Appended(new=len(fresh), position=position)


class IdsOfTheLastCall(Log):
    """Stores the ids of an open append when it ends: those of its last call."""

    def _allocate(
        self, pending: Pending, events: Iterable[Event], max_ahead: timedelta
    ) -> Appended:
        pending.digests = {}
        return super()._allocate(pending, events, max_ahead)


class SameDeltasOnce(OpenStats):
    """Adds deltas once; the same again are those of a commit that is repeated."""

    _added: tuple[Deltas, ...] = ()

    def commit(self, commit: Commit, /) -> CommitResult:
        deltas = commit.deltas
        if deltas in self._added:
            deltas = deltas.without(frozenset(deltas.totals))
        result = super().commit(attrs.evolve(commit, deltas=deltas))
        self._added += (commit.deltas,)
        return result


STORES = (
    BrokenStore(
        name="ids of one call not compared",
        mistake="Looks the ids of a call up in the log, and inserts what is not there. An event"
        " that stands in the call twice, since a queue was read twice, is stored twice.",
        reported=("sliceworkz/eventstore#166",),
        row="E5, E2",
        breaks=("append_once",),
        killer="APPEND-02",
        remedy="put the id under a unique constraint, or compare the events of a call with each"
        " other, too",
        harness=broken(events=events_of(LooksIntoTheLog)),
    ),
    BrokenStore(
        name="ids of the last call",
        mistake="The ids of an append are kept in a variable until it is committed, and each call"
        " sets that anew. What an earlier call of the same transaction appended has no id.",
        reported=("no public report was found",),
        row="E2",
        breaks=("append_once",),
        killer="APPEND-05",
        remedy="store the ids with the events, in the call that stores them",
        harness=broken(events=events_of(IdsOfTheLastCall)),
    ),
    BrokenStore(
        name="same deltas are a retry",
        mistake="A commit is written again where its answer was lost, so a writer adds the same"
        " deltas once. Two pages with the same in them are alike, and one large page is not.",
        reported=("no public report was found",),
        row="A4, P7",
        breaks=(
            "exact",
            "progress",
            "signed",
            "stable_prefix",
            "atomic",
            "total_order",
            "forgotten",
            "compare_and_set",
        ),
        killer="CUT-01",
        remedy="what says that a commit is a retry is the record that it was made from",
        harness=with_stats(SameDeltasOnce),
    ),
)
