"""ClawHub's cases of boards, series and owners: each is run, or listed with the reason."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from skillstat_agg import (
    BoardPage,
    Buckets,
    Carried,
    Counters,
    Effect,
    Event,
    Granularity,
    Projection,
    drain,
    leaderboard,
    owner_totals,
    publish,
    read_board,
    series,
    shown,
)
from tests.sites import SITES

Case: TypeAlias = dict[str, Any]
Facts: TypeAlias = dict[str, Any]

FILE = json.loads(Path(__file__).with_name("seed_boards.json").read_text(encoding="utf-8"))
CASES: dict[str, Case] = {case["id"]: case for case in FILE["cases"]}

NOT_RUN = {
    "trend7-legacy-entrypoint-only-schedules": "stated divergence: a board is made by the call"
    " that asks for it; nothing is scheduled",
    "trend7-pages-daily-rows": "stated divergence: the database sums the daily rows; they are not"
    " read page by page",
    "series30-future-end-day-clamped": "stated divergence: a range may lie in the future; it has"
    " zeros there, and `covered` leaves it out",
    "rollup-hidden-not-counted": "stated divergence: nothing is stored by owner, so there is"
    " nothing to propagate",
    "rank24-rising-newest-first-on-tie": "the service's job: to know when a skill was made; where"
    " all numbers are equal, ids decide",
}

DAY, HOUR = Granularity.DAY, Granularity.HOUR
NAMES = ("downloads", "installs", "bookmarks", "stars")
ROWS = Projection(
    "rows",
    {
        "row": Effect(
            counters={name: Carried(name) for name in NAMES},
            rollups={name: Carried(name) for name in NAMES},
        )
    },
    (HOUR, DAY),
)
"""A table whose events carry what ClawHub's rows hold."""


class Bench:
    """A new log and new stats on which a case is played."""

    def __init__(self, site_of: Any, stack: ExitStack) -> None:
        self.now = day(0)
        site = stack.enter_context(site_of(lambda: self.now))
        client: Any = site.client(ROWS)
        self.events, self.stats = client.events, client.stats

    def count(self, rows: Iterable[Facts]) -> None:
        """Append the rows of a case as events, and fold them."""
        self.events.append(
            [
                Event(
                    skill_id=row.get("skill") or row.get("item") or row.get("id") or "A",
                    kind="row",
                    occurred_at=day(row.get("day", 0)),
                    deltas={name: row.get(name, 0) for name in NAMES},
                )
                for row in rows
            ],
            max_ahead=timedelta.max,
        )
        drain(self.events, self.stats)


NewBench: TypeAlias = Callable[[], Bench]


