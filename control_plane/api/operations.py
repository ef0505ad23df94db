"""For operators and their tools: alive, ready, metrics, and the description of the API."""

from __future__ import annotations

import hmac
import ipaddress
from typing import Any

import structlog
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from control_plane import outbox
from control_plane.db import migrate
from control_plane.errors import Forbidden, Unavailable
from control_plane.http.dependencies import App
from control_plane.http.encoding import json_response
from control_plane.http.security import PUBLIC_FILE, address_of
from control_plane.outbox import JobState
from control_plane.parts import Parts

router = APIRouter(tags=["operations"], dependencies=[PUBLIC_FILE])
log = structlog.get_logger()

_JOBS = Gauge("omnitill_jobs", "Jobs in each state", ["state"])
_STREAMS = Gauge("omnitill_live_streams", "Open live streams of this process")


class SchemaOutdated(Unavailable):
    """The database is at another version than this program."""

    code = "schema_outdated"
    message = (
        "The database is at version {current} and {newest} is needed. Run: omnitill db upgrade"
    )


@router.get("/healthz")
def alive() -> Response:
    """This process answers."""
    return json_response({"status": "alive"})


@router.get("/readyz")
def ready(parts: App) -> Response:
    """This process can do its work: the database answers and has the right schema."""
    try:
        current = migrate.current(parts.database.engine)
    except (DBAPIError, PoolTimeout) as error:
        log.warning("database_unreachable", reason=str(error).splitlines()[0])
        raise Unavailable(what="The database") from error
    if current != migrate.newest():
        raise SchemaOutdated(current=current or "none", newest=migrate.newest())
    for name, is_ready in parts.readiness.items():
        if not is_ready():
            raise Unavailable(what=name)
    return json_response({"status": "ready", "schema": current})


@router.get("/metrics", include_in_schema=False)
def metrics(request: Request, parts: App) -> Response:
    """Prometheus metrics, for this machine or for who has the metrics token."""
    if not _may_read_metrics(request, parts):
        raise Forbidden(permission="OMNITILL_METRICS_TOKEN")
    with parts.database.reading() as db:
        counts = outbox.counts(db)
    for state in JobState:
        _JOBS.labels(state.value).set(counts.get(state.value, 0))
    _STREAMS.set(parts.live.watchers)
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


@router.get("/v1/openapi.json", include_in_schema=False)
def openapi(request: Request) -> Response:
    """The description of this API."""
    document: dict[str, Any] = request.app.openapi()
    return json_response(document)


def _may_read_metrics(request: Request, parts: Parts) -> bool:
    token = parts.settings.metrics_token.get_secret_value()
    given = request.headers.get("authorization", "").removeprefix("Bearer ")
    if token:
        return hmac.compare_digest(given.encode(), token.encode())
    try:
        return ipaddress.ip_address(address_of(request)).is_loopback
    except ValueError:
        return False
