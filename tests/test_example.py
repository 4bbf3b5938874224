"""The service in ``examples/``, end to end: real processes, real requests, one of them killed."""

from __future__ import annotations

import sqlite3
import tomllib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from random import Random
from threading import Semaphore
from typing import Any

import attrs
import httpx
import psycopg
import pytest
from fastapi import Response

from registry.app import from_environment
from registry.database import Session, database_at
from registry.routes import get_health
from registry.worker import TRENDING, Worker
from skillstat_agg import Event, leaderboard, publish, verify, verify_fully
from skillstat_agg.backends.postgres import PostgresEventStore
from skillstat_agg.backends.sqlite import SQLiteEventStore
from tests.example_service import ROOT, TOKEN, Service, commands, new_client, serving, until
from tests.logs import NOON
from tests.postgres_server import Server, fresh_database
from tests.test_cli_postgres import url_of

ADMIN = {"Authorization": f"Bearer {TOKEN}"}


@contextmanager
def new_place(sort: str, folder: Path, server: Server) -> Iterator[str]:
    """Give a place for a database that nobody has used."""
    if sort == "sqlite":
        yield str(folder / "registry.db")
    else:
        with fresh_database(server) as conninfo:
            yield url_of(conninfo)


@contextmanager
def opened(place: str) -> Iterator[Session]:
    """Give a session of our own, beside the service."""
    with closing(database_at(place)) as database, database.session() as session:
        yield session


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, postgres: Server
) -> Iterator[Service]:
    """A service that tests share, each with skills of its own."""
    folder = tmp_path_factory.mktemp("service")
    with (
        new_place(request.param, folder, postgres) as place,
        serving(place, folder / "log") as running,
    ):
        yield running


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path, postgres: Server) -> Iterator[str]:
    with new_place(request.param, tmp_path, postgres) as place:
        yield place


def register(service: Service, *skill_ids: str) -> None:
    for skill_id in skill_ids:
        answer = service.ask("PUT", f"/skills/{skill_id}", json={"title": f"Skill {skill_id}"})
        assert answer.json() == {"changed": True}


def changed(service: Service, method: str, path: str, **options: Any) -> bool:
    """Return whether a request has changed anything; it must succeed."""
    answer = service.ask(method, path, **options)
    assert answer.status_code == 200, answer.text
    return bool(answer.json()["changed"])


def shown(service: Service, skill_id: str) -> Any:
    """Return what people are shown of a skill, once all is counted."""
    service.await_counted()
    answer = service.ask("GET", f"/skills/{skill_id}")
    assert answer.status_code == 200
    return answer.json()


# Each route


def test_a_skill_is_registered_and_renamed(service):
    register(service, "renamed")

    title = {"title": "Another"}
    answers = [changed(service, "PUT", "/skills/renamed", json=title) for _ in range(2)]

    assert answers == [True, False]
    assert shown(service, "renamed") == {
        "skill_id": "renamed",
        "title": "Another",
        "totals": {"downloads": 0, "stars": 0, "installs_all_time": 0, "installs_current": 0},
        "badges": [],
        "downloads_by_day": [0] * 7,
    }


def test_a_download_counts_once_for_each_key_and_each_time_without(service):
    register(service, "loaded")
    path, key = "/skills/loaded/downloads", {"Idempotency-Key": "once"}

    with_key = [changed(service, "POST", path, headers=key) for _ in range(3)]
    without = [changed(service, "POST", path) for _ in range(2)]

    assert (with_key, without) == ([True, False, False], [True, True])
    skill = shown(service, "loaded")
    assert skill["totals"]["downloads"] == sum(skill["downloads_by_day"]) == 3


def test_a_key_stands_for_one_download(service):
    """The other skill gets none, and the service says so."""
    register(service, "first", "second")
    key = {"Idempotency-Key": "one-of-two"}
    assert changed(service, "POST", "/skills/first/downloads", headers=key)

    refused = service.ask("POST", "/skills/second/downloads", headers=key)

    assert refused.status_code == 422
    assert "one-of-two" in refused.json()["detail"]
    assert shown(service, "second")["totals"]["downloads"] == 0


def test_a_star_counts_when_its_row_changes(service):
    register(service, "starred")

    answers = [
        changed(service, method, f"/skills/starred/stars/{person}")
        for method, person in [
            ("PUT", "ann"),
            ("PUT", "ann"),
            ("PUT", "bob"),
            ("DELETE", "ann"),
            ("DELETE", "ann"),
            ("DELETE", "cid"),
        ]
    ]

    assert answers == [True, False, True, True, False, False]
    assert shown(service, "starred")["totals"]["stars"] == 1


