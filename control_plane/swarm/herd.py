"""Holds the connections of a swarm: one thread, one epoll, thousands of TLS sockets that cost little each."""

from __future__ import annotations

import contextlib
import heapq
import random
import selectors
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from control_plane.mqtt.wire import Packet, PacketReader, WireError
from control_plane.swarm.member import Member, Vice

#: As the agent: the first pause, then growing ones with a spread.
FIRST_RETRY_S: Final = 0.3
LONGEST_RETRY_S: Final = 60.0
#: A broker that does not take a connection within this is tried again.
_PATIENCE_S: Final = 30.0
#: Connections that are being opened at a time; a broker's queue of new ones is not endless.
_MOST_OPENING: Final = 400
_READ: Final = selectors.EVENT_READ
_WRITE: Final = selectors.EVENT_WRITE


class _Line:
    """One member's connection, as far as it is."""

    __slots__ = (
        "due_at",
        "member",
        "opened_at",
        "out",
        "reader",
        "retry_s",
        "sock",
        "stage",
        "wants",
    )

    def __init__(self, member: Member) -> None:
        self.member = member
        self.sock: socket.socket | None = None
        self.reader = PacketReader()
        self.out = bytearray()
        self.stage = "away"  # tcp, tls, mqtt, up
        self.wants = 0
        self.retry_s = FIRST_RETRY_S
        self.opened_at = 0.0
        self.due_at = 0.0


