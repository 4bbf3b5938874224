"""The commands of ``python -m skillstat_agg.testing``: run, replay, diagnose and soak."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Sequence
from functools import partial

from skillstat_agg.testing._cases import Level
from skillstat_agg.testing._checks import Check
from skillstat_agg.testing._harness import AnyHarness
from skillstat_agg.testing._kit import report_of, wire
from skillstat_agg.testing._progress import Progress
from skillstat_agg.testing._random import run_random
from skillstat_agg.testing._reports import Report
from skillstat_agg.testing._results import Failure, Result, Status
from skillstat_agg.testing._running import replay, verdict
from skillstat_agg.testing._soak import soak
from skillstat_agg.testing._targets import TargetError, load
from skillstat_agg.testing._teeth import Bite, Teeth, prove_teeth
from skillstat_agg.testing._texts import failure_text, likeness, printable
from skillstat_agg.testing._trails import Trail, TrailError
from skillstat_agg.testing._wiring import WIRING
from skillstat_agg.testing.checks import CHECKS
from skillstat_agg.testing.checks.mixed import random_01

PASSED, RED, USAGE, INTERRUPTED = 0, 1, 2, 130

TARGET = """\
TARGET is a harness: module:name or path/to/file.py:name. The name may be left out if it
is "harness". The file's folder, or the one above its package, becomes importable.
"""

EXAMPLES = """\
examples:
  python -m skillstat_agg.testing run tests/test_store.py:harness
  python -m skillstat_agg.testing run tests/test_store.py --only LATE --only FENCE-02
  python -m skillstat_agg.testing replay tests/test_store.py 'LATE-02/0,1,2'

