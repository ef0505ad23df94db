"""Asking a device who it is: the two questions that a reader is asked anyhow, in a line that is closed afterwards.

No command that moves money, and nothing that lights or beeps, is ever part of it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent.errors import AgentError
from agent.readers.connecting import reader_for
from agent.readers.reader import ReaderState
from protocols.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from agent.clock import Clock
    from agent.readers.reader import ReaderStatus
    from firmware_profiles import ReaderProfile
    from protocols.readers.protocol import Identity

#: Opening, and two questions that are repeated once each.
_OPENING_S: Final = 6.0
_ANSWER_S: Final = 5.0
#: It speaks the protocol, whatever it says.
_TALKS: Final = frozenset({ReaderState.READY, ReaderState.LOCKED, ReaderState.BUSY})
_DENIES: Final = frozenset({ReaderState.UNIDENTIFIED, ReaderState.FAILING})


@dataclass(frozen=True, slots=True)
class Probed:
    """What came of asking. `identity` is None when it is not what the profile describes; `words` say why."""

    profile_id: str
    identity: Identity | None
    words: str
    is_silent: bool = False
    """It said nothing that the protocol knows; another profile of the same protocol would hear no more."""

    @property
    def is_confirmed(self) -> bool:
        """It is what the profile describes."""
        return self.identity is not None


async def ask_in_turn(
    profiles: Iterable[ReaderProfile], ask: Callable[[ReaderProfile], Awaitable[Probed]]
) -> list[Probed]:
    """Ask one profile's question after the other, until one is confirmed: that is the last of the answers then."""
    answers: list[Probed] = []
    silent: set[str] = set()
    for profile in profiles:
        if profile.protocol.name in silent:
            continue
        answer = await ask(profile)
        answers.append(answer)
        if answer.is_confirmed:
            break
        if answer.is_silent:
            silent.add(profile.protocol.name)
    return answers


async def probe(profile: ReaderProfile, address: str, *, currency: str, clock: Clock) -> Probed:
    """Ask once. Never raises what a device or a line does."""
    try:
        reader = reader_for(profile, address, currency=currency, clock=clock)
    except (AgentError, ProtocolError) as unsuitable:
        return Probed(profile.id, None, str(unsuitable))
    decided: asyncio.Future[ReaderStatus] = asyncio.get_running_loop().create_future()

    def look(status: ReaderStatus) -> None:
        is_closed = status.state is ReaderState.DISCONNECTED
        if (status.state in _TALKS | _DENIES or is_closed) and not decided.done():
            decided.set_result(status)

    reader.watch(look)
    running = asyncio.ensure_future(reader.run())
    patience_s = _OPENING_S + 2 * profile.timeout_s("response", _ANSWER_S)
    try:
        async with asyncio.timeout(patience_s):
            status = await decided
    except TimeoutError:
        return Probed(profile.id, None, f"no answer within {patience_s:.0f} s", is_silent=True)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    if status.state in _TALKS:
        return Probed(profile.id, status.identity, status.reason)
    is_silent = status.state is not ReaderState.UNIDENTIFIED
    return Probed(profile.id, None, status.reason or status.state.value, is_silent)
