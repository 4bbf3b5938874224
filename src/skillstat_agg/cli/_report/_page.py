"""A report as a page of HTML that needs nothing beside it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from itertools import groupby
from operator import not_

import attrs
from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from skillstat_agg import Leaderboard, Order, Projection
from skillstat_agg.cli._output import visible
from skillstat_agg.cli._report._charts import (
    CHART_HEIGHT,
    SPARK_HEIGHT,
    axis_top,
    brief,
    height,
    outline,
)
from skillstat_agg.cli._report._texts import (
    id_parts,
    moment,
    name_label,
    score_name,
    shown_id,
    shown_number,
    span,
    spark_title,
)
from skillstat_agg.cli._report._values import Days, Numbers, Report, SkillRow

LARGEST_DOUBLE = 2**53 - 1
"""The largest whole number that a script takes from JSON exactly."""


@attrs.frozen(kw_only=True)
class Bar:
    """One day of a chart.

    Attributes:
        day: The day.
        value: Its signed sum; None: nothing can be known of it.
        height: How high it stands, in units of the chart.
    """

    day: str
    value: int | None
    height: int


@attrs.frozen(kw_only=True)
class Chart:
    """A column's sums over all skills, day by day.

    Attributes:
        name: The column.
        total: What it comes to over all days, signed.
        bars: The days.
        marks: The axis: its end, its middle, and 0.
    """

    name: str
    total: int
    bars: tuple[Bar, ...]
    marks: tuple[str, str, str]


@attrs.frozen(kw_only=True)
class Spark:
    """A small chart.

    Attributes:
        outline: Its path.
        width: How many units wide it is: one for each day.
        title: What it shows, in words.
    """

    outline: str
    width: int
    title: str


@attrs.frozen(kw_only=True)
class Standing:
    """One skill on a board.

    Attributes:
        rank: Its place, from 1.
        skill_id: The skill.
        score: What it is ordered by.
        spark: Its days; None: the board is of all time.
    """

    rank: int
    skill_id: str
    score: int
    spark: Spark | None


@attrs.frozen(kw_only=True)
class Board:
    """Who has the most of something.

    Attributes:
        name: What it is ordered by.
        is_of_days: Whether it is over the days of the report; else it is over all time.
        standings: The skills, the first first.
    """

    name: str
    is_of_days: bool
    standings: tuple[Standing, ...]

    @property
    def is_drawn(self) -> bool:
        """Whether its skills have small charts."""
        return any(each.spark is not None for each in self.standings)


def page(report: Report) -> str:
    """Return the page of a report: one document that loads nothing.

    Its policy forbids every request, and every script and style but the two that stand in it.
    All that comes from the database is escaped; what cannot be seen, or would change how the
    text around it is read, is shown as an escape.
    """
    numbers = report.numbers
    style, script = _part("report.css"), _part("report.js")
    return _template().render(
        report=report,
        numbers=numbers,
        days=numbers.days.names,
        charts=charts(report.projection, numbers),
        boards=boards(report.projection, numbers),
        data=island(report.projection, numbers),
        style=style,
        script=script,
        style_digest=_digest(style),
        script_digest=_digest(script),
        chart_height=CHART_HEIGHT,
        spark_height=SPARK_HEIGHT,
    )


# What the page shows


def charts(projection: Projection, numbers: Numbers) -> tuple[Chart, ...]:
    """Return a chart for each rollup column; none where the projection keeps no days."""
    if not numbers.days.starts:
        return ()
    return tuple(
        _chart(name, sums, numbers.days)
        for name, sums in zip(projection.columns, numbers.daily, strict=True)
    )


def _chart(name: str, sums: Sequence[int], days: Days) -> Chart:
    top = axis_top(sums)
    return Chart(
        name=name,
        total=sum(sums),
        bars=tuple(
            Bar(
                day=day,
                value=value if place in days.covered else None,
                height=height(value, top, CHART_HEIGHT),
            )
            for place, (day, value) in enumerate(zip(days.names, sums, strict=True))
        ),
        marks=(brief(top), brief(top // 2), "0"),
    )


def boards(projection: Projection, numbers: Numbers) -> tuple[Board, ...]:
    """Return the boards as the page shows them."""
    return tuple(_board(projection, numbers, board) for board in numbers.boards)


def _board(projection: Projection, numbers: Numbers, board: Leaderboard) -> Board:
    name = score_name(board.order.keys[0])
    return Board(
        name=name,
        is_of_days=board.order.over is not None,
        standings=tuple(
            Standing(
                rank=entry.rank,
                skill_id=entry.skill_id,
                score=entry.scores[0],
                spark=_spark(name, numbers.on_boards.get(entry.skill_id), board.order, projection),
            )
            for entry in board
        ),
    )


def _spark(name: str, row: SkillRow | None, order: Order, projection: Projection) -> Spark | None:
    """Return the small chart of a score over the days; None for one of all time."""
    if row is None or order.over is None:
        return None
    wanted = [row.days[projection.columns.index(each)] for each in order.names]
    values = [order.scores(sums)[0] for sums in zip(*wanted, strict=True)]
    return Spark(
        outline=outline(values), width=len(values), title=spark_title(row.skill_id, name, values)
    )


# What the script reads


def island(projection: Projection, numbers: Numbers) -> Mapping[str, object]:
    """Return the data of the table of skills, for its script.

    A skill is a list: its id as `id_parts`, its counters, and for each column its days as
    `packed`. All are signed, and in the order of the ids.
    """
    return {
        "counters": projection.counters,
        "columns": projection.columns if numbers.days.starts else (),
        "days": numbers.days.names,
        "covered": [numbers.days.covered.start, numbers.days.covered.stop],
        "skills": [
            [id_parts(row.skill_id), _exact(row.totals), list(map(packed, row.days))]
            for row in numbers.skills
        ],
    }


def packed(values: Sequence[int]) -> list[int | str | list[int]]:
    """Return whole numbers without loss, and in the place of several zeros a list of how many.

    >>> packed([0, 0, 0, 7, 0, 2**53])
    [[3], 7, 0, '9007199254740992']
    """
    found: list[int | str | list[int]] = []
    for is_zero, run in groupby(_exact(values), not_):
        numbers = list(run)
        found += [[len(numbers)]] if is_zero and len(numbers) > 1 else numbers
    return found


def _exact(values: Sequence[int]) -> list[int | str]:
    """Return whole numbers as JSON holds them without loss: large ones as text."""
    return [value if abs(value) <= LARGEST_DOUBLE else str(value) for value in values]


# How it is written


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    environment.filters |= {
        "number": shown_number,
        "label": name_label,
        "id": shown_id,
        "moment": moment,
        "span": span,
        "visible": visible,
    }
    text = files("skillstat_agg.cli._report").joinpath("report.html").read_text("utf-8")
    return environment.from_string(text)


def _part(name: str) -> Markup:
    """Return a file of ours as it is; nothing that comes from outside is in it."""
    return Markup(files("skillstat_agg.cli._report").joinpath(name).read_text("utf-8"))


def _digest(text: str) -> str:
    """Return the digest by which a page's policy allows the script or style *text*."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
