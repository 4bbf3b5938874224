"""The Chromium of this machine, and how it is started: without a word to anybody."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping

NAMES = ("chromium", "chromium-browser", "google-chrome")
MISSING = (
    f"no Chromium: install one that PATH has as {', '.join(NAMES)}"
    " (Debian: apt-get install chromium), or name it in SKILLSTAT_CHROMIUM"
)
ARGUMENTS = (
    "--no-sandbox",  # root may start none with one, and what it shows is ours
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def found() -> str | None:
    """Return the path of Chromium; None: there is none."""
    named = os.environ.get("SKILLSTAT_CHROMIUM")
    if named is not None:
        return shutil.which(named)
    return next(filter(None, map(shutil.which, NAMES)), None)


def is_required(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether a machine without Chromium fails, where it would skip otherwise."""
    return bool(environment.get("CI") or environment.get("SKILLSTAT_REQUIRE_CHROMIUM"))
