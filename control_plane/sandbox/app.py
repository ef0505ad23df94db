"""The sandbox as a web application: the API under ``/v1``, and every ``router`` of this package's modules."""

from __future__ import annotations

import asyncio
import logging
import pkgutil
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from importlib import import_module
from types import ModuleType
from urllib.parse import urlencode

from fastapi import APIRouter, FastAPI
from fastapi import Request as HttpRequest
from fastapi.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

import control_plane.sandbox as package
from control_plane.sandbox import checkout, webhooks
from control_plane.sandbox.clock import SandboxClock
from control_plane.sandbox.dispatch import Answer, Api, Request
from control_plane.sandbox.engine import Sandbox
from control_plane.sandbox.errors import Json
from control_plane.sandbox.faults import FaultKind
from control_plane.sandbox.routing import Endpoint, Routes, Table
from control_plane.sandbox.settings import SandboxSettings

log = logging.getLogger(__name__)

_TICK_S = 0.05
#: Browsers on the merchant's page call the API with the publishable key.
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "*",
    "Access-Control-Max-Age": "300",
}


class SandboxApi:
    """A sandbox with its endpoints, answering without a socket; ``create_sandbox`` puts it on the web."""

    def __init__(self, settings: SandboxSettings, clock: SandboxClock | None = None) -> None:
        self.sandbox = Sandbox(settings, clock)
        endpoints: list[Endpoint] = []
        includes: dict[tuple[str, str], Callable[[Sandbox, Json], object]] = {}
        for module in _modules():
            routes = getattr(module, "routes", None)
            if isinstance(routes, Routes):
                endpoints += routes.endpoints
                includes |= routes.includes
                self.sandbox.tasks |= routes.tasks
        self.api = Api(self.sandbox, Table(endpoints), includes)
        self.sandbox.listeners += [webhooks.owe, checkout.watch_debits]

    def answer(self, request: Request) -> Answer:
        """One call, faults included; a fault's delay is not waited for."""
        fault = self.api.fault_of(request)
        with self.api.claimed(request) as in_use:
            return in_use or self.api.answer(request, fault)

    async def serve(self, request: Request) -> Answer:
        """One call, waiting where a fault says so."""
        fault = self.api.fault_of(request)
        with self.api.claimed(request) as in_use:
            if in_use is not None:
                return in_use
            if fault is not None and fault.kind is FaultKind.SLOW:
                await asyncio.sleep(fault.delay_s)
            answer = self.api.answer(request, fault)
        if fault is not None and fault.kind is FaultKind.TIMEOUT_AFTER_SUCCESS:
            await asyncio.sleep(fault.delay_s)
        return answer

    def pump(self, post: webhooks.Post | None = None) -> int:
        """Run what is due and send the webhooks that are due; returns how many were sent."""
        self.sandbox.run_due()
        return webhooks.deliver_due(self.sandbox, post)

    def close(self) -> None:
        self.sandbox.close()


class Pump(threading.Thread):
    """Runs due tasks and sends webhooks while a sandbox is on the web."""

    def __init__(self, api: SandboxApi) -> None:
        super().__init__(name="sandbox-pump", daemon=True)
        self._api = api
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(_TICK_S):
            try:
                self._api.pump()
            except Exception:
                log.exception("sandbox_pump_failed")

    def end(self) -> None:
        """Stop after the delivery that is under way."""
        self._ended.set()
        self.join()


def create_sandbox(
    settings: SandboxSettings | None = None, clock: SandboxClock | None = None, *, pump: bool = True
) -> FastAPI:
    """The web application. ``app.state.sandbox`` is its SandboxApi.

    With ``pump`` a thread sends webhooks while the application's lifespan runs; without it call ``pump()``.
    Serve it on its own, call it in process through an ASGI transport, or mount it under a path; the lifespan of a
    mounted application does not run, so start a ``Pump(app.state.sandbox)`` beside it.
    """
    api = SandboxApi(settings or SandboxSettings(), clock)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        del app
        thread = Pump(api) if pump else None
        if thread is not None:
            thread.start()
        try:
            yield
        finally:
            if thread is not None:
                await asyncio.to_thread(thread.end)

    app = FastAPI(
        title="Sandbox", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan
    )
    app.state.sandbox = api
    for module in _modules():
        router = getattr(module, "router", None)
        if isinstance(router, APIRouter):
            app.include_router(router)

    @app.api_route("/v1/{rest:path}", methods=["GET", "POST", "DELETE", "OPTIONS"])
    async def call(http: HttpRequest, rest: str) -> Response:
        if http.method == "OPTIONS":
            return Response(status_code=204, headers=_CORS)
        return _response(await api.serve(await _request(http, f"/v1/{rest}")))

    @app.exception_handler(Exception)
    async def fail(http: HttpRequest, error: Exception) -> Response:
        """Something of ours is broken; the server logs it. Nothing was changed: the transaction was undone."""
        del http, error
        body = {
            "error": {
                "type": "api_error",
                "message": "The sandbox could not do this; its log says why.",
            }
        }
        return JSONResponse(body, 500, _CORS)

    return app


async def _request(http: HttpRequest, path: str) -> Request:
    headers: Mapping[str, str] = http.headers
    upload = None
    if headers.get("content-type", "").startswith("multipart/form-data"):
        async with http.form() as form:
            fields = {name: value for name, value in form.items() if isinstance(value, str)}
            for value in form.values():
                if not isinstance(value, str):
                    upload = (value.filename or "", value.content_type or "", await value.read())
        body = urlencode(fields).encode()
    else:
        body = await http.body()
    return Request(
        method=http.method,
        path=path,
        query=http.url.query,
        headers=headers,
        body=body,
        upload=upload,
    )


def _response(answer: Answer) -> Response:
    if answer.breaks:
        return _Broken()
    headers = {**answer.headers, **_CORS, "Access-Control-Expose-Headers": "Request-Id"}
    return Response(answer.body, answer.status, headers, media_type="application/json")


class _Broken(Response):
    """Cuts the connection: headers that promise a body which never comes, so that no server mends it into a 500."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        headers = [(b"content-length", b"1000000")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        raise ConnectionResetError("the sandbox was told to break this connection")


def _modules() -> list[ModuleType]:
    """This package's modules, imported, except programs."""
    names = sorted(one.name for one in pkgutil.iter_modules(package.__path__))
    return [
        import_module(f"{package.__name__}.{name}") for name in names if not name.startswith("__")
    ]
