"""The acquirer as a web application: CyberSource's paths, and ``/control`` for tests and demos."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import Receive, Scope, Send

from control_plane.acquirer_sandbox.acquirer import Acquirer, Refused, Reply
from control_plane.acquirer_sandbox.books import Books
from control_plane.acquirer_sandbox.faults import Fault, FaultKind, Faults
from control_plane.acquirer_sandbox.outcomes import OUTCOMES, Manner
from control_plane.acquirer_sandbox.signatures import NotSigned, check

#: A shared secret that everybody may know: only play money is behind it.
PLAY_SECRET: Final = base64.b64encode(b"nobody's secret, for play money!").decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class AcquirerSettings:
    """``keys``: shared secrets (base64) by organisation and key id; ``database`` None keeps all in memory."""

    database: Path | None = None
    keys: dict[tuple[str, str], str] = field(
        default_factory=lambda: {("omnitill-demo", "sandbox-key-1"): PLAY_SECRET}
    )
    slow_s: float = 6.0


class NewFault(BaseModel):
    """``on`` is a pattern of ``METHOD /path``."""

    model_config = ConfigDict(extra="forbid")

    kind: FaultKind
    on: str = "POST *"
    times: int = Field(1, ge=1)
    delay_s: float = Field(0, ge=0, le=60)


@dataclass(slots=True)
class AcquirerSandbox:
    """What the application shares; tests reach it as ``app.state.acquirer``."""

    settings: AcquirerSettings
    books: Books
    acquirer: Acquirer
    faults: Faults

    def close(self) -> None:
        """Let go of the database."""
        self.books.close()


def create_acquirer(settings: AcquirerSettings | None = None) -> FastAPI:
    """The application. Its requests run one after another in threads; the books have one writer."""
    chosen = settings or AcquirerSettings()
    books = Books(chosen.database)
    sandbox = AcquirerSandbox(chosen, books, Acquirer(books), Faults())
    keys = {name: base64.b64decode(secret) for name, secret in chosen.keys.items()}
    app = FastAPI(title="Omnitill sandbox acquirer", docs_url=None, redoc_url=None)
    app.state.acquirer = sandbox
    acquirer = sandbox.acquirer

    async def answer(request: Request, act: Callable[[str, dict[str, Any]], Reply]) -> Response:
        fault = sandbox.faults.take(f"{request.method} {request.url.path}")
        if fault is not None and not fault.kind.happens:
            return _instead(fault)
        if fault is not None and fault.kind is FaultKind.SLOW:
            await asyncio.sleep(fault.delay_s)
        body = await request.body()
        reply = await asyncio.to_thread(_reply, request, body, keys, act)
        return await _as_told(reply, fault, chosen.slow_s)

    def route(path: str, act: Callable[..., Reply]) -> None:
        async def take(request: Request) -> Response:
            given = request.path_params
            return await answer(request, lambda who, asked: act(who, *given.values(), asked))

        app.add_api_route(path, take, methods=["POST"], include_in_schema=False)

    route("/pts/v2/payments", acquirer.authorize)
    route("/pts/v2/payments/{identifier}/reversals", acquirer.reverse)
    route("/pts/v2/payments/{identifier}/captures", acquirer.capture)
    route("/pts/v2/captures/{identifier}/refunds", acquirer.refund)
    route("/pts/v2/reversals", acquirer.reverse_by_key)

    @app.get("/tss/v2/transactions/{identifier}")
    async def transaction(identifier: str, request: Request) -> Response:
        def look(who: str, asked: dict[str, Any]) -> Reply:
            del asked
            found = books.get(who, identifier)
            if found is None:
                raise Refused(404, "NOT_FOUND", "There is no such transaction.")
            return Reply(200, {"id": found["id"], "status": found["status"]})

        return await answer(request, look)

    _control(app, sandbox)
    return app


def _control(app: FastAPI, sandbox: AcquirerSandbox) -> None:
    @app.get("/control/faults")
    def list_faults() -> list[dict[str, Any]]:
        return [asdict(one) for one in sandbox.faults.listed()]

    @app.post("/control/faults")
    def add_fault(wish: NewFault) -> dict[str, Any]:
        sandbox.faults.add(Fault(**wish.model_dump()))
        return wish.model_dump()

    @app.delete("/control/faults")
    def clear_faults() -> dict[str, Any]:
        sandbox.faults.clear()
        return {}

    @app.get("/control/balances")
    def balances() -> list[dict[str, Any]]:
        return [{**asdict(one), "net": one.net} for one in sandbox.books.balances()]

    @app.get("/control/entries")
    def entries() -> list[dict[str, Any]]:
        return sandbox.books.entries()

    @app.get("/control/outcomes")
    def outcomes() -> dict[str, str]:
        return {f"{digits:02d}": one.line for digits, one in OUTCOMES.items()}


def _reply(
    request: Request,
    body: bytes,
    keys: dict[tuple[str, str], bytes],
    act: Callable[[str, dict[str, Any]], Reply],
) -> Reply:
    target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    try:
        who = check(request.method, target, dict(request.headers), body, keys)
    except NotSigned as error:
        return Reply(
            401, {"response": {"rmsg": f"Authentication Failed: {error}"}, "message": str(error)}
        )
    try:
        asked = json.loads(body) if body else {}
        if not isinstance(asked, dict):
            raise HTTPException(400)
        return act(who, asked)
    except ValueError:
        return Refused(400, "INVALID_DATA", "The body cannot be read.").reply
    except Refused as refused:
        return refused.reply


async def _as_told(reply: Reply, fault: Fault | None, slow_s: float) -> Response:
    if reply.manner is Manner.SLOW:
        await asyncio.sleep(slow_s)
    if fault is not None and fault.kind is FaultKind.TIMEOUT_AFTER_SUCCESS:
        await asyncio.sleep(fault.delay_s)
    if reply.manner is Manner.LOST_ANSWER or (fault is not None and fault.kind.breaks):
        return _Broken()
    if fault is not None and fault.kind is FaultKind.SERVER_ERROR_AFTER_SUCCESS:
        return JSONResponse({"status": "SERVER_ERROR", "reason": "SERVER_TIMEOUT"}, 502)
    return JSONResponse(reply.body, reply.status)


def _instead(fault: Fault) -> Response:
    if fault.kind.breaks:
        return _Broken()
    status = 429 if fault.kind is FaultKind.RATE_LIMIT else 500
    return JSONResponse({"status": "SERVER_ERROR", "reason": "SYSTEM_ERROR"}, status)


class _Broken(Response):
    """Cuts the connection: headers that promise a body which never comes, so that no server mends it into a 500."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        headers = [(b"content-length", b"1000000")]
        await send({"type": "http.response.start", "status": 201, "headers": headers})
        raise ConnectionResetError("the acquirer was told to break this connection")
