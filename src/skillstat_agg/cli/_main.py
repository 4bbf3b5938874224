"""The group of all commands."""

from __future__ import annotations

import click

from skillstat_agg.cli._adopt import adopt_counts
from skillstat_agg.cli._append import append
from skillstat_agg.cli._badges import badges
from skillstat_agg.cli._boards import leaderboard, series
from skillstat_agg.cli._demo import demo
from skillstat_agg.cli._drain import drain_file
from skillstat_agg.cli._errors import one_sentence
from skillstat_agg.cli._expire import expire_rollups
from skillstat_agg.cli._init import init
from skillstat_agg.cli._numbers import daily, totals
from skillstat_agg.cli._options import lines
from skillstat_agg.cli._output import escape_what_cannot_be_encoded
from skillstat_agg.cli._prune import prune_log
from skillstat_agg.cli._quarantine import quarantine
from skillstat_agg.cli._readers import readers
from skillstat_agg.cli._rebuild import rebuild_numbers
from skillstat_agg.cli._report._command import report_numbers
from skillstat_agg.cli._run import run
from skillstat_agg.cli._status import status
from skillstat_agg.cli._verify import verify_numbers


class _Commands(click.Group):
    """The commands, with one end for all that can go wrong in them."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command that was asked for."""
        with one_sentence():
            return super().invoke(ctx)


@click.group(
    cls=_Commands,
    commands=[
        init,
        append,
        drain_file,
        run,
        status,
        totals,
        daily,
        leaderboard,
        series,
        quarantine,
        report_numbers,
        expire_rollups,
        verify_numbers,
        rebuild_numbers,
        prune_log,
        readers,
        adopt_counts,
        badges,
        demo,
    ],
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=lines(
        "Example:",
        "  skillstat append --db stats.db --default-kind download log.csv.gz",
        "  skillstat drain --db stats.db",
        "  skillstat totals --db stats.db",
    )
    + lines(
        "Exit codes:",
        "  0  done",
        "  1  failed; one sentence on stderr says why",
        "  2  wrong usage",
        "  3  a difference was found (by commands that compare)",
        "  4  a person is needed: to start it again does not help (by run)",
        "130  interrupted before it began",
    ),
)
@click.version_option(package_name="skillstat-agg", prog_name="skillstat")
def main() -> None:
    """Count events from a log into totals and daily rollups, each event exactly once.

    Log and numbers live in one SQLite file, or in a PostgreSQL database. `append` stores
    events, `drain` counts what is new, as often and in as many processes as you like, and `run`
    does so at regular times. `demo` shows it at work.
    """
    escape_what_cannot_be_encoded()