def test_a_machine_that_comes_back_is_no_new_install(service):
    register(service, "installed")

    answers = [
        changed(service, method, f"/skills/installed/installs/{machine}")
        for method, machine in [
            ("DELETE", "m1"),
            ("PUT", "m1"),
            ("PUT", "m1"),
            ("DELETE", "m1"),
            ("DELETE", "m1"),
            ("PUT", "m1"),
            ("PUT", "m2"),
            ("DELETE", "m2"),
        ]
    ]

    assert answers == [False, True, False, True, False, True, True, True]
    totals = shown(service, "installed")["totals"]
    assert (totals["installs_all_time"], totals["installs_current"]) == (2, 1)


def test_badges_take_the_token_of_an_administrator(service):
    register(service, "official")
    path = "/skills/official/badges/official"

    assert service.ask("PUT", path).status_code == 401
    assert service.ask("PUT", path, headers={"Authorization": "Bearer no"}).status_code == 403
    assert [changed(service, "PUT", path, headers=ADMIN) for _ in range(2)] == [True, False]
    assert shown(service, "official")["badges"] == ["official"]
    assert [changed(service, "DELETE", path, headers=ADMIN) for _ in range(2)] == [True, False]
    assert shown(service, "official")["badges"] == []


WRITES = [
    ("POST", "downloads"),
    ("PUT", "stars/ann"),
    ("DELETE", "stars/ann"),
    ("PUT", "installs/m1"),
    ("DELETE", "installs/m1"),
    ("PUT", "badges/official"),
    ("DELETE", "badges/official"),
]


def test_a_skill_that_nobody_registered_is_not_found(service):
    """For nothing of it is anything stored."""
    asked = [service.ask(how, f"/skills/nobody/{what}", headers=ADMIN) for how, what in WRITES]
    asked.append(service.ask("GET", "/skills/nobody"))

    assert {answer.status_code for answer in asked} == {404}
    with opened(service.place) as session:
        assert "nobody" not in {each.event.skill_id for each in logged(session)}


@pytest.mark.parametrize("bad", ["Upper", "%00", "a%0A", "-", "x" * 101, "%E2%98%83"])
def test_what_can_be_no_name_is_refused(service, bad):
    asked = [service.ask(how, f"/skills/{bad}/{what}", headers=ADMIN) for how, what in WRITES]
    asked += [
        service.ask("PUT", f"/skills/{bad}", json={"title": "any"}),
        service.ask("GET", f"/skills/{bad}"),
        service.ask("GET", f"/skills?skill_id={bad}"),
        service.ask("PUT", f"/skills/any/stars/{bad}"),
        service.ask("PUT", f"/skills/any/installs/{bad}"),
        service.ask("PUT", f"/skills/any/badges/{bad}", headers=ADMIN),
    ]

    assert {answer.status_code for answer in asked} == {422}


@pytest.mark.parametrize("title", ["", "x" * 201, "a\0b", 7, None])
def test_what_can_be_no_title_is_refused(service, title):
    answer = service.ask("PUT", "/skills/untitled", json={"title": title})

    assert answer.status_code == 422
    assert service.ask("GET", "/skills/untitled").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        b'{"title": "\\ud800"}',
        b'{"title": "\xed\xa0\x80"}',
        b'{"\\ud800": 1}',
        b'{"title": NaN}',
        b'{"title": 1e999}',
        b'{"title": "' + b"x" * 100_000 + b'"}',
        b'{"title": ',
        b"NaN",
        b"",
    ],
    ids=lambda body: repr(body[:20]),
)
def test_a_body_that_no_answer_could_repeat_is_refused(service, body):
    """By a short answer that says where the fault is."""
    kind = {"Content-Type": "application/json"}
    answer = service.ask("PUT", "/skills/untitled", content=body, headers=kind)

    assert answer.status_code == 422
    assert all(fault["loc"][0] == "body" and fault["msg"] for fault in answer.json()["detail"])
    assert len(answer.content) < 1_000
    assert service.ask("GET", "/skills/untitled").status_code == 404


@pytest.mark.parametrize("key", ["", "x" * 201])
def test_what_can_be_no_key_is_refused(service, key):
    answer = service.ask("POST", "/skills/any/downloads", headers={"Idempotency-Key": key})

    assert answer.status_code == 422


