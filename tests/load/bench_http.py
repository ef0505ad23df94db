"""Requests: what the hot ones cost, how soon pages answer, and how fast news reaches a thousand streams.

``starlette``: one INSERT a POST, by Starlette and psycopg's asynchronous pool; what no framework beats. ``sqlmodel``:
the same row by FastAPI and a SQLModel session in a thread, as tutorials have it. All are served by one uvicorn process
each, 32 connections ask without a pause, and PostgreSQL (fsync on) shares the machine.

Ours do more for a request than those: sign-in, rights, an idempotent start, an audit chain, a command to a device.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psycopg
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fastapi import FastAPI
from psycopg_pool import AsyncConnectionPool
from pydantic import SecretStr
from sqlalchemy import create_engine, insert
from sqlmodel import Field, Session, SQLModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from control_plane.accounts import service as accounts
from control_plane.accounts.caller import Caller, CallerKind
from control_plane.accounts.permissions import ROLES, Role
from control_plane.accounts.sign_in import scope_of
from control_plane.app import build, create_app, running
from control_plane.config import BrokerSettings, LogSettings, Settings
from control_plane.db import migrate
from control_plane.demo.seed import enrolment_code
from control_plane.devices.enrollment import enrol
from control_plane.devices.link import BrokerDirectory
from control_plane.devices.models import DEVICES, READERS
from control_plane.http.security import cookie_name
from control_plane.http.sign_in import sign_in
from control_plane.logs import configure_logs
from control_plane.parts import Parts
from control_plane.server import make_server
from protocols.cloud import http
from protocols.cloud.topics import Channel
from protocols.ids import new_id
from tests.fakes.device_outbox import DeviceOutbox
from tests.load.cluster import postgres
from tests.support.ports import LOOPBACK, accepts_connections, free_port
from tests.support.waiting import eventually

SECRET: Final = "dGVzdHMgb25seSwgdGVzdHMgb25seSwgdGVzdHMgb25seSE="
CONNECTIONS: Final = 32
SECONDS: Final = 4.0
WARM_UP_S: Final = 1.0
STREAMS: Final = 1_000
PAGES: Final = ("/pos", "/transactions", "/readers", "/")


class Plain(SQLModel, table=True):
    """The row of both references: about what a session's row weighs, with its two indexes."""

    __tablename__ = "plain_sale"

    id: str = Field(primary_key=True)
    merchant_id: str = Field(index=True)
    reader_id: str = Field(index=True)
    amount_minor: int
    currency: str
    reference: str
    note: str
    created_at: str


_ROW: Final = json.dumps(
    {
        "merchant_id": "mer_06f3k8a1b2c3d4e5f6g7h8j9k0", "reader_id": "rd_06f3k8a1b2c3d4e5f6g7h8j9k0",
        "amount_minor": 1234, "currency": "EUR", "reference": "order 1042", "note": "",
        "created_at": "2026-11-23T19:00:00Z",
    }
).encode()  # fmt: skip


# --- what is served, each by a process of its own ------------------------------------------------------------


def starlette_app(conninfo: str) -> Starlette:
    pool = AsyncConnectionPool(conninfo, min_size=8, max_size=32, open=False)

    async def take(request: Request) -> JSONResponse:
        row = json.loads(await request.body())
        row["id"] = new_id("pl")
        if pool.closed:
            await pool.open()
        async with pool.connection() as db:
            await db.execute(
                "INSERT INTO plain_sale"
                " (id, merchant_id, reader_id, amount_minor, currency, reference, note, created_at)"
                " VALUES (%(id)s, %(merchant_id)s, %(reader_id)s, %(amount_minor)s, %(currency)s, %(reference)s,"
                " %(note)s, %(created_at)s)",
                row,
            )
        return JSONResponse(row, 201)

    return Starlette(routes=[Route("/plain", take, methods=["POST"])])


def sqlmodel_app(conninfo: str) -> FastAPI:
    engine = create_engine(conninfo.replace("postgresql://", "postgresql+psycopg://"), pool_size=40)
    app = FastAPI()

    @app.post("/plain", status_code=201)
    def take(row: dict[str, Any]) -> Plain:
        with Session(engine) as db:
            sale = Plain(id=new_id("pl"), **row)
            db.add(sale)
            db.commit()
            db.refresh(sale)
            return sale

    return app


def serve(kind: str, conninfo: str, port: int, folder: Path) -> None:
    """Until SIGTERM."""
    if kind == "ours":
        parts = open_parts(conninfo, folder, port)
        with running(parts, frozenset()):
            make_server(create_app(parts), parts).run()
        return
    app = starlette_app(conninfo) if kind == "starlette" else sqlmodel_app(conninfo)
    uvicorn.run(app, host=LOOPBACK, port=port, log_level="error", access_log=False, lifespan="off")


