"""Tallies that a database makes, and that are not those of the page."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import TypeAlias

import attrs

from skillstat_agg._buckets import EPOCH, Granularity, bucket_of
from skillstat_agg._events import Place
from skillstat_agg._pages import Page, TalliedPage
from skillstat_agg._tallies import DeltaSum, Tally
from skillstat_agg.backends.sqlite import SQLiteEventStore
from skillstat_agg.backends.sqlite._transactions import reading
from skillstat_agg.testing.gallery._frame import BrokenStore
from skillstat_agg.testing.gallery._sqlite_frame import on_sqlite

Carried: TypeAlias = Mapping[tuple[str, str, int, str], DeltaSum]

_YEARS_BEFORE = EPOCH.toordinal() * Granularity.DAY.length_us
"""From before the year 1 to 1970: what is added first, so that nothing is below zero."""


class PlaceReadLater(SQLiteEventStore):
    """Tallies a page, and then, in another transaction, asks which event was its last."""

    def tally(
        self, after: Place | None, /, *, limit: int, granularity: Granularity
    ) -> TalliedPage | None:
        tallied = super().tally(after, limit=limit, granularity=granularity)
        later = super().read(after, limit=limit)
        if tallied is None or not later.events:
            return tallied
        last = later.events[-1]
        place = Place(later.epoch, last.position, last.fingerprint)
        return attrs.evolve(tallied, place=place, frontier=later.frontier)


class _Groups(SQLiteEventStore):
    """Lets the database group by a bucket of its own; events with deltas are read plainly."""

    def tally(
        self, after: Place | None, /, *, limit: int, granularity: Granularity
    ) -> TalliedPage | None:
        tallied = super().tally(after, limit=limit, granularity=granularity)
        if tallied is None or tallied.place is None or tallied.tally.carried:
            return tallied
        first = 0 if after is None else after.position[0]
        with reading(self._db, "tally") as sql:
            rows = sql.execute(
                f"SELECT skill_id, kind, {self.bucket(granularity)} AS bucket, count(*)"
                " FROM skillstat_events WHERE position > ? AND position <= ?"
                " GROUP BY skill_id, kind, bucket",
                (first, tallied.place.position[0]),
            )
            counts = {(skill, kind, bucket): count for skill, kind, bucket, count in rows}
        return attrs.evolve(tallied, tally=Tally(granularity, counts, {}))

    def bucket(self, granularity: Granularity) -> str:
        """Return the number of an event's bucket, in SQL."""
        before = _YEARS_BEFORE // granularity.length_us
        return f"(occurred_at_us + {_YEARS_BEFORE}) / {granularity.length_us} - {before}"


class GroupsByLocalDay(_Groups):
    """Groups by the day on the wall, an hour east of Greenwich."""

    def bucket(self, granularity: Granularity) -> str:
        """Return the bucket of the time an hour later, if it is a day."""
        utc = super().bucket(granularity)
        east = f"occurred_at_us + {Granularity.HOUR.length_us}"
        return utc.replace("occurred_at_us", east) if granularity is Granularity.DAY else utc


class GroupsTowardsZero(_Groups):
    """Groups by a quotient of integers, which SQL rounds towards zero."""

    def bucket(self, granularity: Granularity) -> str:
        """Return the quotient."""
        return f"occurred_at_us / {granularity.length_us}"


class _OtherDeltas(SQLiteEventStore):
    """Returns other sums of what events carry."""

    def tally(
        self, after: Place | None, /, *, limit: int, granularity: Granularity
    ) -> TalliedPage | None:
        tallied = super().tally(after, limit=limit, granularity=granularity)
        if tallied is None:
            return None
        carried = self.carried(tallied.tally, self.read(after, limit=limit))
        return attrs.evolve(tallied, tally=attrs.evolve(tallied.tally, carried=carried))

    def carried(self, tally: Tally, page: Page) -> Carried:
        """Return the sums of the deltas of *page*, whose tally is *tally*."""
        raise NotImplementedError