exit status: 0 passed, 1 something is red, 2 the command makes no sense, 130 interrupted
"""


class UsageError(Exception):
    """A command makes no sense; the message is one sentence that says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, and return its exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    asked = _parser().parse_args(arguments)
    progress = Progress(sys.stderr)
    try:
        status: int = asked.command(asked, progress)
        sys.stdout.flush()
    except (TargetError, UsageError) as error:
        progress.clear()
        sys.stderr.write(f"error: {error}\n")
        return USAGE
    except KeyboardInterrupt:
        progress.clear()
        sys.stderr.write("interrupted: there is no verdict\n")
        return INTERRUPTED
    except BrokenPipeError:
        # Nobody reads on, as in `run ... | head`; at exit there is nothing to flush then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return RED
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m skillstat_agg.testing",
        description="Check whether a store keeps the contract of skillstat-agg.\n\n" + TARGET,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, about: str, more: str = "") -> argparse.ArgumentParser:
        added = commands.add_parser(
            name,
            help=about[0].lower() + about[1:-1],
            description=f"{about}{more}\n\n{TARGET}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        added.add_argument("target", metavar="TARGET", help="the harness")
        return added

    run = command("run", "Play every case of every check, and report what came of them.")
    run.set_defaults(command=_run)
    _add_sweep(run)
    run.add_argument("--json", action="store_true", help="print the report as one JSON object")
    run.add_argument("--quiet", action="store_true", help="leave out the table")
    run.add_argument(
        "--random",
        metavar="N",
        type=_positive,
        help="play N schedules as well that Hypothesis draws (extra: testing)",
    )
    run.add_argument(
        "--seed", metavar="N", type=int, default=0, help="draw other ones (default: 0)"
    )
    run.add_argument(
        "--prove-teeth",
        action="store_true",
        help="break a store that passes in one way after the other: each must be noticed",
    )

    again = command(
        "replay",
        "Play one case again, and print its steps.",
        " A failure says which one it is.",
    )
    again.set_defaults(command=_replay)
    again.add_argument("trail", metavar="TRAIL", help="the case, such as LATE-02/0,1,2")

    diagnose = command(
        "diagnose", "Play every case, and say which broken store of the gallery fails alike."
    )
    diagnose.set_defaults(command=_diagnose)
    _add_sweep(diagnose)

    soaking = command(
        "soak",
        "Kill processes that append and drain, and check the numbers in the end.",
        " The harness's sites must be usable from other processes.",
    )
    soaking.set_defaults(command=_soak)
    for name, default, about in (
        ("--kills", 200, "how many processes to kill"),
        ("--appenders", 4, "how many append at a time"),
        ("--workers", 2, "how many drain at a time"),
    ):
        soaking.add_argument(
            name, metavar="N", type=_positive, default=default, help=f"{about} ({default})"
        )
    soaking.add_argument(
        "--seed", metavar="N", type=int, default=0, help="append and kill others (0)"
    )
    return parser


def _add_sweep(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--level",
        choices=[level.value for level in Level],
        default=Level.QUICK.value,
        help="how far the sweep goes (default: quick)",
    )
    parser.add_argument(
        "--only",
        metavar="ID",
        action="append",
        help="only these checks, or families: LATE-02 or LATE,FENCE; may be repeated",
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


# The commands


def _run(asked: argparse.Namespace, progress: Progress) -> int:
    harness = load(asked.target)
    report = _report(asked, harness, progress)
    teeth: Teeth | None = None
    if asked.prove_teeth and report.ok:
        teeth = _teeth(asked, harness, progress)
    if asked.json:
        shown = report.as_object() | {"teeth": None if teeth is None else _teeth_object(teeth)}
        _say(json.dumps(shown, indent=2))
    else:
        _say(report.summary() if asked.quiet else str(report))
        if asked.prove_teeth:
            _say("\nteeth")
            _say("not tried: the store itself has to pass first" if teeth is None else str(teeth))
    return PASSED if report.ok and (teeth is None or teeth.ok) else RED


def _replay(asked: argparse.Namespace, progress: Progress) -> int:
    check, level, trail = _case(asked.trail)
    harness = load(asked.target)
    if check not in WIRING:
        progress.show("checking the harness")
        wired = wire(harness)
        progress.clear()
        if wired.miswired is not None:
            _say(f"the harness is miswired\n{failure_text(wired.miswired, asked.target)}")
            return RED
        if missing := check.needs - wired.has:
            raise UsageError(
                f"{check.id} needs what the harness does not declare: {', '.join(sorted(missing))}"
            )
    try:
        found = replay(check, harness, level, trail)
    except TrailError as error:
        raise UsageError(
            f"{asked.trail} is no case of this store: {error}; did the store change, or the kit?"
        ) from error
    failure = found if isinstance(found, Failure) else None
    steps = found.schedule if isinstance(found, Failure) else map(str, found.steps)
    _say(f"{check.id}  {check.title}  (law: {check.law})\n")
    for number, step in enumerate(steps, 1):
        _say(f"{number:4}  {printable(step)}")
    _say("")
    left = len(trail.forced) - len(trail.taken)
    if left > 0:
        _say(f"The case made {len(trail.taken)} choices; the last {left} of the trail are unused.")
    if failure is None:
        assert not isinstance(found, Failure)
        met = ", and ".join(sorted(found.facts & check.witness))
        _say(f"PASSED: this case{f' has met what the check is about: {met}' if met else ''}")
        return PASSED
    status, reason = verdict(check, harness, failure, set())
    _say(f"expected  {printable(failure.expected)}")
    _say(f"actual    {printable(failure.actual)}")
    if failure.events:
        _say(f"events    {printable(failure.events)}")
    if failure.traceback:
        _say(f"\n{failure.traceback.rstrip()}")
    _say(f"\nFAILED{f', as expected: {reason}' if status is Status.EXPECTED else ''}")
    return RED


def _diagnose(asked: argparse.Namespace, progress: Progress) -> int:
    asked.random = None
    report = _report(asked, load(asked.target), progress)
    if report.ok or report.miswired is not None:
        _say(report.summary())
        return PASSED if report.ok else RED
    for result in report.results:
        if result.status.is_red:
            _say(f"{result.check.id}  {result.check.title}  ({result.check.law})")
    _say("")
    like = report.looks_like
    _say("no broken store of the gallery fails like this" if like is None else likeness(like))
    return RED


def _soak(asked: argparse.Namespace, progress: Progress) -> int:
    load(asked.target)  # what is wrong with it is said here, not by every process
    soaked = soak(
        partial(load, asked.target),
        kills=asked.kills,
        appenders=asked.appenders,
        workers=asked.workers,
        seed=asked.seed,
        on_kill=lambda number: progress.show(f"{number}/{asked.kills} killed"),
    )
    progress.clear()
    _say(str(soaked))
    return PASSED if soaked.ok else RED


# What they share


def _report(asked: argparse.Namespace, harness: AnyHarness, progress: Progress) -> Report:
    """Return what came of the checks that were asked for."""
    level = Level(asked.level)
    checks = _chosen(asked.only)
    progress.show("checking the harness")
    wired = wire(harness)
    results: list[Result] = []
    for number, check in enumerate(checks if wired.miswired is None else (), 1):
        done = progress.of(f"{number}/{len(checks)}  {check.id}")
        results.append(wired.run(check, level, on_look=done))
    if asked.random is not None and wired.miswired is None:
        progress.show(f"{asked.random} random schedules")
        try:
            results.append(run_random(harness, examples=asked.random, seed=asked.seed))
        except ModuleNotFoundError as error:
            raise UsageError(str(error)) from error
    progress.clear()
    return report_of(wired, results, target=asked.target, level=level)


def _chosen(only: Sequence[str] | None) -> Sequence[Check]:
    """Return the checks of these ids and families; None: all."""
    if only is None:
        return CHECKS
    asked = {name.strip().upper() for names in only for name in names.split(",")}
    known = {name for check in CHECKS for name in (check.id, check.family)}
    if unknown := sorted(asked - known):
        families = dict.fromkeys(check.family for check in CHECKS)
        raise UsageError(
            f"there is no check and no family {', '.join(unknown)}; the families are"
            f" {', '.join(families)}"
        )
    return [check for check in CHECKS if asked & {check.id, check.family}]


def _case(text: str) -> tuple[Check, Level, Trail]:
    """Return what a replay shall play."""
    named, slash, choices = text.strip("'\"").partition("/")
    check_id, _, level = named.partition("@")
    found = [one for one in (*CHECKS, *WIRING, random_01) if one.id == check_id.upper()]
    if not found:
        raise UsageError(f"there is no check {check_id}; a trail looks like LATE-02/0,1,2")
    if not slash:
        raise UsageError(
            f"{text} names no case: a trail looks like {check_id}/0,1,2; run --only {check_id}"
            " plays all cases"
        )
    try:
        return found[0], Level(level or Level.QUICK.value), Trail.parse(choices)
    except TrailError as error:
        raise UsageError(f"{error}; a trail looks like {check_id}/0,1,2") from error
    except ValueError as error:
        raise UsageError(f"there is no level {level}; there are quick and full") from error


def _teeth(asked: argparse.Namespace, harness: AnyHarness, progress: Progress) -> Teeth:
    """Break the stores in one way after the other."""
    bites: list[Bite] = []

    def bitten(bite: Bite) -> None:
        bites.append(bite)
        progress.show(f"{len(bites)} saboteurs, {bite}")

    progress.show("the first saboteur")
    teeth = prove_teeth(
        harness, checks=_chosen(asked.only), level=Level(asked.level), on_bite=bitten
    )
    progress.clear()
    return teeth


def _teeth_object(teeth: Teeth) -> dict[str, object]:
    return {
        "ok": teeth.ok,
        "saboteurs": [
            {
                "name": bite.saboteur.name,
                "caught_by": None if bite.caught is None else bite.caught.check.id,
                "not_declared": bite.not_declared,
            }
            for bite in teeth.bites
        ],
    }


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
