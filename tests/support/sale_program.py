"""A till that sells on one reader over the real transport, as a process of its own: `sale_program.py PROFILE ADDRESS`.

JSON lines in: `{"sell": minor units}`. Lines out: `{"ready"}`, each step, then the outcome; what is unknown is asked
about until it is decided or patience ends. An encrypting reader's cards are approved by their issuer after a moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import threading

import structlog

from agent.payment import Baseline, PaymentDesk, PaymentRequest, PaymentStep, StillUnknown
from agent.readers.connecting import reader_for
from agent.readers.reader import ReaderState
from firmware_profiles import load_profile
from protocols.money import Money
from protocols.readers.protocol import IssuerAnswer, TapData
from tests.support.waiting import DeadlinePassed, eventually_async

PATIENCE_S = 25.0
ISSUER_S = 0.15
APPROVED = IssuerAnswer(approved=True, response_code="00", authorization_code="831000")


def say(**facts: object) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


async def main() -> None:
    profile = load_profile(sys.argv[1])
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str] = asyncio.Queue()

    def listen() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(lines.put_nowait, line)
        loop.call_soon_threadsafe(lines.put_nowait, "")

    threading.Thread(target=listen, daemon=True).start()
    reader = reader_for(profile, sys.argv[2], currency="EUR")
    driving = asyncio.create_task(reader.run())
    desk = PaymentDesk(reader, authorises=profile.can("authorises"))
    while line := await lines.get():
        await reader.until(ReaderState.READY)
        say(ready=True)
        await sell(desk, PaymentRequest(Money(int(json.loads(line)["sell"]), "EUR")))
    driving.cancel()
    await asyncio.gather(driving, return_exceptions=True)


async def sell(desk: PaymentDesk, request: PaymentRequest) -> None:
    kept = Baseline()
    asked = 0

    async def begin(baseline: Baseline) -> None:
        nonlocal kept
        kept = baseline
        say(step="begun")

    async def issuer(_: TapData, __: float) -> IssuerAnswer:
        nonlocal asked
        asked += 1
        say(step="issuer")
        with contextlib.suppress(TimeoutError):
            # Nothing is awaited: an issuer takes its time.
            await asyncio.wait_for(asyncio.Event().wait(), ISSUER_S)
        return APPROVED

    def on_step(step: PaymentStep) -> None:
        say(step=step.step)

    ended = await desk.take(request, on_begin=begin, on_step=on_step, authorize=issuer)

    async def decided() -> bool:
        nonlocal ended
        if isinstance(ended, StillUnknown):
            ended = await desk.settle(request, kept, on_step=on_step)
        return not isinstance(ended, StillUnknown)

    with contextlib.suppress(DeadlinePassed):
        await eventually_async(decided, PATIENCE_S)
    if isinstance(ended, StillUnknown):
        say(outcome="unknown", why=ended.reason, issuer=asked)
    else:
        say(outcome=ended.outcome, by=ended.decided_by, why=ended.explanation, issuer=asked)


structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
asyncio.run(main())
