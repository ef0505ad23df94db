"""Free ports on the loopback address, for servers that a test starts."""

from __future__ import annotations

import socket

LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """A TCP port that nothing listens on.

    Another process can take it before it is used. Where the server can bind port 0 and tell, let it.
    """
    with socket.socket() as probe:
        # Linux gives the same ephemeral port to nobody else while it is in TIME_WAIT, unless it may be reused.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def accepts_connections(port: int) -> bool:
    """Whether a server answers on the loopback port."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=0.5).close()
    except OSError:
        return False
    return True
