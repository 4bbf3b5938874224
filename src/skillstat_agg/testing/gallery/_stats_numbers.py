"""Stats whose sums are not what was added up, or whose buckets are not those of the events."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
from typing_extensions import override

from skillstat_agg._commits import Commit, CommitResult
from skillstat_agg._events import MAX_INTEGER, MIN_INTEGER
from skillstat_agg._stores import Counters, Totals, shown
from skillstat_agg.errors import OutOfRangeError
from skillstat_agg.testing.gallery._frame import BrokenStore
from skillstat_agg.testing.gallery._stats_steps import OpenStats, with_stats


class ClampsOnWrite(OpenStats):
    """Stores ``max(0, sum)``, since nobody has fewer than no stars."""

    def stored(self, value: int) -> int:
        return max(0, value)


class ClampsOnRead(OpenStats):
    """Stores the sum, and returns ``max(0, sum)`` as the total."""

    def totals(self, skill_ids: Iterable[str] | None = None, /) -> Totals:
        totals = super().totals(skill_ids)
        return Totals(totals.cursor, {skill: shown(row) for skill, row in totals.items()})


class AddsFloats(OpenStats):
    """Adds in double precision, as a column of type REAL or a JSON number does."""

    def stored(self, value: int) -> int:
        return int(float(value))


class Wraps(OpenStats):
    """Keeps the lowest 32 bits of a sum, with a sign."""

    def stored(self, value: int) -> int:
        return (value + 2**31) % 2**32 - 2**31


class Saturates(OpenStats):
    """Stops at the largest number there is, and says nothing."""

    @override
    def _sum(
        self,
        before: Counters,
        row: tuple[int, ...],
        names: tuple[str, ...],
        skill_id: str,
        prefix: str = "",
    ) -> Counters:
        return {
            name: min(max(before.get(name, 0) + amount, MIN_INTEGER), MAX_INTEGER)
            for name, amount in zip(names, row, strict=True)
        }


class SkipsWhatOverflows(OpenStats):
    """Logs that a sum is out of range, and goes on with the other skills."""

    def commit(self, commit: Commit, /) -> CommitResult:
        try:
            return super().commit(commit)
        except OutOfRangeError as error:
            others = commit.deltas.without(frozenset({error.skill_id}))
            return super().commit(attrs.evolve(commit, deltas=others))


class RaisesControls(OpenStats):
    """Adds to the control totals, and never takes anything off them."""

    def commit(self, commit: Commit, /) -> CommitResult:
        result = super().commit(commit)
        before = commit.expected.controls
        controls = {
            name: max(value, before.get(name, 0)) for name, value in result.cursor.controls.items()
        }
        return self._record(result, controls=controls)


class WrapsControls(OpenStats):
    """Keeps the control totals in columns of 64 bits."""

    def commit(self, commit: Commit, /) -> CommitResult:
        result = super().commit(commit)
        controls = {
            name: (value + 2**63) % 2**64 - 2**63 for name, value in result.cursor.controls.items()
        }
        return self._record(result, controls=controls)


STORES = (
    BrokenStore(
        name="clamps on write",
        mistake="Nobody has fewer than no stars, so a sum below zero is stored as zero. The result"
        " then depends on where a page ended, and drift is hidden.",
        reported=("openclaw/clawhub:convex/lib/skillStats.ts", "getsentry/sentry#18789"),
        row="N5",
        breaks=("signed", "exact", "only_real_changes", "forgotten"),
        killer="CUT-04",
        remedy="store the signed sum, and clamp once where it is shown",
        harness=with_stats(ClampsOnWrite),
    ),
    BrokenStore(
        name="clamps on read",
        mistake="totals() returns what people are shown. Whoever adds several of them, or looks"
        " for drift, adds numbers that were made up.",
        reported=("ZoneMinder/zoneminder#2587", "onetimesecret/onetimesecret#3688"),
        row="N5",
        breaks=("signed", "exact", "only_real_changes"),
        killer="CUT-04",
        remedy="return the signed sum; shown() clamps for people",
        harness=with_stats(ClampsOnRead),
    ),
    BrokenStore(
        name="adds floats",
        mistake="A REAL column, a JavaScript number or sum() over text add in double precision:"
        " from 2^53 on, one more changes nothing.",
        reported=("enviodev/hyperindex#1031", "DonaldMurillo/gofastr#382"),
        row="N2, N12",
        breaks=("exact",),
        killer="NUM-01",
        remedy="use integers from end to end; in JSON, text",
        harness=with_stats(AddsFloats),
    ),
    BrokenStore(
        name="wraps at 32 bits",
        mistake="The column is an INTEGER of four bytes, and the driver takes what fits.",
        reported=("no public report was found",),
        row="N4",
        breaks=("exact",),
        killer="NUM-01",
        remedy="use 64 bits, and check the range before writing",
        harness=with_stats(Wraps),
    ),
    BrokenStore(
        name="saturates",
        mistake="A sum that has no room stops at the largest number, so that nothing ever fails."
        " What was beyond is lost without a word.",
        reported=("dev.mysql.com/doc: Out-of-Range and Overflow Handling",),
        row="N4",
        breaks=("exact",),
        killer="NUM-02",
        remedy="raise OutOfRangeError before anything is written",
        harness=with_stats(Saturates),
    ),
    BrokenStore(
        name="skips what overflows",
        mistake="An error of one row is logged, and the others are written with the cursor: the"
        " events of the row never count.",
        reported=("no public report was found",),
        row="N4, A5",
        breaks=("exact",),
        killer="NUM-02",
        remedy="let the error end the transaction: numbers and cursor stay as they were",
        harness=with_stats(SkipsWhatOverflows),
    ),
    BrokenStore(
        name="control totals only grow",
        mistake="The control totals are counted beside the sums, in code of their own, which"
        " nobody taught that events can take something back. No sum is wrong, and no audit can"
        " tell any more.",
        reported=("openclaw/clawhub#194", "openclaw/clawhub#2941"),
        row="A11",
        breaks=("signed", "exact", "only_real_changes", "forgotten"),
        killer="CUT-04",
        remedy="store the record that Commit.cursor() makes, as it is",
        harness=with_stats(RaisesControls),
    ),
    BrokenStore(
        name="control totals in 64 bits",
        mistake="A control total is the sum over all skills: it can be larger than any counter,"
        " and wraps in a column of 64 bits.",
        reported=("sqlite.org/lang_aggfunc.html: sum()",),
        row="N4",
        breaks=("exact",),
        killer="NUM-04",
        remedy="store control totals as text",
        harness=with_stats(WrapsControls),
    ),
)
