"""``skillstat totals`` and ``skillstat daily``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from skillstat_agg import (
    Counters,
    FreshRollups,
    FreshTotals,
    Granularity,
    Rollups,
    Totals,
    fresh_rollups,
    fresh_totals,
    shown,
)
from skillstat_agg.cli._database import Database, chosen_projection
from skillstat_agg.cli._errors import failure
from skillstat_agg.cli._options import (
    database_options,
    example,
    fresh_option,
    json_option,
    projection_option,
    signed_option,
)
from skillstat_agg.cli._output import Cell, note, print_json, print_table


@click.command(
    epilog=example(
        "skillstat totals --db stats.db",
        "skillstat totals --db stats.db --json pdf weather",
        "skillstat totals --db stats.db --fresh pdf",
    )
)
@database_options
@projection_option
@json_option
@signed_option
@fresh_option
@click.argument("skills", nargs=-1, metavar="[SKILL]...")
def totals(
    database: Database,
    *,
    name: str | None,
    as_json: bool,
    signed: bool,
    fresh: bool,
    skills: Sequence[str],
) -> None:
    """Show the totals of these skills, or of all.

    The skill with the most of the first counter (downloads) comes first. A skill without
    events is left out, and said so on stderr.
    """
    with database.opened() as db:
        stats = db.stats(chosen_projection(db, database.what, name))
        sums: Totals | FreshTotals = (
            fresh_totals(db.events(), stats, skills or None)
            if fresh
            else stats.totals(skills or None)
        )
    first, *_ = counters = stats.projection.counters
    numbers = _numbers(sums, signed=signed)
    ranked = sorted(numbers, key=lambda skill: (-numbers[skill][first], skill))
    _print("skill_id", counters, {skill: numbers[skill] for skill in ranked}, as_json=as_json)
    _note_incomplete(sums)
    if not sums and not skills and not fresh:
        note("no events are counted yet; skillstat drain counts them")
    for skill in dict.fromkeys(skills):
        if skill not in sums:
            note(f"no events of {skill!r} are counted")


@click.command(
    epilog=example("skillstat daily --db stats.db pdf", "skillstat daily --db stats.db --json pdf")
)
@database_options
@projection_option
@json_option
@signed_option
@fresh_option
@click.argument("skill")
def daily(
    database: Database,
    *,
    name: str | None,
    as_json: bool,
    signed: bool,
    fresh: bool,
    skill: str,
) -> None:
    """Show the daily rollups of a skill, in the order of time.

    Days are those of UTC. A day on which nothing was counted is left out.
    """
    with database.opened() as db:
        stats = db.stats(chosen_projection(db, database.what, name))
        columns = stats.projection.columns
        if not columns:
            raise failure(f"projection {stats.projection.name!r} has no rollups")
        rollups: Rollups | FreshRollups = (
            fresh_rollups(db.events(), stats, skill, Granularity.DAY)
            if fresh
            else stats.rollups(skill, Granularity.DAY)
        )
    by_day = {start.date().isoformat(): sums for start, sums in rollups.items()}
    _print("day", columns, _numbers(by_day, signed=signed), as_json=as_json)
    _note_incomplete(rollups)
    if not rollups:
        note(f"{skill!r} has no rollups by day")


def _note_incomplete(found: object) -> None:
    """Say so where fresh numbers do not hold every event."""
    if isinstance(found, FreshTotals | FreshRollups) and not found.freshness.is_complete:
        note(
            f"{found.freshness.pending} events that are not counted yet were added, and there"
            " are more; skillstat status says how many, and skillstat drain counts them"
        )


def _numbers(sums: Mapping[str, Counters], *, signed: bool) -> Mapping[str, Counters]:
    return sums if signed else {key: shown(counters) for key, counters in sums.items()}


def _print(
    key: str, names: Sequence[str], numbers: Mapping[str, Counters], *, as_json: bool
) -> None:
    if as_json:
        print_json(numbers)
    else:
        rows: list[list[Cell]] = [
            [each, *(row[name] for name in names)] for each, row in numbers.items()
        ]
        print_table([key, *names], rows)