def test_skills_are_listed_as_they_are_named(service):
    """Each once; those that nobody registered are left out."""
    register(service, "list-a", "list-b", "list-c")

    named = [("skill_id", name) for name in ("list-c", "list-a", "nobody", "list-c")]
    answer = service.ask("GET", "/skills", params=named)

    assert [skill["skill_id"] for skill in answer.json()] == ["list-c", "list-a"]


def test_trending_is_read_page_by_page(place, tmp_path):
    """In one version, although others are published meanwhile; a token is never guessed."""
    with serving(place, tmp_path / "log") as service:
        register(service, "most", "more", "some", "none")
        for skill_id, count in {"some": 1, "most": 3, "more": 2}.items():
            for machine in range(count):
                changed(service, "PUT", f"/skills/{skill_id}/installs/m{machine}")
        shown(service, "most")

        first = service.ask("GET", "/trending?limit=2").json()
        changed(service, "PUT", "/skills/none/installs/m1")
        shown(service, "none")
        second = service.ask("GET", "/trending", params={"token": first["next"]}).json()
        listed = service.ask("GET", "/skills?order=installs_current&limit=2").json()
        with opened(place) as session:
            publish(session.stats, {TRENDING: leaderboard(session.stats, "stars")}, keep=1)
        late = service.ask("GET", "/trending", params={"token": first["next"]})
        made_up = service.ask("GET", "/trending", params={"token": "made up"})

    places = [(each["rank"], each["skill_id"]) for each in first["places"] + second["places"]]
    assert places == [(1, "most"), (2, "more"), (3, "some")]
    assert first["places"][0]["numbers"] == {"installs": 3, "downloads": 0}
    assert (second["version"], second["next"]) == (first["version"], None)
    assert [skill["skill_id"] for skill in listed] == ["most", "more"]
    assert (late.status_code, made_up.status_code) == (410, 400)


# What goes wrong


def test_an_empty_board_is_shown_and_an_old_one_is_not(place, tmp_path):
    """The worker publishes at its start, and then stands still: it comes once a day."""
    with serving(place, tmp_path / "log", every_seconds=86_400) as service:
        until(lambda: service.ask("GET", "/trending").status_code == 200, "a board is published")
        empty = [service.ask("GET", path).json() for path in ("/skills", "/trending", "/health")]
        with opened(place) as session:
            board = leaderboard(session.stats, "stars")
            publish(session.stats, {TRENDING: board}, max_age=timedelta(microseconds=1))
        old = service.ask("GET", "/trending")

    assert empty == [
        [],
        {"version": 1, "places": [], "next": None},
        {
            "is_counting": True,
            "counted": 0,
            "uncounted": 0,
            "oldest_seconds": None,
            "last_error": None,
            "last_error_at": None,
        },
    ]
    assert (old.status_code, old.headers["Retry-After"]) == (503, "5")


def test_a_service_whose_worker_is_gone_is_not_healthy(place):
    """Whoever watches it may start it anew."""
    response = Response()
    with closing(database_at(place)) as database:
        health = get_health(database, Worker(database, timedelta(seconds=1)), response)

    assert (health.is_counting, response.status_code) == (False, 503)


def append_unchecked(place: str, event: Event) -> None:
    """Append what the log of the service would refuse."""
    if place.startswith("postgresql://"):
        with psycopg.connect(place, autocommit=True) as db:
            PostgresEventStore(db).append([event])
    else:
        with closing(sqlite3.connect(place)) as db:
            SQLiteEventStore(db).append([event])


def test_what_cannot_be_counted_stands_in_the_health(place, tmp_path):
    """The service goes on serving, and what came before it is counted."""
    with serving(place, tmp_path / "log") as service:
        register(service, "pdf")
        changed(service, "POST", "/skills/pdf/downloads")
        service.await_counted()
        append_unchecked(place, Event(skill_id="pdf", kind="comment", occurred_at=NOON))
        changed(service, "POST", "/skills/pdf/downloads")
        until(lambda: service.ask("GET", "/health").json()["last_error"] is not None, "a note")

        health = service.ask("GET", "/health")

    assert health.status_code == 200
    assert "unknown kind 'comment'" in health.json()["last_error"]
    assert (health.json()["counted"], health.json()["uncounted"]) == (1, 2)