class Herd:
    """Runs members against one broker, until told to stop. `tls_for` makes the TLS context of a member."""

    def __init__(
        self,
        members: Sequence[Member],
        address: tuple[str, int],
        server_name: str,
        tls_for: Callable[[Member], ssl.SSLContext],
        *,
        connect_within_s: float = 30.0,
    ) -> None:
        self._lines = [_Line(member) for member in members]
        self._address = address
        self._server_name = server_name
        self._tls_for = tls_for
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, _Line]] = []
        self._numbers = iter(range(1 << 62))
        self._opening = 0
        self._queue: deque[_Line] = deque()
        self._random = random.Random()  # noqa: S311 (spreads the load)
        self.up = 0
        """Members that are connected."""
        self.connects = 0
        self.losses = 0
        self.troubles: dict[str, int] = {}
        """Why connections failed, and how often."""
        now = time.monotonic()
        for line in self._lines:
            self._at(now + self._random.uniform(0, connect_within_s), line)

    def run(self, until: float, keep_on: Callable[[], bool]) -> None:
        """Work until that moment of the monotonic clock, or until `keep_on` says no."""
        while (now := time.monotonic()) < until and keep_on():
            self._due(now)
            wait = min(until, self._timers[0][0] if self._timers else until) - time.monotonic()
            for key, events in self._selector.select(max(0.0, min(wait, 0.25))):
                self._ready(key.data, events)

    def close(self) -> None:
        """Say goodbye and close everything."""
        for line in self._lines:
            if line.stage == "up" and line.sock is not None:
                line.out += line.member.goodbye()
                self._flush(line)
            self._drop(line)
        self._selector.close()

    # --- time --------------------------------------------------------------------------------------------------

    def _at(self, when: float, line: _Line) -> None:
        line.due_at = when
        heapq.heappush(self._timers, (when, next(self._numbers), line))

    def _due(self, now: float) -> None:
        while self._timers and self._timers[0][0] <= now:
            when, _, line = heapq.heappop(self._timers)
            if when != line.due_at:
                continue
            if line.stage == "away":
                self._queue.append(line)
            elif line.stage == "up":
                self._tick(line, now)
            else:
                self._fail(line, "no answer in time")
        while self._queue and self._opening < _MOST_OPENING:
            self._open(self._queue.popleft())

    def _tick(self, line: _Line, now: float) -> None:
        if line.member.vice is Vice.FLAPPING and line.member.wants_to_drop(now):
            self._fail(line, "dropped by itself")
            return
        line.out += line.member.tick(now)
        self._at(max(line.member.next_at, now + 0.05), line)
        self._flush(line)

    # --- the connection ----------------------------------------------------------------------------------------

    def _open(self, line: _Line) -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._opening += 1
        line.sock, line.stage, line.reader = sock, "tcp", PacketReader()
        line.out.clear()
        line.opened_at = time.monotonic()
        self._at(line.opened_at + _PATIENCE_S, line)
        try:
            sock.connect(self._address)
        except BlockingIOError:
            pass
        except OSError as error:
            self._fail(line, error.strerror or "no connection")
            return
        line.wants = _WRITE
        self._selector.register(sock, _WRITE, line)

    def _ready(self, line: _Line, events: int) -> None:
        try:
            if line.stage == "tcp":
                self._shake(line)
            elif line.stage == "tls":
                self._shake_on(line)
            else:
                if events & _READ:
                    self._read(line)
                if line.sock is not None:
                    self._flush(line)
        except (ssl.SSLError, OSError, WireError) as error:
            self._fail(line, _reason(error))

    def _shake(self, line: _Line) -> None:
        sock = line.sock
        if sock is None:
            return
        if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise ConnectionError(code, "connection refused")
        self._selector.unregister(sock)
        line.sock = self._tls_for(line.member).wrap_socket(
            sock, server_hostname=self._server_name, do_handshake_on_connect=False
        )
        line.stage = "tls"
        line.wants = _READ | _WRITE
        self._selector.register(line.sock, line.wants, line)
        self._shake_on(line)

    def _shake_on(self, line: _Line) -> None:
        sock = line.sock
        if not isinstance(sock, ssl.SSLSocket):
            return
        try:
            sock.do_handshake()
        except ssl.SSLWantReadError:
            self._want(line, _READ)
            return
        except ssl.SSLWantWriteError:
            self._want(line, _WRITE)
            return
        line.stage = "mqtt"
        line.out += line.member.connect()
        self._flush(line)

    def _read(self, line: _Line) -> None:
        sock = line.sock
        while sock is not None and sock is line.sock:
            try:
                chunk = sock.recv(65_536)
            except (ssl.SSLWantReadError, BlockingIOError):
                return
            except ssl.SSLWantWriteError:
                self._want(line, _READ | _WRITE)
                return
            if not chunk:
                raise ConnectionError(0, "closed by the broker")
            now = time.monotonic()
            for packet in line.reader.feed(chunk):
                self._take(line, packet, now)

    def _take(self, line: _Line, packet: object, now: float) -> None:
        if isinstance(packet, Packet) and line.stage == "mqtt":
            if packet.kind != 2 or len(packet.body) < 2 or packet.body[1]:
                raise WireError(f"refused: {packet.body.hex()}")
            line.stage = "up"
            self._opening -= 1
            self.up += 1
            self.connects += 1
            line.retry_s = FIRST_RETRY_S
            line.out += line.member.connected(now)
            self._at(line.member.next_at, line)
            return
        line.out += line.member.take(packet, now)  # type: ignore[arg-type]  # the reader gives nothing else

    def _flush(self, line: _Line) -> None:
        sock = line.sock
        try:
            while line.out and sock is not None:
                del line.out[: sock.send(line.out)]
        except (ssl.SSLWantWriteError, BlockingIOError):
            self._want(line, _READ | _WRITE)
            return
        except ssl.SSLWantReadError:
            pass
        except OSError as error:
            self._fail(line, _reason(error))
            return
        self._want(line, _READ)

    def _want(self, line: _Line, wants: int) -> None:
        if line.sock is not None and line.wants != wants:
            line.wants = wants
            self._selector.modify(line.sock, wants, line)

    def _fail(self, line: _Line, why: str) -> None:
        if line.stage == "up":
            self.losses += 1
        self.troubles[why] = self.troubles.get(why, 0) + 1
        self._drop(line)
        pause = line.retry_s * self._random.uniform(0.5, 1.5)
        line.retry_s = min(LONGEST_RETRY_S, max(1.0, line.retry_s * 2))
        self._at(time.monotonic() + pause, line)

    def _drop(self, line: _Line) -> None:
        if line.stage == "up":
            self.up -= 1
            line.member.lost()
        elif line.stage != "away":
            self._opening -= 1
        line.stage = "away"
        line.wants = 0
        sock, line.sock = line.sock, None
        if sock is not None:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(sock)
            sock.close()


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return str(error.reason or error.strerror or "TLS").replace("_", " ").lower()[:80]
    if isinstance(error, OSError):
        return (error.strerror or type(error).__name__)[:80]
    return str(error)[:80]
