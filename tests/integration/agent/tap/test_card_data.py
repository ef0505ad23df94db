"""Card data and keys on an encrypting reader of a running agent: what must not pass does not, and is told of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from agent.clock import SystemClock
from agent.config import ReaderConfig
from agent.simulator.reader import SimulatedReader
from agent.simulator.script import terminal
from agent.simulator.sockets import PtySocket
from protocols.cloud.commands import AuthorizationAnswer
from protocols.cloud.events import AuthorizationAsk, DeviceEvent
from protocols.cloud.topics import Stream
from protocols.readers import emv, ksn
from protocols.readers.idtech_neo.peer import NeoTerminal
from tests.support.till import LateClock, Server, Till, opened
from tests.support.waiting import eventually_async


async def approve(ask: AuthorizationAsk) -> AuthorizationAnswer:
    return AuthorizationAnswer(
        session_id=ask.session_id, tap_id=ask.tap_id, status="approved", response_code="00"
    )


@asynccontextmanager
async def counter(folder: Path) -> AsyncIterator[tuple[Till, NeoTerminal]]:
    """An agent with one simulated reader on a real tty."""
    clock = LateClock()
    machine = cast(NeoTerminal, terminal("idtech_neo", "serial", SystemClock(), pace=0.02))
    simulated = SimulatedReader(machine, PtySocket(folder / "tty"), clock=clock)
    config = ReaderConfig(
        name="counter-1",
        profile="idtech-vp3300",
        address=simulated.socket.address,
        currency="EUR",
    )
    running = asyncio.create_task(simulated.run())
    try:
        till = Till(folder / "box", [], clock, Server(issuer=approve), configs=[config])
        async with opened(till) as ready:
            await eventually_async(lambda: _is_ready(ready))
            yield ready, machine
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _is_ready(till: Till) -> bool:
    return any(one.state == "ready" for one in till.readers.reported())


async def _is_locked(till: Till) -> bool:
    return any(one.state == "locked" for one in till.readers.reported())


async def _events(till: Till) -> list[DeviceEvent]:
    return [one for one in await till.told(Stream.EVENTS) if isinstance(one, DeviceEvent)]


async def test_a_key_number_that_comes_twice_is_told_of_even_after_a_restart_of_the_agent(
    tmp_path: Path,
) -> None:
    async with counter(tmp_path) as (till, _):
        till.receive(till.payment(minor=1200))
        await till.payment_of()
    # The simulated reader of the second run begins its life again, as one that was set back.
    async with counter(tmp_path) as (till, _):
        till.receive(till.payment("ts_0002", minor=1300), command_id="cmd_0002")
        await till.payment_of("ts_0002")

        (told,) = [one for one in await _events(till) if one.kind == "reader.ksn_repeated"]
        (ask,) = till.server.cards
        assert (told.severity, told.facts["counter"]) == ("error", "1")
        assert ksn.counter(ask.card.ksn) == 1


async def test_a_reader_that_does_not_encrypt_is_told_of_and_takes_nothing(tmp_path: Path) -> None:
    async with counter(tmp_path) as (till, machine):
        machine.control("clear_mode", 0.0)

        till.receive(till.payment(minor=1200))
        result = await till.payment_of()
        await eventually_async(lambda: _is_locked(till))

        assert result.outcome == "failed"
        assert till.server.cards == []
        assert machine.taps == 1
        assert "reader.clear_card_data" in [one.kind for one in await _events(till)]
        said = b"".join(payload for _, payload in till.sent).decode("latin-1")
        assert not emv.contains_card_number(said)