def day(number: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(days=number)


def trend(case: Case, new_bench: NewBench) -> Facts:
    """Make the board of seven days, the last of which is day 20."""
    bench = new_bench()
    bench.count(case["given"]["rows"])
    board = leaderboard(bench.stats, "installs", "downloads", over=Buckets.last(7, DAY, day(20)))
    return {
        "order": [entry.skill_id for entry in board],
        "scores": {entry.skill_id: entry.scores[0] for entry in board},
        "items": [
            {"skill": entry.skill_id, **entry.sums, "score": entry.scores[0]} for entry in board
        ],
    }


def publish_again(case: Case, new_bench: NewBench) -> Facts:
    """Publish one board more than are kept."""
    bench = new_bench()
    board = leaderboard(bench.stats, "downloads")
    existing = [
        publish(bench.stats, {"trending": board}) for _ in range(case["given"]["existing_boards"])
    ]
    versions = [*existing, publish(bench.stats, {"trending": board})]
    kept = [
        version
        for version in versions
        if bench.stats.board("trending", version=version, after=0, limit=1).board is not None
    ]
    assert kept == versions[1:]
    return {"boards_after": len(kept), "deleted": "oldest"}


def permute(case: Case, new_bench: NewBench) -> Facts:
    """Append the entries in every order, and take the first of the board."""
    answers = set()
    for entries in itertools.permutations(case["given"]["entries"]):
        bench = new_bench()
        bench.count(entries)
        board = leaderboard(bench.stats, "installs", "downloads", limit=case["given"]["limit"])
        answers.add(",".join(entry.skill_id for entry in board))
    assert answers == {"d,a,b"}
    return {"right": case["expect"]["right"]}


def weigh(case: Case, new_bench: NewBench) -> Facts:
    """Order by a score of weights."""
    bench = new_bench()
    bench.count(case["given"]["rows"])
    board = leaderboard(
        bench.stats,
        case["given"]["weights"],
        "downloads",
        "installs",
        limit=case["given"]["limit"],
    )
    return {
        "order": [entry.skill_id for entry in board],
        "scores": {entry.skill_id: entry.scores[0] for entry in board},
        "count": len(board),
    }


def fill(case: Case, new_bench: NewBench) -> Facts:
    """Make the series of 30 days, as they are shown."""
    bench = new_bench()
    bench.count(case["given"]["rows"])
    over = Buckets.last(30, DAY, day(case["given"]["end_day"]))
    found = series(bench.stats, ["A"], over)["A"]
    points = {name: [max(0, value) for value in found[name]] for name in ("downloads", "installs")}
    days = {str(row["day"]): over.numbers.index(row["day"]) for row in case["given"]["rows"]}
    return {
        "points": len(over.starts),
        "first": {"day": over.numbers[0], "value": points["downloads"][0]},
        "last": points["downloads"][-1],
        **{
            name: {
                "total": sum(values),
                "by_day": {number: values[place] for number, place in days.items()},
            }
            for name, values in points.items()
        },
    }


def rank_a_day(case: Case, new_bench: NewBench) -> Facts:
    """Make the board of the last 24 hours."""
    bench = new_bench()
    bench.count(case["given"]["items"])
    over = Buckets.last(24, HOUR, day(0))
    board = leaderboard(bench.stats, "downloads", "installs", "bookmarks", over=over)
    return {"order": [entry.skill_id for entry in board]}


def age(case: Case, new_bench: NewBench) -> Facts:
    """Read boards that were published at different times; one never was."""
    given, fresh = case["given"], []
    for completed_at in given["completed_at"]:
        bench = new_bench()
        if completed_at is not None:
            bench.now = day(0) + timedelta(milliseconds=completed_at)
            board = leaderboard(bench.stats, "downloads")
            max_age = timedelta(milliseconds=given["max_age"])
            publish(bench.stats, {"top": board}, max_age=max_age)
        bench.now = day(0) + timedelta(milliseconds=given["now"])
        fresh.append(isinstance(read_board(bench.stats, "top"), BoardPage))
    return {"fresh": fresh}


def _owned(bench: Bench, rows: list[Facts], prefix: str = "") -> list[str]:
    """Count the rows as skills of their own; return those that are public."""
    ids = [f"{prefix}{number}" for number in range(len(rows))]
    bench.count([{**row, "skill": skill} for skill, row in zip(ids, rows, strict=True)])
    return [
        skill
        for skill, row in zip(ids, rows, strict=True)
        if row.get("public", True) and not row.get("soft_deleted", False)
    ]


def recompute(case: Case, new_bench: NewBench) -> Facts:
    """Sum over the public skills of a publisher, and over its packages."""
    bench = new_bench()
    skills = _owned(bench, case["given"]["skills"], "skill ")
    packages = _owned(bench, case["given"].get("packages", []), "package ")
    pairs = [(each, "it") for each in (*skills, *packages)]
    sums = shown(owner_totals(bench.stats, pairs)["it"].sums)
    return {
        "publisher": {
            "skills": len(skills),
            "packages": len(packages),
            **{name: sums[name] for name in ("installs", "downloads", "stars")},
        },
        "published": owner_totals(bench.stats, pairs)["it"].skills,
        "stars": sums["stars"],
        "downloads": sums["downloads"],
    }


def move(case: Case, new_bench: NewBench) -> Facts:
    """Compare the totals of owners before and after a change of who owns what."""
    bench = new_bench()
    before, after = (case["given"][when] for when in ("before", "after"))
    bench.count([before])
    sides = []
    for side in (before, after):
        pairs = [] if side.get("soft_deleted") else [("A", side["owner"])]
        sides.append(owner_totals(bench.stats, pairs))
    old, new = sides
    nothing: Mapping[str, int] = {}
    facts: Facts = {}
    for owner in {before["owner"], after["owner"]}:
        sums: list[Counters] = [side[owner].sums if owner in side else nothing for side in sides]
        facts[owner] = {
            "published": (new[owner].skills if owner in new else 0)
            - (old[owner].skills if owner in old else 0),
            **{
                name: sums[1].get(name, 0) - sums[0].get(name, 0) for name in ("downloads", "stars")
            },
        }
    return facts


RUN: dict[str, Callable[[Case, NewBench], Facts]] = {
    "trend7-score-is-installs-then-downloads": trend,
    "trend7-sums-days": trend,
    "trend7-retention-keeps-three": publish_again,
    "trend7-tie-must-be-total-order": permute,
    "trend-packages-weighted": weigh,
    "series30-fill-missing": fill,
    "series30-negative-day-clamped-on-read": fill,
    "rollup-recompute-when-missing": recompute,
    "rollup-user-backfill": recompute,
    "rollup-owner-move": move,
    "rollup-soft-delete": move,
    "rank24-native-order": rank_a_day,
    "rank24-external-freshness": age,
}


def test_every_case_is_run_or_listed():
    assert not RUN.keys() & NOT_RUN.keys()
    assert RUN.keys() | NOT_RUN.keys() == CASES.keys()
    assert len(CASES) == len(FILE["cases"]) == 18


@pytest.mark.parametrize("site_of", SITES.values(), ids=SITES)
@pytest.mark.parametrize("case", [CASES[each] for each in RUN], ids=RUN)
def test_a_case_comes_out_as_it_should(site_of, case):
    """Every fact of the case is so here."""
    with ExitStack() as stack:
        facts = RUN[case["id"]](case, lambda: Bench(site_of, stack))

    assert case["expect"]
    for name, value in case["expect"].items():
        assert facts[name] == value, name
