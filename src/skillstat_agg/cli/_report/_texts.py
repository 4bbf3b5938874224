"""Numbers, names and times as the page writes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby

from markupsafe import Markup

from skillstat_agg.cli._output import visible


def shown_number(value: int) -> Markup:
    """Return a sum as people see it; one below 0 says what is stored.

    >>> print(shown_number(1_234), shown_number(-3))
    1,234 <abbr title="stored as -3">0</abbr>
    """
    if value < 0:
        return Markup('<abbr title="stored as {:,}">0</abbr>').format(value)
    return Markup(f"{value:,}")


def shown_id(skill_id: str) -> Markup:
    r"""Return an id, set apart from the direction of the text around it.

    >>> print(shown_id("<b>\x1b"))
    <bdi>&lt;b&gt;<i class="escape">\x1b</i></bdi>
    """
    parts = (
        Markup('<i class="escape">{}</i>').format(text) if is_escape else Markup.escape(text)
        for text, is_escape in _by_turns(skill_id)
    )
    return Markup("<bdi>{}</bdi>").format(Markup("").join(parts))


def id_parts(skill_id: str) -> str | list[str]:
    r"""Return an id as a script shows it: plain text, or plain text and escapes by turns.

    >>> id_parts("pdf"), id_parts("a\x1b\nb")
    ('pdf', ['a', '\\x1b\\n', 'b'])
    """
    return skill_id if skill_id.isprintable() else [text for text, _ in _by_turns(skill_id)]


def _by_turns(text: str) -> Iterator[tuple[str, bool]]:
    """Return the parts of *text* and whether each is an escape, a plain one first."""
    if not text[:1].isprintable():
        yield "", False
    for is_plain, chars in groupby(text, str.isprintable):
        yield visible("".join(chars)), not is_plain


def spark_title(skill_id: str, name: str, values: Sequence[int]) -> str:
    """Return in words what a small chart shows.

    >>> spark_title("pdf", "downloads", [0, 1_200, 3])
    'pdf: downloads by day, 3 days, at most 1,200'
    """
    days = "1 day" if len(values) == 1 else f"{len(values)} days"
    return f"{visible(skill_id)}: {name_label(name)} by day, {days}, at most {max(0, *values):,}"


def score_name(weights: Mapping[str, int]) -> str:
    """Return a score as it is written on the command line.

    >>> score_name({"installs": 3, "downloads": 1})
    '3*installs+downloads'
    """
    return "+".join(name if weight == 1 else f"{weight}*{name}" for name, weight in weights.items())


def name_label(name: str) -> str:
    """Return the name of a counter or column as words."""
    return name.replace("_", " ")


def moment(at: datetime) -> str:
    """Return a time as the page writes it: to the minute, in UTC.

    >>> from datetime import timezone
    >>> moment(datetime(2026, 3, 1, 12, 0, 59, tzinfo=timezone.utc))
    '2026-03-01 12:00 UTC'
    """
    return at.isoformat(" ")[:16] + " UTC"


def span(length: timedelta) -> str:
    """Return a length of time in its largest unit, rounded down.

    >>> span(timedelta(seconds=59)), span(timedelta(minutes=90)), span(timedelta(days=3))
    ('59 seconds', '1 hour', '3 days')
    """
    seconds = length // timedelta(seconds=1)
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            number = seconds // size
            return f"1 {unit}" if number == 1 else f"{number:,} {unit}s"
    return f"{seconds} second{'' if seconds == 1 else 's'}"