@contextmanager
def refusing_events(place: str) -> Iterator[None]:
    """Let the database refuse each event, whoever appends it."""
    if place.startswith("postgresql://"):
        table = "ALTER TABLE skillstat.skillstat_events"
        with psycopg.connect(place, autocommit=True) as db:
            db.execute(f"{table} ADD CONSTRAINT refused CHECK (false) NOT VALID".encode())
            yield
            db.execute(f"{table} DROP CONSTRAINT refused".encode())
    else:
        with closing(sqlite3.connect(place, isolation_level=None)) as db:
            db.execute(
                "CREATE TRIGGER refused BEFORE INSERT ON skillstat_events"
                " BEGIN SELECT raise(ABORT, 'refused'); END"
            )
            yield
            db.execute("DROP TRIGGER refused")


def test_a_row_goes_where_its_event_is_refused(place, tmp_path):
    """What did not happen can be done again, and counts then."""
    with serving(place, tmp_path / "log") as service:
        register(service, "pdf")
        for method, path in [
            ("PUT", "/skills/pdf/stars/ann"),
            ("PUT", "/skills/pdf/installs/m1"),
            ("DELETE", "/skills/pdf/stars/ann"),
            ("DELETE", "/skills/pdf/installs/m1"),
            ("PUT", "/skills/pdf/installs/m1"),
        ]:
            with refusing_events(place):
                refused = service.ask(method, path)

            assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
            assert changed(service, method, path)

        totals = shown(service, "pdf")["totals"]
        assert totals == {"downloads": 0, "stars": 0, "installs_all_time": 1, "installs_current": 1}


