"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click


def lines(*text: str) -> str:
    """Return *text* as a paragraph of a help page that keeps its lines."""
    return "\b\n" + "\n".join(text) + "\n\n"


def example(*commands: str) -> str:
    """Return the end of a help page that shows how a command is called."""
    return lines("Example:", *(f"  {command}" for command in commands))


db_option = click.option(
    "--db",
    "path",
    metavar="FILE",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The SQLite file with the log and its numbers.",
)
projection_option = click.option(
    "--projection",
    "name",
    metavar="NAME",
    help="Which projection; needed only where the file holds several.",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object instead of a table."
)
signed_option = click.option(
    "--signed", is_flag=True, help="Show sums as they are stored, also below 0."
)
