"""A sale on a reader that only reads cards: the issuer decides, and nothing stays open whatever breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.clock import SystemClock
from agent.config import ReaderConfig
from agent.simulator.reader import SimulatedReader
from agent.simulator.script import terminal
from agent.simulator.sockets import PtySocket
from protocols.cloud.commands import AuthorizationAnswer
from protocols.cloud.events import AuthorizationAsk
from protocols.cloud.topics import Stream
from protocols.readers import emv
from tests.support.till import LateClock, Server, Till, opened
from tests.support.waiting import eventually_async

READERS = [("magtek_mms", "magtek-dynaprox"), ("idtech_neo", "idtech-vp3300")]
Issuer = Callable[[AuthorizationAsk], Awaitable[AuthorizationAnswer | None]]


def answer(
    ask: AuthorizationAsk, status: str, code: str = "", authorization: str = ""
) -> AuthorizationAnswer:
    return AuthorizationAnswer(
        session_id=ask.session_id,
        tap_id=ask.tap_id,
        status=status,  # type: ignore[arg-type]  # one of the four
        response_code=code,
        authorization_code=authorization,
    )


async def approve(ask: AuthorizationAsk) -> AuthorizationAnswer:
    return answer(ask, "approved", "00", "831000")


async def decline(ask: AuthorizationAsk) -> AuthorizationAnswer:
    return answer(ask, "declined", "51")


@asynccontextmanager
async def counter(
    folder: Path, protocol: str, profile: str, issuer: Issuer | None
) -> AsyncIterator[tuple[Till, SimulatedReader]]:
    """An agent with one encrypting reader on a real tty."""
    clock = LateClock()
    simulated = SimulatedReader(
        terminal(protocol, "serial", SystemClock(), script=None, pace=0.02),
        PtySocket(folder / "tty"),
        clock=clock,
    )
    config = ReaderConfig(
        name="counter-1", profile=profile, address=simulated.socket.address, currency="EUR"
    )
    running = asyncio.create_task(simulated.run())
    try:
        till = Till(folder / "box", [], clock, Server(issuer=issuer), configs=[config])
        async with opened(till) as ready:
            await eventually_async(lambda: is_ready(ready))
            yield ready, simulated
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def is_ready(till: Till) -> bool:
    return any(one.state == "ready" for one in till.readers.reported())


@pytest.mark.parametrize(("protocol", "profile"), READERS)
async def test_what_the_issuer_approves_is_a_sale(
    tmp_path: Path, protocol: str, profile: str
) -> None:
    async with counter(tmp_path, protocol, profile, approve) as (till, _):
        till.receive(till.payment(minor=1200))
        result = await till.payment_of()

        assert (result.outcome, result.amount_minor, result.decided_by) == (
            "approved",
            1200,
            "answer",
        )
        assert result.authorization_code == "831000"
        (ask,) = till.server.cards
        assert (ask.amount_minor, ask.currency, ask.session_id) == (1200, "EUR", "ts_0001")
        assert ask.card.format == protocol
        assert "authorizing" in await till.steps()
        said = b"".join(payload for _, payload in till.sent).decode("latin-1")
        assert not emv.contains_card_number(said)


@pytest.mark.parametrize(("protocol", "profile"), READERS)
async def test_what_the_issuer_declines_is_none(
    tmp_path: Path, protocol: str, profile: str
) -> None:
    async with counter(tmp_path, protocol, profile, decline) as (till, _):
        till.receive(till.payment(minor=1200))

        assert (await till.payment_of()).outcome == "declined"


@pytest.mark.parametrize(("protocol", "profile"), READERS)
async def test_without_an_answer_nothing_is_charged_and_the_reader_serves_the_next(
    tmp_path: Path, protocol: str, profile: str
) -> None:
    async with counter(tmp_path, protocol, profile, None) as (till, _):
        till.receive(till.payment(minor=1200))
        assert (await till.payment_of()).outcome in {"declined", "failed"}

        till.server.issuer = approve
        till.receive(till.payment("ts_0002", minor=1300), command_id="cmd_0002")

        assert (await till.payment_of("ts_0002")).outcome == "approved"


@pytest.mark.parametrize(("protocol", "profile"), READERS)
async def test_a_cable_pulled_before_the_issuer_answers_ends_as_failed(
    tmp_path: Path, protocol: str, profile: str
) -> None:
    async with counter(tmp_path, protocol, profile, None) as (till, simulated):

        async def pull(ask: AuthorizationAsk) -> AuthorizationAnswer:
            simulated.unplug()
            await eventually_async(lambda: is_gone(till))
            return answer(ask, "approved", "00")

        till.server.issuer = pull
        till.receive(till.payment(minor=1200))
        result = await till.payment_of()

        assert result.outcome == "failed"
        assert "taken back" in result.explanation
        assert [one.session_id for one in await till.payments()] == ["ts_0001"]


async def is_gone(till: Till) -> bool:
    return any(one.state == "disconnected" for one in till.readers.reported())


async def test_an_agent_that_dies_while_the_issuer_thinks_ends_it_as_failed(tmp_path: Path) -> None:
    thinking = asyncio.Event()

    async def think(_: AuthorizationAsk) -> AuthorizationAnswer | None:
        thinking.set()
        await asyncio.Event().wait()
        return None

    async with counter(tmp_path, "magtek_mms", "magtek-dynaprox", think) as (till, _):
        till.receive(till.payment(minor=1200))
        await thinking.wait()
    async with counter(tmp_path, "magtek_mms", "magtek-dynaprox", approve) as (till, _):
        result = await till.payment_of()

        assert (result.outcome, result.decided_by) == ("failed", "reader_status")
        assert till.server.cards == []
        told = await till.told(Stream.TRANSACTIONS)
        assert len(told) == 1
