"""``skillstat run``."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import attrs
import click

from skillstat_agg import (
    DEFAULT_PAGE,
    TRANSIENT,
    Failure,
    Projection,
    Uncountable,
    drain,
    run_every,
    stop_on,
)
from skillstat_agg.cli._database import Database, Opened, chosen_projection
from skillstat_agg.cli._drain import BOUND, HALTING, noting, sentence
from skillstat_agg.cli._durations import as_text, between
from skillstat_agg.cli._errors import failure
from skillstat_agg.cli._options import database_options, example, page_option
from skillstat_agg.cli._output import note, visible
from skillstat_agg.errors import SkillstatError, TableChangedError

_SHORTEST, _LONGEST = timedelta(seconds=1), timedelta(days=366)

# That another program took the table over in the middle of a tick is over with the next tick,
# which reads the new table.
_MAY_PASS = (*TRANSIENT, TableChangedError)


class NeedsAPerson(click.ClickException):
    """The end of the command where to start it again does not help."""

    exit_code = 4


class Hindered(Exception):  # noqa: N818 - what happened to a tick; its text says it
    """A tick was ended by something that the next one may not meet."""


@attrs.frozen(kw_only=True)
class Worker:
    """What is done again and again.

    Attributes:
        database: The database; each tick connects to it anew.
        names: Names of projections; empty: all that the database holds by then.
        page: Events per commit at most.
        max_events: Events per projection and tick at most.
        max_skills: Skills per commit at most.
        uncountable: What to do with an event that its projection cannot count.
        wait: Waits, and says whether the program is to stop: as for `drain`.
    """

    database: Database
    names: Sequence[str] = ()
    page: int = DEFAULT_PAGE
    max_events: int | None = None
    max_skills: int | None = None
    uncountable: Uncountable = Uncountable.HALT
    wait: Callable[[float], bool]

    def tick(self) -> None:
        """Drain each projection; if one of them fails, fail when the others had their turn.

        Raises:
            Hindered: If the next tick may do better.
            click.ClickException: If it will not.
        """
        try:
            self._drain_all()
        except Hindered:
            if not self._is_to_stop():  # else it did not get its turn, and does not want it
                raise

    def _is_to_stop(self) -> bool:
        return self.wait(0.0)

    def _drain_all(self) -> None:
        with _told_apart(), self.database.opened(is_enough=self._is_to_stop) as db:
            names = self.names or [projection.name for projection in db.projections()]
            if not names:
                raise failure(
                    f"the {self.database.what} holds no projection; skillstat init adds one"
                )
            chosen = [chosen_projection(db, self.database.what, name) for name in names]
            errors = [error for each in chosen if (error := self._drain(db, each)) is not None]
            for error in sorted(errors, key=_may_pass):  # what does not pass comes first
                raise error

    def _drain(self, db: Opened, projection: Projection) -> SkillstatError | None:
        """Drain one projection; return what went wrong."""
        stats = db.stats(projection)
        try:
            with noting(stats):
                report = drain(
                    db.events(),
                    stats,
                    page=self.page,
                    max_events=self.max_events,
                    max_skills=self.max_skills,
                    uncountable=self.uncountable,
                    wait=self.wait,
                )
        except SkillstatError as error:
            return error
        if report.events or report.conflicts:
            click.echo(f"{visible(projection.name)}: {sentence(report)}")
        return None


def _may_pass(error: BaseException) -> bool:
    """Return whether the next tick may not meet this; what only a driver knows may pass."""
    return isinstance(error, _MAY_PASS) or not isinstance(error, SkillstatError)


@contextmanager
def _told_apart() -> Iterator[None]:
    """Tell what may pass from what needs a person."""
    try:
        yield
    except SkillstatError as error:
        committed = "; everything before it is committed" if isinstance(error, HALTING) else ""
        raise _ending(error, f"{error}{committed}") from error
    except click.ClickException as error:
        if error.__cause__ is None:  # about what is not there, or wrong usage
            raise
        raise _ending(error.__cause__, error.message) from error


def _ending(error: BaseException, sentence: str) -> Exception:
    """Return how a tick ends that met *error*."""
    if _may_pass(error):
        return Hindered(sentence)
    return NeedsAPerson(visible(sentence))


@click.command(
    epilog=example(
        "skillstat run --db stats.db --every 15m",
        "skillstat run --db stats.db --projection skill_stats --every 6h --max-events 1000000",
    )
)
@database_options
@click.option(
    "--projection",
    "names",
    metavar="NAME",
    multiple=True,
    help="Which projection; may be repeated.  [default: all that the database holds]",
)
@click.option(
    "--every",
    metavar="TIME",
    required=True,
    callback=between(_SHORTEST, _LONGEST),
    help="How often: a whole number and s, m, h or d, such as 15m.",
)
@click.option(
    "--jitter",
    metavar="TIME",
    callback=between(),
    help="Each time is put off by a random part of this.  [default: a tenth of --every]",
)
@page_option(DEFAULT_PAGE)
@click.option(
    "--max-events", type=BOUND, metavar="N", help="Events each time, per projection, at most."
)
@click.option("--max-skills", type=BOUND, metavar="N", help="Skills per commit at most.")
@click.option(
    "--park", is_flag=True, help="Set an event that its projection cannot count aside, and go on."
)
def run(
    database: Database,
    *,
    names: Sequence[str],
    every: timedelta,
    jitter: timedelta | None,
    page: int,
    max_events: int | None,
    max_skills: int | None,
    park: bool,
) -> None:
    """Count the events that are not counted yet, now and then at each interval.

    Each time is one drain of each projection, over a connection of its own; what was missed
    while one took long is left out. Any number of such programs may run at once, and each may
    be killed at any time: every event counts once.

    SIGTERM and Ctrl-C end it within one page, with exit code 0. A database that is busy or
    cannot be reached is tried again, at growing distances up to five minutes. What no time
    cures, such as an event that a projection cannot count, a changed history or a newer
    schema, ends it with exit code 4: to start it again does not help, a person is needed.
    """
    if jitter is not None and jitter > every:
        raise click.BadParameter("give at most the time of --every", param_hint="'--jitter'")
    with stop_on(signal.SIGTERM, signal.SIGINT) as stop:
        click.echo(f"every {as_text(every)} on {visible(str(database))}")
        worker = Worker(
            database=database,
            names=names,
            page=page,
            max_events=max_events,
            max_skills=max_skills,
            uncountable=Uncountable.PARK if park else Uncountable.HALT,
            wait=stop.wait,
        )
        report = run_every(
            every,
            worker.tick,
            wait=stop.wait,
            jitter=jitter,
            retry=(Hindered,),
            on_error=_note,
        )
        received = stop.received
    click.echo(f"stopped by {received.name if received else 'nobody'}: {report}")


def _note(failed: Failure) -> None:
    pause = f"again in {failed.pause.total_seconds():.1f}s"
    note(f"failed: {failed.error}; {pause} ({failed.in_a_row} in a row)")
