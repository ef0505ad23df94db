"""The cable that tests cut."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.support.tcp_proxy import TcpProxy


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that says what it hears."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve_one(connection: socket.socket) -> None:
        with connection, contextlib.suppress(ConnectionResetError):
            while data := connection.recv(100):
                connection.sendall(data)

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=serve_one, args=[connection], daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield server.getsockname()[1]
    server.close()


def ask(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=5)
    connection.sendall(b"hello")
    return connection


def test_a_whole_cable_carries_both_ways_and_shows_what_passes(echo: int) -> None:
    seen: list[tuple[bool, bytes]] = []
    with (
        TcpProxy(echo, on_bytes=lambda *passed: seen.append(passed)) as cable,
        ask(cable.port) as line,
    ):
        assert line.recv(5) == b"hello"

    assert seen == [(True, b"hello"), (False, b"hello")]


def test_a_cut_breaks_what_is_open_and_swallows_what_comes(echo: int) -> None:
    with TcpProxy(echo) as cable, ask(cable.port) as line:
        line.recv(5)
        cable.cut()

        with pytest.raises(ConnectionResetError):
            line.recv(5)
        with ask(cable.port) as later:
            later.settimeout(0.2)
            with pytest.raises(TimeoutError):
                later.recv(5)


def test_a_mended_cable_carries_again(echo: int) -> None:
    with TcpProxy(echo) as cable:
        cable.cut()
        cable.mend()

        with ask(cable.port) as line:
            assert line.recv(5) == b"hello"


def test_a_target_that_is_not_there_breaks_the_line(echo: int) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with (
            TcpProxy(unused.getsockname()[1]) as cable,
            # Already while connecting, when the proxy is quicker.
            pytest.raises(ConnectionResetError),
            ask(cable.port) as line,
        ):
            line.recv(5)
