"""The options that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from skillstat_agg.cli._database import named


def lines(*text: str) -> str:
    """Return *text* as a paragraph of a help page that keeps its lines."""
    return "\b\n" + "\n".join(text) + "\n\n"


def example(*commands: str) -> str:
    """Return the end of a help page that shows how a command is called."""
    return lines("Example:", *(f"  {command}" for command in commands))


def database_options(command: Callable[..., object]) -> Callable[..., object]:
    """Add the options that name a database; the command gets it as its first argument."""

    @click.option(
        "--db",
        "target",
        metavar="FILE|URL",
        required=True,
        help="The SQLite file with the log and its numbers, or a postgresql:// URL.",
    )
    @click.option(
        "--schema",
        metavar="NAME",
        help="Where the tables are in a PostgreSQL database.  [default: skillstat]",
    )
    @functools.wraps(command)
    def on_database(*, target: str, schema: str | None, **given: Any) -> object:
        return command(named(target, schema), **given)

    return on_database


projection_option = click.option(
    "--projection",
    "name",
    metavar="NAME",
    help="Which projection; needed only where the database holds several.",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object instead of a table."
)


def page_option(default: int) -> Callable[[Callable[..., object]], Callable[..., object]]:
    """Return the option that says how many events a commit takes."""
    return click.option(
        "--page",
        type=click.IntRange(1, 1_000_000),
        metavar="N",
        default=default,
        show_default=True,
        help="Events per commit at most.",
    )


signed_option = click.option(
    "--signed", is_flag=True, help="Show sums as they are stored, also below 0."
)
csv_option = click.option("--csv", "as_csv", is_flag=True, help="Print CSV instead of a table.")
json_list_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, a list of objects, instead of a table."
)
fresh_option = click.option(
    "--fresh",
    is_flag=True,
    help="Add what is not counted yet: the numbers as a drain would leave them.",
)