def test_a_busy_file_is_answered_with_come_again(tmp_path):
    """Nothing is stored; reading goes on."""
    place = tmp_path / "registry.db"
    with serving(str(place), tmp_path / "log") as service:
        register(service, "pdf")
        with closing(sqlite3.connect(place, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            busy = service.ask("PUT", "/skills/pdf/stars/ann")
            read = service.ask("GET", "/skills/pdf")
            db.execute("ROLLBACK")

        assert (busy.status_code, busy.headers["Retry-After"]) == (503, "1")
        assert "locked" not in busy.text
        assert read.status_code == 200
        assert changed(service, "PUT", "/skills/pdf/stars/ann")
        assert shown(service, "pdf")["totals"]["stars"] == 1


def test_a_locked_table_is_answered_with_come_again(tmp_path, postgres):
    """As an ALTER TABLE locks it; once that is over, the same request succeeds."""
    with (
        new_place("postgres", tmp_path, postgres) as place,
        serving(place, tmp_path / "log") as service,
        psycopg.connect(place) as db,
    ):
        register(service, "pdf")
        db.execute("LOCK TABLE skillstat.skillstat_events, stars")
        busy = [service.ask("PUT", "/skills/pdf/stars/ann"), service.ask("GET", "/health")]
        db.rollback()

        answered = {(each.status_code, each.headers.get("Retry-After")) for each in busy}
        assert answered == {(503, "1")}
        assert changed(service, "PUT", "/skills/pdf/stars/ann")
        assert shown(service, "pdf")["totals"]["stars"] == 1


def test_a_server_that_is_away_is_answered_with_come_again(tmp_path, postgres):
    """And all goes on once it is back."""
    with (
        new_place("postgres", tmp_path, postgres) as place,
        serving(place, tmp_path / "log") as service,
    ):
        register(service, "pdf")
        postgres.kill()
        away = service.ask("PUT", "/skills/pdf/stars/ann")
        postgres.start()
        until(lambda: service.ask("GET", "/health").status_code == 200, "the server is back")

        assert (away.status_code, away.headers["Retry-After"]) == (503, "1")
        assert changed(service, "PUT", "/skills/pdf/stars/ann")
        assert shown(service, "pdf")["totals"]["stars"] == 1


@pytest.mark.parametrize("seconds", ["0", "0.000", "-1", "nan", "1e3", "ten", "", "9" * 6])
def test_it_does_not_start_without_a_time_to_count(seconds, monkeypatch):
    """Whoever starts it is told which variable to correct."""
    monkeypatch.setenv("REGISTRY_COUNT_EVERY_SECONDS", seconds)

    with pytest.raises(SystemExit, match="REGISTRY_COUNT_EVERY_SECONDS is"):
        from_environment()


# Under load

WORKERS, STEPS = 8, 50
SKILLS = ("pdf", "ocr", "git")


@attrs.define
class People:
    """What one client does, again and again, until it is answered.

    Attributes:
        services: Whom it asks: another one where one does not answer.
        answered: Is released with each answer.
        keys: By skill, the keys of its downloads.
        starred: The skills that its person has starred.
    """

    name: str
    services: list[Service]
    answered: Semaphore
    keys: list[tuple[str, str]] = attrs.field(factory=list)
    starred: set[str] = attrs.field(factory=set)

    def act(self) -> None:
        """Do everything."""
        draw = Random(self.name)
        with new_client() as client:
            for step in range(STEPS):
                skill = draw.choice(SKILLS)
                if draw.random() < 0.5:
                    self._download(client, skill, f"{self.name}-{step}", draw.choice((1, 1, 2, 3)))
                elif draw.random() < 0.5:
                    self._star(client, skill, draw.choice(("PUT", "DELETE")))
                else:
                    path = f"{draw.choice(('stars/all', 'installs/all', f'installs/{self.name}'))}"
                    method = draw.choice(("PUT", "DELETE"))
                    self._ask(client, method, f"/skills/{skill}/{path}")

    def _download(self, client: httpx.Client, skill: str, key: str, times: int) -> None:
        headers = {"Idempotency-Key": key}
        for _ in range(times):
            self._ask(client, "POST", f"/skills/{skill}/downloads", headers=headers)
        self.keys.append((skill, key))

    def _star(self, client: httpx.Client, skill: str, method: str) -> None:
        self._ask(client, method, f"/skills/{skill}/stars/{self.name}")
        (self.starred.add if method == "PUT" else self.starred.discard)(skill)

    def _ask(self, client: httpx.Client, method: str, path: str, **options: Any) -> None:
        for _ in range(10_000):
            self.services.reverse()
            try:
                answer = client.request(method, f"{self.services[0].url}{path}", **options)
            except httpx.TransportError:
                continue
            if answer.status_code == 200:
                self.answered.release()
                return
            assert answer.status_code == 503
        raise AssertionError("nobody answers")


def logged(session: Session) -> list[Any]:
    page = session.events.read(None, limit=100_000)
    assert page.is_last
    return list(page.events)


def test_what_is_appended_is_counted_although_a_server_is_killed_under_load(place, tmp_path):
    """Answers, rows of the service, log and numbers agree; two servers count all the time."""
    with serving(place, tmp_path / "a") as one, serving(place, tmp_path / "b") as other:
        register(one, *SKILLS)
        answered = Semaphore(0)
        people = [People(f"p{n}", [one, other], answered) for n in range(WORKERS)]
        with ThreadPoolExecutor(WORKERS) as pool:
            running = [pool.submit(each.act) for each in people]
            for _ in range(2):
                for _ in range(WORKERS * STEPS // 4):
                    answered.acquire()
                one.kill()
                one.start()
            for each in running:
                each.result()
        skills = {skill: shown(other, skill)["totals"] for skill in SKILLS}

        with opened(place) as session:
            events = [each.event for each in logged(session)]
            stars = session.read("SELECT person, skill_id FROM stars")
            installs = session.read("SELECT skill_id, is_active FROM installs")
            assert verify(session.events, session.stats).is_ok
            assert verify_fully(session.events, session.stats).is_ok
            assert session.stats.cursor().count == len(events)

    keys = {key: skill for each in people for skill, key in each.keys}
    downloads = [event for event in events if event.kind == "download"]
    assert {event.event_id: event.skill_id for event in downloads} == keys
    assert len(downloads) == len(keys)
    assert {star for star in stars if star[0] != "all"} == {
        (each.name, skill) for each in people for skill in each.starred
    }
    assert {skill: totals["downloads"] for skill, totals in skills.items()} == Counter(
        keys.values()
    )
    assert {skill: totals["stars"] for skill, totals in skills.items()} == {
        skill: sum(star[1] == skill for star in stars) for skill in SKILLS
    }
    assert {
        skill: (totals["installs_all_time"], totals["installs_current"])
        for skill, totals in skills.items()
    } == {
        skill: (
            sum(name == skill for name, _ in installs),
            sum(name == skill and bool(is_active) for name, is_active in installs),
        )
        for skill in SKILLS
    }


# The README


def test_the_commands_of_the_readme_begin_as_those_of_the_main_one():
    """The last step of the first one is how every server here is started."""
    ours = commands()
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    [theirs] = [line for line in readme.splitlines() if "--group tests" in line]
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]

    assert list(ours) == ["run", "test"]
    assert ours["run"][:2] == ours["test"][:2] == theirs.split(" && ")[:2]
    assert ours["run"][2] == ".venv/bin/python -m pip install -q -e . --group example"
    assert "example" in groups
    assert ours["test"][2] == theirs.split(" && ")[2]
    assert ours["test"][3:] == [f".venv/bin/python -m pytest -q tests/{Path(__file__).name}"]
