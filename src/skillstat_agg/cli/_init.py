"""``skillstat init``."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from skillstat_agg import SKILL_STATS, Projection
from skillstat_agg.backends.sqlite import create_tables, stored_projections
from skillstat_agg.cli._database import created
from skillstat_agg.cli._options import db_option, example


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
    )
)
@db_option
@click.option(
    "--projection",
    "projections",
    metavar="MODULE:NAME",
    multiple=True,
    callback=_imported,
    help="A Projection of your own, importable from the current folder; may be repeated.",
)
def init(path: Path, projections: Sequence[Projection]) -> None:
    """Make the tables for a log and its numbers.

    A file that ends up without a projection gets the one of skill statistics, with the
    seven kinds download, star, unstar, install_new, install_reactivate, install_deactivate
    and install_clear. What is there already stays as it is, so it does no harm to run it
    again; a projection that only adds kinds to the one of its name takes its place.
    """
    with created(path) as db:
        create_tables(db, *projections)
        if not stored_projections(db):
            create_tables(db, SKILL_STATS)
        names = ", ".join(projection.name for projection in stored_projections(db))
    click.echo(f"{path} is ready for {names}")
