"""What came of the checks, in words."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from skillstat_agg.testing._results import LooksLike, Result, Status

WIDTH = 100
INDENT = " " * 13
DOT = "\N{MIDDLE DOT}"

OUTSIDE = "outside."

FIRST_STEPS = 20
LAST_STEPS = 40
LONGEST_STEP = 300
LONGEST_VALUE = 800


def failure_text(result: Result, target: str | None) -> str:
    """Return what came of a check that did not pass, with its first case that failed.

    Args:
        result: What came of the check.
        target: What the harness is called in commands; None: it has no name.
    """
    check, failure = result.check, result.failure
    title = check.title
    if result.status is Status.MISWIRED and failure is not None:
        title = f"{'not so' if failure.is_answer else 'could not be asked'}: {title}"
    lines = [f"{check.id}  {title}"]
    if result.status is not Status.MISWIRED:
        lines += _value("law", check.law)
    if result.status is Status.VACUOUS:
        lines += _value("vacuous", result.reason)
    elif result.status is Status.UNEXPECTED:
        lines += _value("passed", "though expected to fail: take it out of expected_failures")
        lines += _value("reason", result.reason)
    if failure is not None:
        lines += _steps(failure.schedule)
        lines += _value("expected", failure.expected)
        lines += _value("actual", failure.actual)
        if failure.events:
            lines += _value("events", failure.events)
        lines.append(f"  replay     {replay_command(target, failure.trail)}")
        if failure.traceback:
            lines.append(textwrap.indent(failure.traceback.rstrip(), "  "))
    return "\n".join(lines)


def likeness(like: LooksLike) -> str:
    """Return which broken store fails alike, and what to do about it."""
    return "\n".join(
        [
            f'looks like gallery "{like.name}" ({like.in_common})',
            *_value("remedy", like.remedy),
        ]
    )


def replay_command(target: str | None, trail: str) -> str:
    """Return the command that plays a case again."""
    if target is None:
        return f"python -m skillstat_agg.testing replay FILE.py:NAME {trail} (NAME: the harness)"
    return f"python -m skillstat_agg.testing replay {shlex.quote(target)} '{trail}'"


def printable(text: str) -> str:
    """Return a text whose characters can all be seen."""
    return "".join(
        char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text
    )


def cut(text: str, longest: int) -> str:
    """Return a text that is not longer than this, without its middle if need be."""
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]} ... ({len(text):,} characters) ... {text[-half:]}"


def _value(name: str, value: str) -> Iterator[str]:
    """Yield a named value in lines that are not too wide."""
    text = cut(printable(value), LONGEST_VALUE)
    yield from wrapped(f"  {name:10} ", text, INDENT) or [f"  {name}"]


def wrapped(name: str, text: str, indent: str = "  ") -> list[str]:
    """Return a text behind its name, in lines that are not too wide."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=name,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _steps(steps: Sequence[str]) -> Iterator[str]:
    """Yield a schedule in lines that are not too wide, without the middle of a long one."""
    shown = [cut(printable(step), LONGEST_STEP) for step in _without_looks(steps)]
    left_out = len(shown) - FIRST_STEPS - LAST_STEPS
    if left_out > 1:
        shown[FIRST_STEPS:-LAST_STEPS] = [f"({left_out} more: replay shows them)"]
    line = "  schedule  "
    for index, step in enumerate(shown):
        part = f" {step}" + (f" {DOT}" if index + 1 < len(shown) else "")
        if len(line) + len(part) > WIDTH and line.strip() not in ("", "schedule"):
            yield line
            line = INDENT[1:]
        if len(line) + len(part) > WIDTH:
            first, *further = textwrap.wrap(part, WIDTH - len(INDENT), break_on_hyphens=False)
            yield f"{line} {first}"
            *between, line = [f"{INDENT}  {text}" for text in further] or [INDENT[1:]]
            yield from between
        else:
            line += part
    if line.strip():
        yield line


def _without_looks(steps: Sequence[str]) -> Sequence[str]:
    """Return a schedule without what an outside reader did, but where that ends it."""
    looks = [step.startswith(OUTSIDE) for step in steps]
    end = len(steps)
    while end and looks[end - 1]:
        end -= 1
    acts = [step for step, is_look in zip(steps[:end], looks[:end], strict=True) if not is_look]
    return [*acts, *steps[end:]]


def table(results: Iterable[Result]) -> Iterator[str]:
    """Yield a line for each check."""
    rows = [
        (
            result.check.id,
            f"{result.cases:,}" if result.cases else "-",
            f"{result.seconds:.2f} s" if result.cases else "-",
            result.check.law,
            result.status.value + (f": {result.reason}" if result.reason else ""),
        )
        for result in results
    ]
    names = ("check", "cases", "time", "law", "result")
    widths = [max(len(row[column]) for row in (names, *rows)) for column in range(5)]
    for row in (names, *rows):
        yield (
            f"{row[0]:{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}"
            f"  {row[3]:{widths[3]}}  {row[4]}"
        )