def open_parts(conninfo: str, folder: Path, port: int) -> Parts:
    settings = Settings(
        mode="test",
        data_dir=folder,
        database_url=conninfo,
        secret_key=SecretStr(SECRET),
        broker=BrokerSettings(kind="none"),
        host=LOOPBACK,
        port=port,
        log=LogSettings(level="error"),
        rate_limit_per_minute=100_000_000,
    )
    configure_logs(settings.log)
    return build(settings)


@dataclass(frozen=True, slots=True)
class Server:
    """A process that answers."""

    port: int
    pid: int

    def cpu_s(self) -> float:
        """Processor time that it has used, in all its threads."""
        numbers = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def served(kind: str, conninfo: str, folder: Path) -> Iterator[Server]:
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-m", __spec__.name, "--serve", kind, conninfo, str(port), str(folder)],
        cwd=Path(__file__).parents[2],
    ) as process:
        try:
            eventually(lambda: accepts_connections(port), 30)
            yield Server(port, process.pid)
        finally:
            os.kill(process.pid, signal.SIGTERM)


# --- what is asked -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shop:
    """What the requests name."""

    key: str
    cookie: str
    merchant_id: str
    readers: list[str]
    devices: list[tuple[str, ec.EllipticCurvePrivateKey]]


def furnish(parts: Parts) -> Shop:
    """A merchant with as many ready readers and signing devices as there are connections."""
    now = datetime.now(UTC)
    authority = parts.get(BrokerDirectory).authority()
    with parts.database.transaction() as db:
        merchant_id = accounts.create_merchant(db, "Bench")
        location_id = accounts.create_location(db, merchant_id, "Here")
        scope = scope_of(merchant_id, Role.OWNER, None)
        owner = Caller(kind=CallerKind.USER, id="system", name="Bench", scope=scope)
        accounts.create_user(
            db,
            merchant_id,
            email="owner@bench.example",
            name="Owner",
            role=Role.OWNER,
            password_hash=parts.passwords.hash("bench of pages"),
        )
        _, key = accounts.create_api_key(
            db, owner, name="bench", permissions=list(ROLES[Role.OWNER])
        )
    devices = []
    for _ in range(CONNECTIONS):
        with parts.database.transaction() as db:
            code = enrolment_code(db, merchant_id, location_id)
            private = ec.generate_private_key(ec.SECP256R1())
            devices.append(
                (enrol(db, authority, _request(code.reveal(), private)).device_id, private)
            )
    with parts.database.transaction() as db:
        db.execute(DEVICES.update().values(is_online=True))
        readers = [
            {
                "id": new_id("rd"), "merchant_id": merchant_id, "location_id": location_id,
                "device_id": device_id, "name": f"Till {number}", "profile": "generic-zvt-tcp",
                "address": "tcp://127.0.0.1:1", "state": "ready", "reason": "", "health": {},
                "first_seen_at": now, "reported_at": now,
            }
            for number, (device_id, _) in enumerate(devices)
        ]  # fmt: skip
        db.execute(insert(READERS), readers)
    _, token = sign_in(
        parts, "owner@bench.example", "bench of pages", ip="127.0.0.1", user_agent="bench"
    )
    return Shop(
        key=key.reveal(),
        cookie=f"{cookie_name(parts)}={token.reveal()}",
        merchant_id=merchant_id,
        readers=[str(one["id"]) for one in readers],
        devices=devices,
    )


def _request(code: str, private: ec.EllipticCurvePrivateKey) -> http.EnrollRequest:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    pem = builder.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return http.EnrollRequest(code=code, csr_pem=pem.decode(), agent_version="0.1.0")


def post(path: str, body: bytes, **headers: str) -> bytes:
    return _ask("POST", path, body, headers)


def get(path: str, **headers: str) -> bytes:
    return _ask("GET", path, b"", headers)


