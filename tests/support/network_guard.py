"""Keeps tests on this machine: any attempt to reach another address raises."""

from __future__ import annotations

import ipaddress
import sys
from typing import Any


class NetworkRefused(Exception):
    """A test tried to reach an address that is not this machine's own."""


def is_local(host: object) -> bool:
    """Whether a host, as given to the socket module, is this machine."""
    if isinstance(host, bytes):
        host = host.decode()
    if host is None or host in {"", "localhost"}:
        return True
    try:
        return ipaddress.ip_address(str(host).partition("%")[0]).is_loopback
    except ValueError:
        return False


def refuse_other_hosts(event: str, args: tuple[Any, ...]) -> None:
    """An audit hook: sees every connection made through Python's sockets, by whatever library."""
    if event == "socket.getaddrinfo":
        host = args[0]
    elif event in {"socket.connect", "socket.sendto", "socket.sendmsg"}:
        address = args[1]
        # Unix-domain addresses are paths; a connected socket sends to nobody in particular.
        if not isinstance(address, tuple):
            return
        host = address[0]
    else:
        return
    if not is_local(host):
        raise NetworkRefused(f"{event} to {host!r}: tests stay on this machine")


def install() -> None:
    """Guard this process for the rest of its life: an audit hook cannot be taken out."""
    sys.addaudithook(refuse_other_hosts)
