"""``skillstat badges``: show, set and clear."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone

import click

from skillstat_agg import Badge, BadgeKind, BadgeMap
from skillstat_agg.cli._database import Database
from skillstat_agg.cli._options import csv_option, database_options, example, json_option
from skillstat_agg.cli._output import note, print_csv, print_json, print_table, visible

_NAMES = ("skill_id", "kind", "by_user_id", "at")


def _time(_context: click.Context, _option: click.Parameter, text: str | None) -> datetime:
    """Return the time that *text* says; None: now.

    Raises:
        BadParameter: If it says none, or has no time zone.
    """
    if text is None:
        return datetime.now(timezone.utc)
    try:
        at = datetime.fromisoformat(text)
        if at.utcoffset() is not None:
            return at.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        pass
    raise click.BadParameter(f"{text!r} is no time with a zone, such as 2026-03-01T12:00:00Z")


skill_argument = click.argument("skill")
kind_argument = click.argument("kind", type=click.Choice(list(map(str, BadgeKind))))


@click.group(
    epilog=example(
        "skillstat badges set --db stats.db pdf official --by ann",
        "skillstat badges show --db stats.db pdf weather",
        "skillstat badges clear --db stats.db pdf official",
    )
)
def badges() -> None:
    """Show, set and clear the badges of skills.

    A skill is highlighted, official, deprecated or redaction_approved, since somebody has said
    so. It has at most one badge of each kind: the one that was set last.
    """


@badges.command(
    epilog=example(
        "skillstat badges show --db stats.db pdf weather",
        "skillstat badges show --db stats.db --json pdf",
    )
)
@database_options
@json_option
@csv_option
@click.argument("skills", nargs=-1, required=True, metavar="SKILL...")
def show(database: Database, *, as_json: bool, as_csv: bool, skills: Sequence[str]) -> None:
    """Show the badges of these skills, in this order.

    A skill without badges is said so on stderr; as JSON it has none. As JSON it is a list of
    objects, one for each skill.
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other")
    with database.opened() as db:
        maps = db.badges().badge_maps(skills)
    if as_json:
        print_json([{"skill_id": skill_id, "badges": _fields(found)} for skill_id, found in maps])
        return
    rows = [
        (skill_id, kind.value, badge.by_user_id, badge.at.isoformat())
        for skill_id, found in maps
        for kind, badge in found.items()
    ]
    if as_csv:
        print_csv(_NAMES, rows)
    else:
        print_table(_NAMES, rows)
    for skill_id, found in maps:
        if not found:
            note(f"{skill_id!r} has no badges")


def _fields(found: BadgeMap) -> dict[str, dict[str, str]]:
    return {
        kind.value: {"by_user_id": badge.by_user_id, "at": badge.at.isoformat()}
        for kind, badge in found.items()
    }


@badges.command(
    name="set", epilog=example("skillstat badges set --db stats.db pdf official --by ann")
)
@database_options
@skill_argument
@kind_argument
@click.option("--by", "by_user_id", metavar="USER", required=True, help="Who gives the badge.")
@click.option(
    "--at", metavar="TIME", callback=_time, help="When; a time with a zone.  [default: now]"
)
def set_badge(database: Database, *, skill: str, kind: str, by_user_id: str, at: datetime) -> None:
    """Give a skill a badge, in the place of the one of that kind it may have."""
    badge = Badge(by_user_id=by_user_id, at=at)
    with database.opened() as db:
        is_new = db.badges().set(skill, kind, badge)
    said = "is" if is_new else "was already, and is"
    click.echo(visible(f"{skill} {said} {kind} by {by_user_id}"))


@badges.command(epilog=example("skillstat badges clear --db stats.db pdf official"))
@database_options
@skill_argument
@kind_argument
def clear(database: Database, *, skill: str, kind: str) -> None:
    """Take a badge away."""
    with database.opened() as db:
        was_there = db.badges().clear(skill, kind)
    said = "is no longer" if was_there else "was not"
    click.echo(visible(f"{skill} {said} {kind}"))