def _ask(method: str, path: str, body: bytes, headers: dict[str, str]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: bench", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body:
        lines.append("Content-Type: application/json")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass
class Answers:
    """How long each request took, in seconds."""

    took: list[float] = field(default_factory=list)
    elapsed: float = 0.0
    cpu_s: float = 0.0

    def figures(self) -> dict[str, Any]:
        ordered = sorted(self.took)
        return {
            "per_s": round(len(ordered) / self.elapsed),
            "p50_ms": round(statistics.median(ordered) * 1000, 2),
            "p99_ms": round(ordered[int(len(ordered) * 0.99)] * 1000, 2),
            "server_cpu_us": round(self.cpu_s / len(ordered) * 1e6),
        }


class Line:
    """One kept-alive connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def to(cls, port: int) -> Line:
        return cls(*await asyncio.open_connection(LOOPBACK, port, limit=1 << 22))

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        lowered = head.lower()
        if b"transfer-encoding: chunked" in lowered:
            body = b""
            while size := int(await self._reader.readuntil(b"\r\n"), 16):
                body += (await self._reader.readexactly(size + 2))[:-2]
            await self._reader.readexactly(2)
        else:
            at = lowered.index(b"content-length:") + 15
            body = await self._reader.readexactly(int(lowered[at : lowered.index(b"\r\n", at)]))
        return int(head[9:12]), body

    async def first_byte(self, request: bytes) -> None:
        self._writer.write(request)
        await self._reader.readuntil(b"\r\n\r\n")

    async def event(self) -> bytes:
        """The next server-sent event's lines."""
        return await self._reader.readuntil(b"\n\n")

    def close(self) -> None:
        self._writer.close()


#: Gives the requests of one connection: each may depend on the answer before.
Script = Callable[[Callable[[bytes], Any]], Any]


async def press(server: Server, scripts: list[Script], seconds: float = SECONDS) -> Answers:
    """Every script on a connection of its own, again and again until the time is over."""
    answers = Answers()
    counting = False
    ends = time.perf_counter() + WARM_UP_S + seconds

    async def run(script: Script) -> None:
        line = await Line.to(server.port)

        async def ask(request: bytes) -> bytes:
            began = time.perf_counter()
            status, body = await line.ask(request)
            if status >= 300:
                raise RuntimeError(f"{status}: {body[:300]!r}")
            if counting:
                answers.took.append(time.perf_counter() - began)
            return body

        while time.perf_counter() < ends:
            await script(ask)
        line.close()

    tasks = [asyncio.create_task(run(script)) for script in scripts]
    await asyncio.sleep(WARM_UP_S)
    counting, began, cpu_s = True, time.perf_counter(), server.cpu_s()
    await asyncio.gather(*tasks)
    answers.elapsed = time.perf_counter() - began
    answers.cpu_s = server.cpu_s() - cpu_s
    return answers


def plain(_: int) -> Script:
    request = post("/plain", _ROW)

    async def script(ask: Callable[[bytes], Any]) -> None:
        await ask(request)

    return script


def sessions(shop: Shop) -> Callable[[int], Script]:
    """A payment on a reader and its cancellation, which frees the reader: two writes."""

    def make(number: int) -> Script:
        body = json.dumps(
            {"reader_id": shop.readers[number], "amount_minor": 1234, "currency": "EUR"}
        ).encode()
        bearer = f"Bearer {shop.key}"

        async def script(ask: Callable[[bytes], Any]) -> None:
            created = json.loads(await ask(post("/v1/sessions", body, Authorization=bearer)))
            path = f"/v1/sessions/{created['id']}/cancel"
            await ask(post(path, b"", Authorization=bearer))

        return script

    return make


def status_of(shop: Shop, session_id: str) -> Callable[[int], Script]:
    request = get(f"/v1/sessions/{session_id}", Authorization=f"Bearer {shop.key}")

    def make(_: int) -> Script:
        async def script(ask: Callable[[bytes], Any]) -> None:
            await ask(request)

        return script

    return make


def uploads(shop: Shop) -> Callable[[int], Script]:
    """One sale a request over the HTTPS way of devices, signed."""

    def make(number: int) -> Script:
        device_id, private = shop.devices[number]
        outbox = DeviceOutbox(device_id, at=datetime.now(UTC))

        async def script(ask: Callable[[bytes], Any]) -> None:
            message = http.UpMessage(
                channel=Channel.TRANSACTIONS.value,
                payload=outbox.sale(reader_id=shop.readers[number]).decode(),
            )
            body = http.encode(http.OutboxUpload(messages=[message]))
            at = int(time.time() * 1000)
            signature = private.sign(
                http.signed_text("POST", http.OUTBOX, at, body), ec.ECDSA(hashes.SHA256())
            )
            headers = {
                http.HEADER_DEVICE: device_id,
                http.HEADER_TIMESTAMP: str(at),
                http.HEADER_SIGNATURE: base64.b64encode(signature).decode(),
            }
            await ask(_ask("POST", http.OUTBOX, body, headers))

        return script

    return make


async def started(port: int, shop: Shop) -> str:
    """The id of a payment on the first reader."""
    wish = {"reader_id": shop.readers[0], "amount_minor": 1234, "currency": "EUR"}
    return str((await _once(port, shop, "/v1/sessions", json.dumps(wish).encode()))["id"])


async def cancelled(port: int, shop: Shop, session_id: str) -> None:
    await _once(port, shop, f"/v1/sessions/{session_id}/cancel", b"")


async def _once(port: int, shop: Shop, path: str, body: bytes) -> dict[str, Any]:
    line = await Line.to(port)
    _, answer = await line.ask(post(path, body, Authorization=f"Bearer {shop.key}"))
    line.close()
    found: dict[str, Any] = json.loads(answer)
    return found


async def pages(port: int, shop: Shop, rounds: int = 40) -> dict[str, float]:
    """Milliseconds until the first byte, one request at a time."""
    line = await Line.to(port)
    found = {}
    for path in PAGES:
        took = []
        for _ in range(rounds):
            began = time.perf_counter()
            await line.ask(get(path, Cookie=shop.cookie, Accept="text/html"))
            took.append(time.perf_counter() - began)
        found[path] = round(statistics.median(took[5:]) * 1000, 2)
    line.close()
    return found


async def streams(port: int, shop: Shop) -> dict[str, float]:
    """From a payment's commit until each of a thousand streams has heard of it, in milliseconds."""
    bearer = f"Bearer {shop.key}"
    request = get("/v1/live?watch=sessions", Authorization=bearer)
    lines = []
    for _ in range(STREAMS):
        line = await Line.to(port)
        await line.first_byte(request)
        lines.append(line)
    await asyncio.sleep(1.5)
    arrived: list[float] = []

    async def hear(line: Line) -> None:
        while b"changed" not in await line.event():
            pass
        arrived.append(time.perf_counter())

    tasks = [asyncio.create_task(hear(line)) for line in lines]
    await asyncio.sleep(0.2)
    began = time.perf_counter()
    session_id = await started(port, shop)
    answered = time.perf_counter()
    await asyncio.wait_for(asyncio.gather(*tasks), 30)
    await cancelled(port, shop, session_id)
    for line in lines:
        line.close()
    ordered = sorted(at - began for at in arrived)
    return {
        "streams": STREAMS,
        "p50_ms": round(ordered[len(ordered) // 2] * 1000, 1),
        "last_ms": round(ordered[-1] * 1000, 1),
        "request_answered_ms": round((answered - began) * 1000, 1),
    }


# --- the measurement -----------------------------------------------------------------------------------------


async def measure(conninfo: str, folder: Path, shop: Shop) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for kind in ("starlette", "sqlmodel"):
        with served(kind, conninfo, folder) as server:
            found = await press(server, [plain(number) for number in range(CONNECTIONS)])
            figures[kind] = found.figures()
    with served("ours", conninfo, folder) as server:
        for name, make in (("session_write", sessions(shop)), ("device_upload", uploads(shop))):
            found = await press(server, [make(number) for number in range(CONNECTIONS)])
            figures[name] = found.figures()
        session_id = await started(server.port, shop)
        make = status_of(shop, session_id)
        found = await press(server, [make(number) for number in range(CONNECTIONS)])
        figures["session_status"] = found.figures()
        await cancelled(server.port, shop, session_id)
        figures["page_first_byte_ms"] = await pages(server.port, shop)
        figures["live"] = await streams(server.port, shop)
    return figures


def main() -> int:
    """Print the figures as one JSON object."""
    match sys.argv[1:]:
        case ["--serve", kind, conninfo, port, where]:
            serve(kind, conninfo, int(port), Path(where))
            return 0
    with ExitStack() as things:
        room = things.enter_context(tempfile.TemporaryDirectory(prefix="omnitill-bench-"))
        folder = Path(room)
        folder.chmod(0o755)
        conninfo = things.enter_context(postgres(folder / "cluster"))
        parts = open_parts(conninfo, folder / "data", 1)
        migrate.upgrade(parts.database.engine)
        with psycopg.connect(conninfo, autocommit=True) as db:
            db.execute(
                "CREATE TABLE plain_sale (id text PRIMARY KEY, merchant_id text, reader_id text, amount_minor int,"
                " currency text, reference text, note text, created_at text)"
            )
            db.execute(
                "CREATE INDEX ON plain_sale (merchant_id); CREATE INDEX ON plain_sale (reader_id)"
            )
        shop = furnish(parts)
        parts.close()
        figures = asyncio.run(measure(conninfo, folder / "data", shop))
    best, worst = figures["starlette"]["per_s"], figures["sqlmodel"]["per_s"]
    targets: dict[str, list[Any]] = {}
    for name in ("session_write", "device_upload", "session_status"):
        per_s = figures[name]["per_s"]
        targets[f"{name}_vs_starlette"] = [round(per_s / best, 3), ">=", 0.65, 0.10]
        targets[f"{name}_vs_sqlmodel"] = [round(per_s / worst, 2), ">=", 10, 0.5]
    targets["live_p50_ms"] = [figures["live"]["p50_ms"], "<=", 30, 300]
    sys.stdout.write(json.dumps({**figures, "targets": targets}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
