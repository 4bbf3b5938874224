"""A file that is written whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

from skillstat_agg.cli._errors import failure

PAGE_BEGINS = b"<!doctype html>"
"""What a page begins with. A file that begins otherwise is somebody's, and is left alone."""


def checked_target(path: Path) -> Path:
    """Return the file that *path* stands for, links followed, when a page may be put there.

    Raises:
        ClickException: If its folder is not there, or something else than a page is in its place.
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise failure(f"{path}: there is no folder {str(target.parent)!r}")
    if os.path.lexists(target):
        if not target.is_file():
            raise failure(f"{path} is no regular file; name one, or - for stdout")
        if not _may_be_replaced(target):
            raise failure(f"{path} is there, and is no HTML page; name another file, or remove it")
    return target


def _may_be_replaced(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(len(PAGE_BEGINS))
    return not start or start.lower() == PAGE_BEGINS


def write_whole(target: Path, content: bytes) -> None:
    """Put *content* in the place of *target*, at once.

    Whoever reads it sees the former content or this one, never a part. It has the permissions of
    the file that it replaces, or those of any new file. Where this fails or is interrupted,
    *target* is as it was and nothing is left beside it.

    Raises:
        OSError: If it cannot be written.
    """
    draft = target.with_name(f".skillstat-{secrets.token_hex(8)}.tmp")
    try:
        with draft.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, draft)
        draft.replace(target)
    except OSError as error:
        error.filename, error.filename2 = str(target), None
        raise
    finally:
        with suppress(OSError):  # it would hide the error that says why
            draft.unlink()
