"""Ports on this machine."""

from __future__ import annotations

import socket


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def next_free(host: str, port: int, *, tries: int = 100) -> int:
    """The first free port from ``port`` on. Raises OSError when none of them is free."""
    for candidate in range(port, min(port + tries, 65_536)):
        if is_free(host, candidate):
            return candidate
    raise OSError(f"no port from {port} on is free on {host}")


def any_free(host: str) -> int:
    """A port that nothing listens on."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port
