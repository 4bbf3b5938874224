"""Lengths of time on the command line: ``90s``, ``15m``, ``6h``, ``90d``."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import click

LONGEST = timedelta(days=36_500)
"""What is longer is a slip of the keyboard; so long before today there still is a date."""

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def duration(text: str) -> timedelta:
    """Return the length of time that *text* names: a whole number and its unit.

    Units are ``s``, ``m``, ``h`` and ``d``; a day has 24 hours.

    >>> duration("15m")
    datetime.timedelta(seconds=900)

    Raises:
        ValueError: If it names none, or one of more than 36,500 days.
    """
    parts = re.fullmatch(r"([0-9]{1,12})([smhd])", text)
    if parts is None:
        raise ValueError(
            f"{text[:100]!r} is no length of time: give a whole number and s, m, h or d,"
            " as in 90s, 15m, 6h or 90d"
        )
    number, unit = int(parts[1]), _UNITS[parts[2]]
    if number > LONGEST / timedelta(**{unit: 1}):
        raise ValueError(f"{text} is too long: give at most {LONGEST.days}d")
    return timedelta(**{unit: number})


def as_text(length: timedelta) -> str:
    """Return a length of whole seconds as `duration` reads it, in the largest unit that fits.

    >>> as_text(timedelta(minutes=90)), as_text(timedelta(days=1))
    ('90m', '1d')
    """
    seconds = length // timedelta(seconds=1)
    for size, letter in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{letter}"
    return f"{seconds}s"


def between(
    shortest: timedelta = timedelta(0), longest: timedelta = LONGEST
) -> Callable[[click.Context, click.Parameter, str | None], timedelta | None]:
    """Return the callback of an option that takes a length of time within these bounds.

    Without a default the option stays None where it is not given.
    """

    def read(
        _context: click.Context, _parameter: click.Parameter, text: str | None
    ) -> timedelta | None:
        if text is None:
            return None
        try:
            length = duration(text)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
        if length < shortest:
            raise click.BadParameter(f"{text} is too short: give at least {as_text(shortest)}")
        if length > longest:
            raise click.BadParameter(f"{text} is too long: give at most {as_text(longest)}")
        return length

    return read
