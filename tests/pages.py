"""The files that readers of a page write."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"# ([\w/]+\.py)\n")


def file_named_in(block: str) -> str | None:
    """Return the file that a ``python`` block is a part of: its first line names it."""
    named = NAMED.match(block)
    return None if named is None else named[1]


def write_files_of(page: str, folder: Path) -> None:
    """Write the files of a page into a folder."""
    for block in BLOCK.findall((DOCS / page).read_text(encoding="utf-8")):
        write_part(block, folder)


def write_part(block: str, folder: Path) -> bool:
    """Write a block behind what its file holds; return whether it is a part of one."""
    name = file_named_in(block)
    if name is None:
        return False
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("a", encoding="utf-8") as file:
        file.write(f"{block}\n\n")
    return True
