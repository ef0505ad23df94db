"""The HTTP server: ends live streams before it drains, so that stopping takes no longer than a request."""

from __future__ import annotations

import signal
import socket
import sys
from types import FrameType

import uvicorn
from fastapi import FastAPI

from control_plane.parts import Parts

_DRAIN_S = 5


class Server(uvicorn.Server):
    """uvicorn, closing the live hub first: an open stream would keep it waiting for ever."""

    def __init__(self, config: uvicorn.Config, parts: Parts) -> None:
        super().__init__(config)
        self._parts = parts

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._parts.live.close()
        await super().shutdown(sockets)


def end_on_signals() -> None:
    """Let SIGTERM and SIGINT raise SystemExit, so that ``finally`` blocks run.

    Call it before anything is started. uvicorn catches the signals while it serves, then sends itself the one
    that it got, which by default would end the process on the spot.
    """

    def end(number: int, frame: FrameType | None) -> None:
        del number, frame
        sys.exit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)


def make_server(app: FastAPI, parts: Parts) -> Server:
    """A server for the address in the settings; ``run()`` blocks until a signal."""
    settings = parts.settings
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=True,
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_graceful_shutdown=_DRAIN_S,
        lifespan="off",
    )
    return Server(config, parts)
