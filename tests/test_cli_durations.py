"""Lengths of time on the command line."""

from __future__ import annotations

from datetime import timedelta

import click
import pytest
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st

from skillstat_agg.cli._durations import LONGEST, as_text, between, duration


@click.command()
@click.option("--every", callback=between(timedelta(seconds=1), timedelta(days=366)))
def command(every: timedelta | None) -> None:
    click.echo(repr(every))


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("6h", timedelta(hours=6)),
        ("90d", timedelta(days=90)),
        ("0d", timedelta(0)),
        ("007s", timedelta(seconds=7)),
        ("36500d", LONGEST),
    ],
)
def test_a_number_and_its_unit_are_a_length(text, length):
    assert duration(text) == length


@pytest.mark.parametrize(
    "text",
    [
        *("", "15", "m", "-15m", "+15m", "1.5h", "1h30m", "15 m", "15M", "15w", "15m\n"),
        *("\u0661\u0665m", "1e3s", "nan", "inf", "9" * 5_000 + "s"),
    ],
)
def test_what_is_no_length_is_refused_with_what_to_give(text):
    with pytest.raises(ValueError, match="give a whole number and s, m, h or d") as caught:
        duration(text)

    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("text", ["36501d", "999999999999d", "999999999999h"])
def test_what_nobody_can_mean_is_too_long(text):
    with pytest.raises(ValueError, match="give at most 36500d"):
        duration(text)


@example(0)
@given(st.integers(0, LONGEST // timedelta(seconds=1)))
def test_a_length_as_text_is_read_as_the_same_length(seconds):
    assert duration(as_text(timedelta(seconds=seconds))) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("0s", "0s is too short: give at least 1s"),
        ("367d", "367d is too long: give at most 366d"),
        ("soon", "'soon' is no length of time"),
    ],
)
def test_an_option_says_what_it_takes(value, sentence):
    result = CliRunner().invoke(command, ["--every", value])

    assert result.exit_code == 2
    assert sentence in result.stderr


@pytest.mark.parametrize(
    ("arguments", "length"),
    [
        (["--every", "366d"], timedelta(days=366)),
        (["--every", "1s"], timedelta(seconds=1)),
        ([], None),
    ],
)
def test_an_option_takes_what_is_within_its_bounds(arguments, length):
    result = CliRunner().invoke(command, arguments)

    assert result.stdout == f"{length!r}\n"
