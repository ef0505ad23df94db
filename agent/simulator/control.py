"""A small HTTP port on which people and tests look at a simulated reader and play tricks on it.

`GET /` is a page with buttons, `GET /state` the reader's own books as JSON, `POST /actions/NAME` does something: with
a JSON object it answers the books, from a form it leads back to the page. Loopback tool for simulators: no
authentication, one request a connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from agent.errors import AgentError
from agent.simulator.control_page import page
from protocols.errors import ProtocolError
from protocols.readers import registry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent.clock import Clock
    from agent.simulator.reader import SimulatedReader

_LARGEST_BODY: Final = 64 * 1024
_REQUEST_S: Final = 5.0
_COLUMNS: Final = (
    "kind",
    "state",
    "receipt",
    "trace",
    "amount_minor",
    "result",
    "date",
    "time",
)
_CHOICES: Final = {
    "script": "choose what happens to the next payment (name: one of the stories)",
    "fault": "let something go wrong (name: one of the faults)",
}
#: What each kind of transaction does to the reader's sum.
_SIGNS: Final = {"purchase": 1, "booking": 1, "refund": -1}


class TrickRefused(AgentError):
    """A request that the simulator does not understand."""

    code = "trick_refused"


@dataclass(frozen=True, slots=True)
class Trick:
    """Something that happens to a reader from outside, such as a pulled cable. ``says`` is one line of English."""

    says: str
    play: Callable[[], None]


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_form(self) -> bool:
        kind = self.headers.get("content-type", "")
        # curl and urllib call everything a form.
        is_json = self.body.lstrip().startswith(b"{")
        return kind.startswith("application/x-www-form-urlencoded") and not is_json


class Control:
    """Serves one simulated reader. ``tricks``: what its line can suffer besides a pulled cable."""

    def __init__(
        self,
        reader: SimulatedReader,
        clock: Clock,
        *,
        protocol: str,
        name: str = "",
        tricks: Mapping[str, Trick] | None = None,
    ) -> None:
        self._reader = reader
        self._clock = clock
        self._protocol = protocol
        self._name = name or protocol
        self._repertoire = registry.repertoire(protocol)
        self._tricks = {
            "unplug": Trick("pull the cable, or carry it out of the radio's range", reader.unplug),
            "plug": Trick("put the cable back, or bring it near again", reader.plug_in),
            **(tricks or {}),
        }
        self._said = ""
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

    def state(self) -> dict[str, Any]:
        """What can be done, and what the reader itself believes: every transaction, and what they come to."""
        snapshot = self._reader.machine.snapshot()
        transactions: Any = snapshot.get("transactions", [])  # each protocol keeps its own columns
        standing = [one for one in transactions if one["state"] == "done" and one["kind"] in _SIGNS]
        return {
            "name": self._name,
            "protocol": self._protocol,
            "address": self._reader.socket.address,
            "is_up": self._reader.is_up.is_set(),
            "said": self._said,
            "terminal_id": snapshot.get("terminal_id"),
            "count": len(standing),
            "sum_minor": sum(_SIGNS[one["kind"]] * one["amount_minor"] for one in standing),
            "transactions": [
                {name: one[name] for name in _COLUMNS if name in one} for one in transactions
            ],
            "actions": self.actions(),
            "scripts": dict(self._repertoire.scripts),
            "faults": dict(self._repertoire.faults),
        }

    def actions(self) -> dict[str, str]:
        """Name -> one line of English."""
        return {
            **_CHOICES,
            **self._repertoire.controls,
            **{name: trick.says for name, trick in self._tricks.items()},
        }

    def play(self, name: str, facts: Mapping[str, str]) -> str:
        """Do it; says in English what came of it. Raises TrickRefused, or ProtocolError when it does not fit now."""
        machine: Any = self._reader.machine  # what people do at it is no part of driving one
        chosen = facts.get("name", "")
        if trick := self._tricks.get(name):
            trick.play()
            self._said = trick.says
        elif name == "script":
            machine.queue_script(chosen)
            self._said = f"the next payment: {chosen}"
        elif name == "fault":
            machine.arm(chosen)
            self._said = f"from now on: {chosen}"
        elif name in self._repertoire.controls:
            self._said = machine.control(name, self._clock.elapsed(), **facts)
        else:
            raise TrickRefused(
                f"there is no action {name!r}; known are {', '.join(sorted(self.actions()))}"
            )
        self._reader.poke()
        return self._said

    # --- HTTP ----------------------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
            async with asyncio.timeout(_REQUEST_S):
                writer.write(self._answer(await _request(reader)))
                await writer.drain()
        writer.close()

    def _answer(self, request: _Request) -> bytes:
        match request.method, request.path.strip("/").split("/"):
            case "GET", [""]:
                language = request.headers.get("accept-language", "")[:2]
                return _response("200 OK", page(self.state(), language).encode(), "text/html")
            case "GET", ["state"]:
                return _json("200 OK", self.state())
            case "POST", ["actions", name]:
                return self._act(name, request)
            case _:
                return _json("404 Not Found", {"refused": f"there is nothing at {request.path}"})

    def _act(self, name: str, request: _Request) -> bytes:
        try:
            if request.is_form:
                facts = dict(parse_qsl(request.body.decode("utf-8", "replace")))
            else:
                asked = json.loads(request.body or b"{}")
                facts = (
                    {key: str(value) for key, value in asked.items()}
                    if isinstance(asked, dict)
                    else {}
                )
            self.play(name, facts)
        except (TrickRefused, ProtocolError, json.JSONDecodeError, TypeError) as refused:
            self._said = str(refused)
            if not request.is_form:
                return _json("400 Bad Request", {"refused": str(refused)})
        if request.is_form:
            return _response("303 See Other", b"", "text/plain", location="/")
        return _json("200 OK", self.state())


async def _request(reader: asyncio.StreamReader) -> _Request:
    """Raises ValueError for what is no request, or one that is too long."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *rest = head.split("\r\n")
    method, path, *_ = line.split(" ")
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (one.partition(":") for one in rest if one)
    }
    length = int(headers.get("content-length", "0"))
    if not 0 <= length <= _LARGEST_BODY:
        raise ValueError("too long")
    return _Request(method, path.partition("?")[0], headers, await reader.readexactly(length))


def _json(status: str, answer: Mapping[str, object]) -> bytes:
    return _response(status, json.dumps(answer).encode(), "application/json")


def _response(status: str, body: bytes, kind: str, *, location: str = "") -> bytes:
    more = f"Location: {location}\r\n" if location else ""
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}; charset=utf-8\r\n{more}"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode() + body
