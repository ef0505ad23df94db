"""A host with the real transport in a process of its own, so that it can be put under a preloaded library.

JSON lines in: `open` (address, defaults), `write` (data), `read`, `close`; each is answered by one line.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from typing import Any

from agent.errors import TransportLost, TransportUnavailable
from agent.transports import Transport, transport_for


async def main() -> None:
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str] = asyncio.Queue()

    def listen() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(lines.put_nowait, line)
        loop.call_soon_threadsafe(lines.put_nowait, "")

    threading.Thread(target=listen, daemon=True).start()
    transport: Transport | None = None
    while line := await lines.get():
        asked = json.loads(line)
        answer: dict[str, Any] = {}
        try:
            match asked["do"]:
                case "open":
                    transport = transport_for(asked["address"], asked.get("defaults", {}))
                    await transport.open()
                case "write" if transport is not None:
                    await transport.write(bytes.fromhex(asked["data"]))
                case "read" if transport is not None:
                    answer["data"] = (await transport.read()).hex()
                case "close" if transport is not None:
                    await transport.close()
                    answer["threads"] = sum("usb" in one.name for one in threading.enumerate())
        except TransportUnavailable as error:
            answer = {"unavailable": error.reason.value, "message": error.message}
        except TransportLost as error:
            answer = {"lost": error.reason.value, "message": error.message}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    if transport is not None:
        await transport.close()


asyncio.run(main())
