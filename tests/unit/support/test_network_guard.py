"""Tests cannot leave this machine."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tests.support.network_guard import NetworkRefused, is_local

# From the block that is reserved for documentation: nobody is there.
ELSEWHERE = "192.0.2.1"


def test_a_connection_to_another_machine_is_refused() -> None:
    with socket.socket() as client, pytest.raises(NetworkRefused, match=ELSEWHERE):
        client.connect((ELSEWHERE, 443))


def test_a_datagram_to_another_machine_is_refused() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as client, pytest.raises(NetworkRefused):
        client.sendto(b"hello", (ELSEWHERE, 53))


def test_a_name_is_not_even_looked_up() -> None:
    with pytest.raises(NetworkRefused, match="shop.example"):
        socket.getaddrinfo("shop.example", 443)


async def test_the_event_loop_is_guarded_as_well() -> None:
    with pytest.raises(NetworkRefused):
        await asyncio.open_connection(ELSEWHERE, 443)


def test_this_machine_is_reached() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(("localhost", server.getsockname()[1]), timeout=1) as client,
    ):
        assert client.getpeername()[0] == "127.0.0.1"


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.9.1", "::1", "localhost", "", None, b"127.0.0.2"]
)
def test_a_loopback_host_is_local(host: object) -> None:
    assert is_local(host)


@pytest.mark.parametrize("host", ["10.0.0.1", "192.168.1.1", "localhost.example", "::2", "0.0.0.0"])
def test_any_other_host_is_not(host: object) -> None:
    assert not is_local(host)
