"""The server as a process would run it: streams end when it stops, mixed writers do not starve each other."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import func, select
from starlette.responses import StreamingResponse

from control_plane.accounts import queries
from control_plane.accounts.permissions import Permission
from control_plane.accounts.service import create_location
from control_plane.app import create_app, running
from control_plane.http.dependencies import App, Db, WriterSlot
from control_plane.http.security import PUBLIC_FILE
from control_plane.parts import Parts, ProcessRole
from control_plane.server import Server, make_server
from tests.fixtures.control_plane import Factory
from tests.support.ports import free_port
from tests.support.waiting import eventually


@contextmanager
def serving(app: FastAPI, parts: Parts) -> Iterator[tuple[str, Server]]:
    parts.settings.port = free_port()
    server = make_server(app, parts)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    eventually(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{parts.settings.port}", server
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        assert not thread.is_alive()


def with_stream(parts: Parts) -> FastAPI:
    app = create_app(parts)

    @app.get("/v1/test-stream", dependencies=[PUBLIC_FILE])
    async def stream() -> StreamingResponse:
        async def events() -> AsyncIterator[bytes]:
            with parts.live.subscribe("topic") as watch:
                yield b"data: open\n\n"
                async for batch in watch:
                    for one in batch:
                        yield f"data: {one.message['n']}\n\n".encode()

        return StreamingResponse(events(), media_type="text/event-stream")

    return app


def test_an_open_stream_gets_messages_and_does_not_keep_the_server_from_stopping(
    parts: Parts,
) -> None:
    parts.live.start()
    lines: list[str] = []
    encodings: list[str | None] = []
    opened, heard = threading.Event(), threading.Event()

    def listen(url: str) -> None:
        with httpx2.stream("GET", f"{url}/v1/test-stream", timeout=10) as answer:
            encodings.append(answer.headers.get("content-encoding"))
            for line in answer.iter_lines():
                lines.append(line)
                opened.set()
                if "7" in line:
                    heard.set()

    with serving(with_stream(parts), parts) as (url, server):
        listener = threading.Thread(target=listen, args=(url,), daemon=True)
        listener.start()
        assert opened.wait(5)
        parts.live.send("topic", {"n": 7})
        assert heard.wait(2)
        began = time.monotonic()
        server.should_exit = True
        listener.join(timeout=5)
        took = time.monotonic() - began

    assert [line for line in lines if line] == ["data: open", "data: 7"]
    # Compression would hold messages back.
    assert encodings == [None]
    assert took < 2


def test_a_port_that_was_just_left_can_be_taken_again(sqlite_parts: Parts) -> None:
    app = create_app(sqlite_parts)
    with serving(app, sqlite_parts) as (url, _):
        httpx2.get(f"{url}/healthz").raise_for_status()
        port = sqlite_parts.settings.port

    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))


@pytest.mark.slow
def test_hot_paths_and_pages_that_write_at_once_all_get_their_turn(
    parts: Parts, make: Factory
) -> None:
    merchant = make.merchant()
    token = make.api_key(merchant, [Permission.LOCATION_MANAGE, Permission.LOCATION_VIEW])
    app = create_app(parts)

    @app.post("/v1/hot/{number}", dependencies=[PUBLIC_FILE])
    def hot(number: int, app_parts: App, _: WriterSlot) -> dict[str, int]:
        with app_parts.database.connection() as db:
            create_location(db, merchant, f"hot {number}")
        return {"number": number}

    @app.post("/v1/page/{number}", dependencies=[PUBLIC_FILE])
    def page(number: int, db: Db) -> dict[str, int]:
        create_location(db, merchant, f"page {number}")
        return {"number": number}

    statuses: list[int] = []

    def work(url: str, number: int) -> None:
        with httpx2.Client(
            base_url=url, timeout=30, headers={"Authorization": f"Bearer {token}"}
        ) as client:
            kind = ("hot", "page")[number % 2]
            for turn in range(5):
                statuses.append(client.post(f"/v1/{kind}/{number * 10 + turn}").status_code)
                statuses.append(client.get("/v1/locations").status_code)

    with serving(app, parts) as (url, _):
        threads = [threading.Thread(target=work, args=(url, number)) for number in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert Counter(statuses) == {200: 640}
    with parts.database.reading() as db:
        count = db.execute(select(func.count()).select_from(queries.LOCATIONS)).scalar_one()
    assert count == 320


def test_services_start_in_order_and_stop_in_reverse_even_when_one_fails(
    sqlite_parts: Parts,
) -> None:
    told: list[str] = []

    class Recorded:
        def __init__(self, name: str) -> None:
            self._name = name

        def start(self) -> None:
            told.append(f"start {self._name}")
            if self._name == "broken":
                raise OSError("no port")

        def stop(self) -> None:
            told.append(f"stop {self._name}")

    parts = sqlite_parts
    parts._services.clear()  # noqa: SLF001 - only what this test adds
    parts.add_service(ProcessRole.INGEST, "ingest", lambda: Recorded("ingest"))
    parts.add_service(ProcessRole.BROKER, "broker", lambda: Recorded("broker"))
    parts.add_service(ProcessRole.WORKER, "broken", lambda: Recorded("broken"))
    parts.add_service(ProcessRole.SCHEDULER, "never", lambda: Recorded("never"))

    with pytest.raises(OSError, match="no port"), running(parts, frozenset(ProcessRole)):
        told.append("unreachable")

    assert told == [
        "start broker",
        "start ingest",
        "start broken",
        "stop broken",
        "stop ingest",
        "stop broker",
    ]


def test_a_process_runs_the_services_of_its_roles_only(sqlite_parts: Parts) -> None:
    names = [name for name, _ in sqlite_parts.services_of(frozenset({ProcessRole.SCHEDULER}))]

    assert names == ["scheduler"]