class GroupsWithoutDeltas(_OtherDeltas):
    """Groups by skill, kind and bucket, and counts: what events carry is not in the groups."""

    def carried(self, tally: Tally, page: Page) -> Carried:
        return {}


class SumsDeltasAsReal(_OtherDeltas):
    """Sums what events carry with ``total()``, or out of JSON: in double precision."""

    def carried(self, tally: Tally, page: Page) -> Carried:
        return {
            key: part._replace(total=int(float(part.total))) for key, part in tally.carried.items()
        }


class GroupConcat(_OtherDeltas):
    """``GROUP_CONCAT(amount)``, which is cut at 1,024 bytes, and the sum of what is left."""

    LENGTH = 1_024

    def carried(self, tally: Tally, page: Page) -> Carried:
        texts: defaultdict[tuple[str, str, int, str], str] = defaultdict(str)
        for event in (row.event for row in page.events):
            bucket = bucket_of(event.occurred_at, tally.granularity)
            for name, amount in (event.deltas or {}).items():
                texts[event.skill_id, event.kind, bucket, name] += f"{amount},"
        return {
            key: part._replace(
                total=sum(map(int, re.findall("-?[0-9]+", texts[key][: self.LENGTH])))
            )
            for key, part in tally.carried.items()
        }


STORES = (
    BrokenStore(
        name="place of a tally read later",
        mistake="The groups are one query, and the last event of the page is another: what was"
        " appended between them lies before the place, and was not counted.",
        reported=("JasperFx/marten#4977",),
        row="V6, B10",
        breaks=("stable_prefix",),
        killer="LATE-07",
        remedy="take place, count and groups from one snapshot",
        harness=on_sqlite(events=PlaceReadLater, io=True),
    ),
    BrokenStore(
        name="tally by local day",
        mistake="The database groups by the date of its own zone.",
        reported=("datalust/seq-tickets#902", "timescale/timescaledb#10296"),
        row="N8",
        breaks=("same_tally",),
        killer="PUSH-01",
        remedy="group by UTC",
        harness=on_sqlite(events=GroupsByLocalDay),
    ),
    BrokenStore(
        name="tally rounded towards zero",
        mistake="The bucket is a quotient of integers in SQL: the day before 1970 is day 0 again.",
        reported=("SELECT -1 / 86400 is 0",),
        row="N10",
        breaks=("same_tally", "exact"),
        killer="TIME-02",
        remedy="add whole buckets before the division, and take them off after it",
        harness=on_sqlite(events=GroupsTowardsZero),
    ),
    BrokenStore(
        name="tally without deltas",
        mistake="Events are grouped and counted. What they carry is in none of the groups.",
        reported=("openclaw/clawhub#194", "openclaw/clawhub#2941"),
        row="A11",
        breaks=("same_tally", "immutable"),
        killer="PUSH-01",
        remedy="sum each delta beside the number of events that carry it",
        harness=on_sqlite(events=GroupsWithoutDeltas),
    ),
    BrokenStore(
        name="tally sums in double precision",
        mistake="Deltas come out of JSON, or through total(), as floats.",
        reported=("enviodev/hyperindex#1031",),
        row="N2, N12",
        breaks=("same_tally", "exact", "immutable", "board_order"),
        killer="PUSH-02",
        remedy="sum integers, in parts where they may overflow",
        harness=on_sqlite(events=SumsDeltasAsReal),
    ),
    BrokenStore(
        name="tally cut at 1,024 bytes",
        mistake="What the events of a group carry is joined to a text, and summed in the program."
        " The text ends after 1,024 bytes, with a warning that nobody reads.",
        reported=("dev.mysql.com/doc: GROUP_CONCAT(), group_concat_max_len",),
        row="P12",
        breaks=("same_tally",),
        killer="PUSH-05",
        remedy="let the database sum the deltas, or read the page plainly",
        harness=on_sqlite(events=GroupConcat),
    ),
)
