"""Wiring: builds every part from settings, and the web application from the parts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec

import structlog
from fastapi import FastAPI
from sqlalchemy import make_url
from starlette.middleware.gzip import GZipMiddleware

import control_plane.api
import control_plane.wiring
from control_plane.accounts.passwords import Passwords
from control_plane.clock import Clock, SystemClock
from control_plane.config import Settings
from control_plane.db.engine import Database, libpq_address
from control_plane.db.keyring import load_keyring
from control_plane.discovery import modules_in
from control_plane.events import Handlers
from control_plane.http import problems
from control_plane.http.middleware import BodyLimit, RequestContext
from control_plane.http.openapi import describe
from control_plane.http.rate_limit import RateLimit
from control_plane.live import LiveHub, PostgresLiveHub
from control_plane.parts import Parts, ProcessRole, Service
from firmware_profiles import use_overlay

log = structlog.get_logger()

_WEB_PLUG = "control_plane.web.plug"


def build(settings: Settings, *, clock: Clock | None = None) -> Parts:
    """Every part, connected but not started. Nothing is opened but what is needed to open it later."""
    clock = clock or SystemClock()
    _choose_profiles(settings)
    keyring = load_keyring(
        settings.secret_key.get_secret_value(),
        [key.get_secret_value() for key in settings.retired_secret_keys],
        settings.data_dir,
    )
    url = settings.effective_database_url
    live = LiveHub() if url.startswith("sqlite") else PostgresLiveHub(libpq_address(make_url(url)))
    handlers = Handlers()
    parts = Parts(
        settings=settings,
        clock=clock,
        keyring=keyring,
        database=Database(
            url,
            keyring=keyring,
            clock=clock,
            announcer=live,
            publish=handlers,
            pool_size=settings.database_pool,
        ),
        live=live,
        handlers=handlers,
        passwords=Passwords(memory_kib=settings.sign_in.memory_kib, passes=settings.sign_in.passes),
    )
    for module in modules_in(control_plane.wiring):
        module.wire(parts)
    return parts


def _choose_profiles(settings: Settings) -> None:
    """The signed ones of this installation above the built-in ones, or, when something is wrong, these alone."""
    authority = settings.data_dir / "ca" / "ca.crt"
    certificate = authority.read_bytes() if authority.exists() else b""
    for fault in use_overlay(settings.profiles_folder, certificate):
        log.error("profiles_refused", reason=fault.message, **fault.facts)


def create_app(parts: Parts) -> FastAPI:
    """The web application: every ``router`` of ``control_plane.api``, and the pages when they are there."""
    app = FastAPI(
        title="Omnitill",
        version=version("omnitill"),
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.state.parts = parts
    app.state.rate_limit = RateLimit(parts.settings.rate_limit_per_minute)
    problems.install(app)
    for module in modules_in(control_plane.api):
        app.include_router(module.router)
    if find_spec(_WEB_PLUG) is not None:
        import_module(_WEB_PLUG).plug(app, parts)
    describe(app)
    # The last one added is the outermost.
    app.add_middleware(GZipMiddleware, minimum_size=1_000, compresslevel=5)
    app.add_middleware(BodyLimit, limit=parts.settings.body_limit)
    app.add_middleware(RequestContext)
    return app


@contextmanager
def running(parts: Parts, roles: frozenset[ProcessRole]) -> Iterator[None]:
    """Start what these roles run, in order; stop it in reverse, whatever happens."""
    started: list[tuple[str, Service]] = []
    parts.live.start()
    try:
        for name, make in parts.services_of(roles):
            service = make()
            started.append((name, service))
            service.start()
            log.info("service_started", service=name)
        yield
    finally:
        for name, service in reversed(started):
            service.stop()
            log.info("service_stopped", service=name)
