"""The command line as tests call it: within this process, and as a process of its own."""

from __future__ import annotations

import subprocess
import sys

from click.testing import CliRunner, Result

from skillstat_agg.cli import main

SKILLSTAT = (sys.executable, "-m", "skillstat_agg.cli")


def run(*arguments: object, stdin: str | bytes | None = None) -> Result:
    """Run a command here; what it raises by mistake is raised."""
    return CliRunner().invoke(main, list(map(str, arguments)), input=stdin, catch_exceptions=False)


def succeed(*arguments: object, stdin: str | bytes | None = None) -> str:
    """Run a command that must succeed in silence on stderr; return what it printed."""
    result = run(*arguments, stdin=stdin)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def fail(*arguments: object, stdin: str | bytes | None = None) -> str:
    """Run a command that must fail with one sentence; return it without ``Error: ``."""
    result = run(*arguments, stdin=stdin)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr.removeprefix("Error: ").rstrip("\n")


def start(
    *arguments: object,
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
) -> subprocess.Popen[str]:
    """Start a command as a process of its own."""
    return subprocess.Popen(
        [*SKILLSTAT, *map(str, arguments)], text=True, stdin=stdin, stdout=stdout, stderr=stderr
    )
