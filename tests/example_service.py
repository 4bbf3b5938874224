"""The service in ``examples/`` as a process, started as its README says."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx

ROOT = Path(__file__).parent.parent
README = ROOT / "examples" / "README.md"
COMMAND = re.compile(r"<!-- (\w+)-command -->\n```console\n(.*)\n```\n")
ADDRESS = re.compile(r"running on (http://127\.0\.0\.1:\d+) ")
TOKEN = "an administrator's"
DEADLINE_SECONDS = 60


def commands() -> dict[str, list[str]]:
    """Return the steps of each command of the README."""
    found = COMMAND.findall(README.read_text(encoding="utf-8"))
    return {name: line.split(" && ") for name, line in found}


def until(is_so: Callable[[], bool], what: str) -> None:
    """Return once something is so.

    Raises:
        TimeoutError: If it is not before the deadline.
    """
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.02)


@attrs.define(eq=False)
class Service:
    """A server process on a port of its own, which may be another one after `start`.

    Attributes:
        place: The database.
        log: Where it writes what it logs.
        every_seconds: How often it counts.
    """

    place: str
    log: Path
    every_seconds: float
    url: str = attrs.field(default="", init=False)
    _process: subprocess.Popen[bytes] | None = attrs.field(default=None, init=False)

    def start(self) -> None:
        """Start it, and return once it takes requests."""
        python, *arguments = commands()["run"][-1].split()
        assert python == ".venv/bin/python"
        self.log.write_bytes(b"")
        with self.log.open("ab") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, *arguments, "--port", "0", "--no-access-log"],
                cwd=ROOT,
                env={
                    **os.environ,
                    "REGISTRY_DATABASE": self.place,
                    "REGISTRY_COUNT_EVERY_SECONDS": str(self.every_seconds),
                    "REGISTRY_ADMIN_TOKEN": TOKEN,
                },
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
        until(self._is_listening, "the server starts")

    def interrupt(self) -> None:
        """End it as Ctrl-C does: it succeeds, and says nothing that frightens people."""
        code = self._end(signal.SIGINT)
        said = self.log.read_text(encoding="utf-8")
        assert code == 0, said
        assert "Traceback" not in said, said

    def kill(self) -> None:
        """End it with no chance to clean up."""
        self._end(signal.SIGKILL)

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Return what it answers."""
        with new_client() as client:
            return client.request(method, f"{self.url}{path}", **options)

    def await_counted(self) -> None:
        """Return once all events are counted."""
        until(lambda: self.ask("GET", "/health").json()["uncounted"] == 0, "all is counted")

    def _is_listening(self) -> bool:
        said = self.log.read_text(encoding="utf-8")
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError(f"the server did not start:\n{said}")
        found = ADDRESS.search(said)
        self.url = found[1] if found else ""
        return found is not None

    def _end(self, how: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(how)
        return process.wait(DEADLINE_SECONDS)


def new_client() -> httpx.Client:
    """Return a client for this machine alone."""
    return httpx.Client(verify=False, trust_env=False, timeout=DEADLINE_SECONDS)


@contextmanager
def serving(place: str, log: Path, *, every_seconds: float = 0.2) -> Iterator[Service]:
    """Give a service that runs; in the end it is interrupted, and must end cleanly."""
    service = Service(place, log, every_seconds)
    try:
        service.start()
        yield service
        service.interrupt()
    finally:
        service.kill()
