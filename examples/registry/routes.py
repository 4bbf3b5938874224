"""What is asked over HTTP.

Routes are plain functions, which FastAPI runs in threads, since a database blocks. Each opens its
transaction itself, and so has committed before it answers. What a dependency does after its
``yield`` is done, by default, when the answer is sent: too late to commit.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timezone
from typing import Annotated

from fastapi import APIRouter, Depends, Header, HTTPException, Path, Query, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, StringConstraints

from registry import changes, views
from registry.changes import UnknownSkillError
from registry.database import Database
from registry.views import Health, Order, Skill, Trending
from registry.worker import TRENDING, Worker
from skillstat_agg import (
    Badge,
    BadgeKind,
    BoardPage,
    ExpiredToken,
    InvalidToken,
    read_board,
    read_on,
)

PLAIN = r"^[a-z0-9][a-z0-9._-]{0,99}$"
SkillId = Annotated[str, Path(pattern=PLAIN)]
Name = Annotated[str, Path(pattern=PLAIN)]
SkillIds = Annotated[
    list[Annotated[str, StringConstraints(pattern=PLAIN)]] | None, Query(max_length=100)
]
Limit = Annotated[int, Query(ge=1, le=100)]
Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=200)]


class NewSkill(BaseModel):
    """What people say of a skill."""

    title: Annotated[str, StringConstraints(pattern=r"^[^\x00]{1,200}$")]


class Changed(BaseModel):
    """Whether a request has changed anything: the second of two that are alike has not."""

    changed: bool


def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


def _worker(request: Request) -> Worker:
    worker: Worker = request.app.state.worker
    return worker


def _check_admin(
    request: Request, given: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]
) -> None:
    token: str = request.app.state.admin_token
    if not token or not secrets.compare_digest(given.credentials.encode(), token.encode()):
        raise HTTPException(403, "this takes the token of an administrator")


def _now() -> datetime:
    return datetime.now(timezone.utc)


Rows = Annotated[Database, Depends(_database)]
ByAdmin = Depends(_check_admin)
router = APIRouter()


@router.put("/skills/{skill_id}")
def put_skill(database: Rows, skill_id: SkillId, skill: NewSkill) -> Changed:
    """Register a skill, or give it another title."""
    with database.transaction() as session:
        return Changed(changed=changes.put_skill(session, skill_id, skill.title))


@router.post("/skills/{skill_id}/downloads")
def post_download(database: Rows, skill_id: SkillId, key: Key = None) -> Changed:
    """Record a download; requests with the same key are the same download."""
    with database.transaction() as session:
        return Changed(changed=changes.download(session, skill_id, _now(), key))


@router.put("/skills/{skill_id}/stars/{person}")
def put_star(database: Rows, skill_id: SkillId, person: Name) -> Changed:
    """Star a skill."""
    with database.transaction() as session:
        return Changed(changed=changes.star(session, skill_id, person, _now()))


@router.delete("/skills/{skill_id}/stars/{person}")
def delete_star(database: Rows, skill_id: SkillId, person: Name) -> Changed:
    """Take a star back."""
    with database.transaction() as session:
        return Changed(changed=changes.unstar(session, skill_id, person, _now()))


@router.put("/skills/{skill_id}/installs/{machine}")
def put_install(database: Rows, skill_id: SkillId, machine: Name) -> Changed:
    """Report that a machine has a skill."""
    with database.transaction() as session:
        return Changed(changed=changes.install(session, skill_id, machine, _now()))


@router.delete("/skills/{skill_id}/installs/{machine}")
def delete_install(database: Rows, skill_id: SkillId, machine: Name) -> Changed:
    """Report that a machine has a skill no more."""
    with database.transaction() as session:
        return Changed(changed=changes.uninstall(session, skill_id, machine, _now()))


@router.put("/skills/{skill_id}/badges/{kind}", dependencies=[ByAdmin])
def put_badge(database: Rows, skill_id: SkillId, kind: BadgeKind) -> Changed:
    """Give a skill a badge."""
    with database.transaction() as session:
        changes.check_known(session, skill_id)
        badge = Badge(by_user_id="admin", at=_now())
        return Changed(changed=session.badges.set(skill_id, kind, badge))


@router.delete("/skills/{skill_id}/badges/{kind}", dependencies=[ByAdmin])
def delete_badge(database: Rows, skill_id: SkillId, kind: BadgeKind) -> Changed:
    """Take a badge away."""
    with database.transaction() as session:
        changes.check_known(session, skill_id)
        return Changed(changed=session.badges.clear(skill_id, kind))


@router.get("/skills/{skill_id}")
def get_skill(database: Rows, skill_id: SkillId) -> Skill:
    """Return a skill with its numbers."""
    with database.session() as session:
        for skill in views.skills_of(session, [skill_id], _now()):
            return skill
    raise UnknownSkillError


@router.get("/skills")
def get_skills(
    database: Rows,
    skill_id: SkillIds = None,
    order: Order = Order.DOWNLOADS,
    limit: Limit = 20,
) -> list[Skill]:
    """Return the skills that are named, as they are named; or else those that have the most."""
    with database.session() as session:
        asked = skill_id or views.first_skills(session, order, limit)
        return views.skills_of(session, asked, _now())


@router.get("/trending")
def get_trending(database: Rows, token: str | None = None, limit: Limit = 20) -> Trending:
    """Return a page of the board: most installs in a week, then most downloads."""
    with database.session() as session:
        page = (
            read_board(session.stats, TRENDING, limit=limit)
            if token is None
            else read_on(session.stats, TRENDING, token, limit=limit)
        )
    match page:
        case BoardPage():
            return views.trending_of(page)
        case InvalidToken():
            raise HTTPException(400, "this is no token of this board")
        case ExpiredToken():
            raise HTTPException(410, "this version is gone: begin at the first page")
        case _:  # none was published yet, or the last one is too old
            raise HTTPException(503, "there is no board to show yet", {"Retry-After": "5"})


@router.get("/health")
def get_health(
    database: Rows, worker: Annotated[Worker, Depends(_worker)], response: Response
) -> Health:
    """Return how far the numbers are; 503 if this process does not count any more."""
    with database.session() as session:
        health = views.health_of(session, _now(), is_counting=worker.is_alive)
    response.status_code = 200 if health.is_counting else 503
    return health
