"""How a guest shows what it proves: JSON lines, and a sale on the payment desk."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable

from agent.payment import Baseline, PaymentDesk, PaymentRequest, PaymentStep
from protocols.money import Money
from protocols.readers.protocol import IssuerAnswer, TapData

APPROVED = IssuerAnswer(approved=True, response_code="00", authorization_code="831000")
#: An emulated processor is some twenty times slower than a real one.
PATIENCE_S = 30.0


def say(**facts: object) -> None:
    sys.stdout.write(json.dumps({"at_s": round(time.monotonic(), 1), **facts}) + "\n")
    sys.stdout.flush()


def check(seen: object, wanted: object, what: str) -> None:
    if seen != wanted:
        raise AssertionError(f"{what}: {seen!r} instead of {wanted!r}")
    say(proved=what, seen=repr(seen))


async def until(state: Awaitable[object], name: str) -> None:
    await asyncio.wait_for(state, PATIENCE_S)
    say(reader=name)


async def sell(
    desk: PaymentDesk, at: str = "", strike: Callable[[], object] = lambda: None
) -> tuple[str, int]:
    """The outcome of a sale, and how often the issuer was asked. `strike` is called with its first step `at`."""
    waiting = [strike]
    asked = 0

    async def begin(_: Baseline) -> None:
        say(step="begun")

    async def issuer(_: TapData, __: float) -> IssuerAnswer:
        nonlocal asked
        asked += 1
        say(step="issuer")
        return APPROVED

    def on_step(step: PaymentStep) -> None:
        say(step=step.step)
        if step.step == at and waiting:
            waiting.pop()()

    ended = await desk.take(
        PaymentRequest(Money(1250, "USD")), on_begin=begin, on_step=on_step, authorize=issuer
    )
    return str(getattr(ended, "outcome", ended)), asked
