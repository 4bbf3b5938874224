"""``skillstat init``."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

import click

from skillstat_agg import SKILL_STATS, Projection
from skillstat_agg.cli._database import Database
from skillstat_agg.cli._options import database_options, example


def _imported(
    _context: click.Context, _parameter: click.Parameter, specs: Sequence[str]
) -> list[Projection]:
    return [_projection(spec) for spec in specs]


def _projection(spec: str) -> Projection:
    """Return the projection that ``module:NAME`` stands for."""
    module_name, _, name = spec.partition(":")
    if not module_name or not name:
        raise click.BadParameter(f"{spec!r} is not of the form module:NAME")
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        found = getattr(importlib.import_module(module_name), name, None)
    except (Exception, SystemExit) as error:
        raise click.BadParameter(
            f"{module_name} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    finally:
        sys.path.remove(folder)
    if not isinstance(found, Projection):
        raise click.BadParameter(f"there is no Projection {name!r} in {module_name}")
    return found


@click.command(
    epilog=example(
        "skillstat init --db stats.db",
        "skillstat init --db stats.db --projection my_kinds:COMMENTS",
        "skillstat init --db postgresql://worker@db.example.org/registry",
    )
)
@database_options
@click.option(
    "--projection",
    "projections",
    metavar="MODULE:NAME",
    multiple=True,
    callback=_imported,
    help="A Projection of your own, importable from the current folder; may be repeated.",
)
def init(database: Database, projections: Sequence[Projection]) -> None:
    """Make the tables for a log and its numbers.

    A database that ends up without a projection gets the one of skill statistics, with the
    seven kinds download, star, unstar, install_new, install_reactivate, install_deactivate
    and install_clear. What is there already stays as it is, so it does no harm to run it
    again; a projection that only adds kinds to the one of its name takes its place.
    """
    with database.created() as db:
        db.create(*projections)
        if not db.projections():
            db.create(SKILL_STATS)
        names = ", ".join(projection.name for projection in db.projections())
    click.echo(f"{database} is ready for {names}")
