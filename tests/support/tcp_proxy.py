"""A cable between two programs that a test can cut, mend, and look at."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType

from tests.support.ports import LOOPBACK

_CHUNK = 64 * 1024


class TcpProxy:
    """Listens on ``port`` and passes bytes on to ``target`` and back, in a thread of its own.

    ``on_bytes(towards_target, data)`` sees what passes, in the proxy's thread, before it is passed on.
    """

    def __init__(
        self,
        target: int,
        *,
        target_host: str = LOOPBACK,
        on_bytes: Callable[[bool, bytes], None] | None = None,
    ) -> None:
        self.target = target
        self._target_host = target_host
        self._on_bytes = on_bytes
        self._loop = asyncio.new_event_loop()
        self._is_whole = True
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = self._loop.run_until_complete(
            asyncio.start_server(self._accept, LOOPBACK, 0)
        )
        self.port: int = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Connections break; new ones are accepted and never answered, as behind a dead router."""
        self._do(self._cut)

    def mend(self) -> None:
        """Let them through again."""
        self._do(self._mend)

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._writers) // 2

    def close(self) -> None:
        """End it."""
        self._do(self._end)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def __enter__(self) -> TcpProxy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _do(self, action: Callable[[], None]) -> None:
        async def run() -> None:
            action()

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

    def _cut(self) -> None:
        self._is_whole = False
        self._abort_all()

    def _mend(self) -> None:
        self._is_whole = True
        # Those that were accepted meanwhile wait for an answer that will not come.
        self._abort_all()

    def _end(self) -> None:
        self._server.close()
        self._abort_all()
        for task in self._tasks:
            task.cancel()

    def _abort_all(self) -> None:
        for writer in list(self._writers):
            self._abort(writer)

    def _abort(self, writer: asyncio.StreamWriter) -> None:
        # Without the usual farewell, so that both ends learn that the line broke.
        writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        writer.transport.abort()
        self._writers.discard(writer)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        if not self._is_whole:
            return
        try:
            onward = await asyncio.open_connection(self._target_host, self.target)
        except OSError:
            self._abort(writer)
            return
        self._writers.add(onward[1])
        for source, sink, towards_target in (
            (reader, onward[1], True),
            (onward[0], writer, False),
        ):
            task = self._loop.create_task(self._pass_on(source, sink, towards_target))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, towards_target: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(_CHUNK):
                if self._on_bytes is not None:
                    self._on_bytes(towards_target, data)
                sink.write(data)
                await sink.drain()
        sink.close()
        self._writers.discard(sink)
