"""The end of ``nox -s mutants``: ``docs/mutants.md`` has a reason for each mutant that survived.

A mutant is known by its function and by the lines that it changes. mutmut's own numbers are
not used: they move with every edit of the function.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "mutants.md"
DEAD = frozenset({"killed", "timeout"})


def statuses(results: str) -> dict[str, str]:
    """Return what became of each mutant, by mutmut's name for it."""
    return dict(re.findall(r"^ +(\S+): (.+)$", results, re.MULTILINE))


def change(shown: str) -> str:
    """Return a mutant that mutmut shows as the page has it: function, lines before and after."""
    [(module, function)] = re.findall(r"^# skillstat_agg\.(\w+)\.x[_ǁ](.+)__mutmut_\d+: ", shown)
    lines = re.findall(r"^([-+])(?!\1\1 ) *(\S.*)$", shown, re.MULTILINE)
    return "\n".join(
        [f"# {module}.{function.replace('ǁ', '.')}", *(f"{sign} {line}" for sign, line in lines)]
    )


def explained(page: str) -> set[str]:
    """Return the mutants that *page* gives a reason for: its ``diff`` blocks."""
    return set(re.findall(r"^```diff\n(.*?)\n```$", page, re.MULTILINE | re.DOTALL))


def complaints(alive: set[str], listed: set[str]) -> str:
    """Return what has to be done where the two differ; nothing where they agree."""
    new = [f"survived, and is not in {PAGE.name}:\n{each}\n" for each in sorted(alive - listed)]
    old = [f"is in {PAGE.name}, and is dead:\n{each}\n" for each in sorted(listed - alive)]
    return "\n".join(new + old)


def mutmut(*arguments: str) -> str:
    return subprocess.run(
        ["mutmut", *arguments], check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def main() -> None:
    found = statuses(mutmut("results", "--all", "true"))
    if not found:
        sys.exit("no mutant was made")
    figures = ", ".join(f"{n} {status}" for status, n in Counter(found.values()).most_common())
    sys.stdout.write(f"{len(found)} mutants: {figures}\n")
    alive = {change(mutmut("show", name)) for name, status in found.items() if status not in DEAD}
    sys.exit(complaints(alive, explained(PAGE.read_text(encoding="utf-8"))) or None)


if __name__ == "__main__":
    main()
