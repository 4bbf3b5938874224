"""Reads from a place that is not there."""

from __future__ import annotations

from collections.abc import Sequence

from skillstat_agg._events import Place, RecordedEvent
from skillstat_agg.errors import HistoryChangedError
from skillstat_agg.testing.gallery._frame import BrokenStore, broken, events_of
from skillstat_agg.testing.gallery._logs import Log


class PositionOnly(Log):
    """Something stands at the position: that is enough."""

    def _check_same_log(self, place: Place | None) -> None:
        if place is None:
            return
        stands = {row.position for row in self._database._visible}
        if place.epoch != self._database._epoch or place.position not in stands:
            raise HistoryChangedError(f"no event stands at {place.position}")


class AnyEpoch(Log):
    """The epoch of the place is not looked at."""

    def _check_same_log(self, place: Place | None) -> None:
        if place is not None:
            super()._check_same_log(Place(self._database._epoch, place.position, place.fingerprint))


class FromTheBeginning(Log):
    """A place that is not there is replaced by the beginning."""

    def _check_same_log(self, place: Place | None) -> None:
        """Check nothing."""

    def _after(self, rows: Sequence[RecordedEvent], after: Place | None) -> Sequence[RecordedEvent]:
        return super()._after(rows, after if self._stands(after) else None)

    def _stands(self, place: Place | None) -> bool:
        try:
            super()._check_same_log(place)
        except HistoryChangedError:
            return False
        return True


class FromTheEnd(FromTheBeginning):
    """A place that is not there is replaced by the end."""

    def _after(self, rows: Sequence[RecordedEvent], after: Place | None) -> Sequence[RecordedEvent]:
        return super()._after(rows, after) if self._stands(after) else ()


class BeyondTheEnd(Log):
    """There is nothing after a place beyond the end, so nothing is wrong with it."""

    def _check_same_log(self, place: Place | None) -> None:
        rows = self._database._visible
        if place is not None and rows and place.position <= rows[-1].position:
            super()._check_same_log(place)


SAY_SO = "raise HistoryChangedError, and let a person decide"

STORES = (
    BrokenStore(
        name="position without fingerprint",
        mistake="Looks whether something stands at the cursor's position. In a log that was"
        " restored from a backup and has grown again, it is something else.",
        reported=("liquidprojections/LiquidProjections#60", "HarperFast/harper#2451"),
        row="L10",
        breaks=("same_log",),
        killer="HIST-03",
        remedy="compare the fingerprint of what stands there, in the snapshot of the read",
        harness=broken(events=events_of(PositionOnly)),
    ),
    BrokenStore(
        name="epoch not compared",
        mistake="Takes the place of another log for one of its own.",
        reported=("liquidprojections/LiquidProjections#96", "event-driven-io/emmett#336"),
        row="L10, L15",
        breaks=("same_log",),
        killer="HIST-01",
        remedy="compare the epoch of the place with that of the log",
        harness=broken(events=events_of(AnyEpoch)),
    ),
    BrokenStore(
        name="missing place read from the beginning",
        mistake="Begins anew where the cursor's place is not there, so that nothing is lost."
        " Everything counts twice.",
        reported=("no public report was found",),
        row="L4",
        breaks=("same_log",),
        killer="HIST-02",
        remedy=SAY_SO,
        harness=broken(events=events_of(FromTheBeginning)),
    ),
    BrokenStore(
        name="missing place read from the end",
        mistake="Goes on with what is new where the cursor's place is not there, so that it runs"
        " again. What lies between is lost, and nobody is told.",
        reported=("apache/pinot#19359", "NVIDIA/NVSentinel#1505", "PostHog/posthog#20283"),
        row="L4",
        breaks=("same_log",),
        killer="HIST-02",
        remedy=SAY_SO,
        harness=broken(events=events_of(FromTheEnd)),
    ),
    BrokenStore(
        name="nothing after the end",
        mistake="Answers a place beyond the end of the log with no events. The log has lost its"
        " end, and the worker waits until it has grown past it.",
        reported=("CambrianTech/continuum#2327", "JasperFx/fisher#199"),
        row="L10, V14",
        breaks=("same_log",),
        killer="HIST-04",
        remedy=SAY_SO,
        harness=broken(events=events_of(BeyondTheEnd)),
    ),
)
