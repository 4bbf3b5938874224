"""The program ``skillstat``. Everything it does is in `skillstat_agg.cli`.

It is a package of its own since a module of `skillstat_agg` begins with the import of all that
is in there: whoever presses Ctrl-C meanwhile would be shown where that was.
"""

from __future__ import annotations

import importlib
import sys

INTERRUPTED = 130
"""The exit code of a program that Ctrl-C ended before it began, as shells give it."""


def main() -> None:
    """Run the command line, or end without a word if Ctrl-C comes while it is imported."""
    try:
        command = importlib.import_module("skillstat_agg.cli").main
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    command()
