"""The one place that turns what went wrong into a sentence."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import click

from skillstat_agg.cli._output import visible
from skillstat_agg.errors import SkillstatError


@contextmanager
def one_sentence() -> Iterator[None]:
    """Let click print what went wrong as ``Error: ...`` and exit with 1.

    A broken pipe is left to click, which ends without a word.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except KeyboardInterrupt as error:
        raise failure("interrupted; what is committed stays, and nothing is half done") from error
    except OSError as error:
        text = error.strerror or str(error)
        name = "" if error.filename is None else f"{error.filename}: "
        raise failure(name + text) from error
    except UnicodeError as error:
        raise failure("an argument is not text in the encoding of the terminal") from error
    except (SkillstatError, sqlite3.Error) as error:
        raise failure(str(error)) from error


@contextmanager
def when_interrupted(sentence: str) -> Iterator[None]:
    """Say *sentence* when the keyboard interrupts what is done inside."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise failure(f"interrupted; {sentence}") from error


def failure(sentence: str) -> click.ClickException:
    """Return the exception that ends a command with *sentence*, on one line."""
    return click.ClickException(visible(sentence))
