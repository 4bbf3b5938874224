"""The service as a whole: its parts, its life, and what an error means to a client."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from registry.changes import UnknownSkillError
from registry.database import UNAVAILABLE, database_at
from registry.routes import router
from registry.worker import Worker
from skillstat_agg.errors import EventIdConflictError, ForgottenSkillError, InvalidEventError

log = logging.getLogger("registry")

STATUS: dict[type[Exception], int] = {
    UnknownSkillError: 404,
    ForgottenSkillError: 410,
    InvalidEventError: 422,
    EventIdConflictError: 422,
}
"""What a client is answered whose request was at fault; the text says why."""


def create_app(place: str, *, every: timedelta, admin_token: str) -> FastAPI:
    """Return the service.

    Args:
        place: A ``postgresql://`` URL, or else the path of an SQLite file.
        every: How often events are counted.
        admin_token: Who knows it may set and clear badges; empty: nobody may.
    """

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        database = database_at(place)
        try:
            app.state.database = database
            app.state.worker = Worker(database, every)
            app.state.admin_token = admin_token
            with app.state.worker.running():
                yield  # requests are served here, and are over when it goes on
        finally:
            database.close()

    app = FastAPI(title="A registry of skills", lifespan=life)
    app.include_router(router)
    app.add_exception_handler(RequestValidationError, _invalid)
    for error_type in STATUS:
        app.add_exception_handler(error_type, _refused)
    for error_type in UNAVAILABLE:
        app.add_exception_handler(error_type, _unavailable)
    return app


def from_environment() -> FastAPI:
    """Return the service that the variables ``REGISTRY_...`` describe.

    Raises:
        SystemExit: If one of them cannot be used; uvicorn ends with its sentence.
    """
    given = os.environ.get("REGISTRY_COUNT_EVERY_SECONDS", "10")
    if not re.fullmatch(r"(?=.*[1-9])\d{1,5}(\.\d{1,3})?", given, re.ASCII):
        raise SystemExit(
            f"REGISTRY_COUNT_EVERY_SECONDS is {given!r}: give seconds, as in 10 or 0.5"
        )
    return create_app(
        os.environ.get("REGISTRY_DATABASE", "registry.db"),
        every=timedelta(seconds=float(given)),
        admin_token=os.environ.get("REGISTRY_ADMIN_TOKEN", ""),
    )


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    # FastAPI's own answer repeats what was sent, which need not be anything that JSON can hold
    # (NaN, half of a surrogate pair), nor short.
    assert isinstance(error, RequestValidationError)
    detail = [{name: each[name] for name in ("type", "loc", "msg")} for each in error.errors()]
    return JSONResponse({"detail": detail}, 422)


async def _refused(_request: Request, error: Exception) -> JSONResponse:
    status = next(STATUS[each] for each in type(error).__mro__ if each in STATUS)
    return JSONResponse({"detail": str(error)}, status)


async def _unavailable(_request: Request, error: Exception) -> JSONResponse:
    log.warning("answered 503: %s", error)  # a client need not know what a database says
    detail = "the database cannot be used just now; nothing is known to be stored: send it again"
    return JSONResponse({"detail": detail}, 503, {"Retry-After": "1"})
