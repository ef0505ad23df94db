"""A small HTTP port on which tests and demonstrations look at a simulated reader and play tricks on it.

`GET /` answers its own books as JSON. `POST /NAME` with a JSON object does something and answers the books.
Loopback tool for simulators: no authentication, one request a connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any, Final

from agent.errors import AgentError
from protocols.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.clock import Clock
    from agent.simulator.reader import SimulatedReader

_LARGEST_BODY: Final = 64 * 1024
_REQUEST_S: Final = 5.0


class TrickRefused(AgentError):
    """A request that the simulator does not understand."""

    code = "trick_refused"


class Control:
    """Serves one simulated reader."""

    def __init__(self, reader: SimulatedReader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock
        self._server: asyncio.Server | None = None

    async def open(self, host: str, port: int) -> str:
        """Listen; returns the address. Raises OSError when the port is taken."""
        self._server = await asyncio.start_server(self._serve, host, port)
        bound = self._server.sockets[0].getsockname()
        return f"http://{bound[0]}:{bound[1]}"

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    def books(self) -> dict[str, Any]:
        """What the reader itself believes: every transaction, and what they come to."""
        snapshot = self._reader.machine.snapshot()
        transactions: Any = snapshot.get("transactions", [])  # each protocol keeps its own columns
        standing = [one for one in transactions if one["state"] == "done"]
        signs = {"purchase": 1, "booking": 1, "refund": -1}
        return {
            "address": self._reader.socket.address,
            "is_up": self._reader.is_up.is_set(),
            "terminal_id": snapshot.get("terminal_id"),
            "count": sum(one["kind"] in signs for one in standing),
            "sum_minor": sum(signs.get(one["kind"], 0) * one["amount_minor"] for one in standing),
            "transactions": [
                {
                    name: one[name]
                    for name in (
                        "kind",
                        "state",
                        "receipt",
                        "trace",
                        "amount_minor",
                        "result",
                        "date",
                        "time",
                    )
                }
                for one in transactions
            ],
        }

    # --- tricks --------------------------------------------------------------------------------------------

    def _tricks(self) -> dict[str, Callable[[dict[str, Any]], None]]:
        reader = self._reader
        return {
            "unplug": lambda _: reader.unplug(),
            "plug": lambda _: reader.plug_in(),
            "stop-key": lambda _: self._machine("press_stop")(self._clock.elapsed()),
            "restart": lambda _: self._machine("restart")(self._clock.elapsed()),
            "script": lambda asked: self._machine("queue_script")(str(asked.get("script", ""))),
            "fault": lambda asked: self._machine("arm")(str(asked.get("fault", ""))),
        }

    def _machine(self, name: str) -> Callable[..., None]:
        """Something a person can do at the reader, where the protocol's terminal knows it."""
        action = getattr(self._reader.machine, name, None)
        if action is None:
            raise TrickRefused(f"a reader of this protocol has no {name}")
        return action  # type: ignore[no-any-return]  # each protocol's terminal has its own

    def _play(self, name: str, asked: dict[str, Any]) -> None:
        tricks = self._tricks()
        if name not in tricks:
            raise TrickRefused(f"there is no trick {name!r}; known are {', '.join(sorted(tricks))}")
        tricks[name](asked)
        self._reader.poke()

    # --- HTTP ----------------------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
            async with asyncio.timeout(_REQUEST_S):
                status, answer = await self._answer(reader)
                body = json.dumps(answer).encode()
                writer.write(
                    f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
                    f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
                    + body
                )
                await writer.drain()
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[str, dict[str, Any]]:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request, *headers = head.split("\r\n")
        method, path, *_ = request.split(" ")
        lengths = [
            int(value)
            for name, _, value in (header.partition(":") for header in headers)
            if name.strip().lower() == "content-length"
        ]
        length = lengths[0] if lengths else 0
        if length > _LARGEST_BODY:
            return "413 Content Too Large", {"refused": "too long"}
        body = await reader.readexactly(length)
        try:
            if method == "POST":
                asked = json.loads(body or b"{}")
                self._play(path.strip("/"), asked if isinstance(asked, dict) else {})
            elif path != "/":
                raise TrickRefused(f"there is nothing at {path}")  # noqa: TRY301 (answered like the others)
        except (TrickRefused, ProtocolError, json.JSONDecodeError) as refused:
            return "400 Bad Request", {"refused": str(refused)}
        return "200 OK", self.books()
