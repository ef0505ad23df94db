"""Tries commands on one reader over the real transport: `drive_program PROFILE ADDRESS TITLE…`.

One JSON line out: each command's title and why it could not be done, empty when it was. Encrypting readers' cards are
approved. A payment that is to be stopped wants a reader at which nobody presents a card.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from dataclasses import replace

import structlog

from agent.errors import ReaderBusy
from agent.readers.connecting import reader_for
from agent.readers.reader import Reader, ReaderState
from firmware_profiles import load_profile
from protocols.readers.protocol import (
    Abort,
    Book,
    CancelPreauthorization,
    EndOfDay,
    Finished,
    InstallSoftware,
    IssuerAnswer,
    OnlineWanted,
    Outcome,
    Preauthorize,
    Progress,
    ReaderCommand,
    ReaderEvent,
    ReadTotals,
    RecallLast,
    Restart,
    Reverse,
    Step,
    UpdateSoftware,
)
from tests.support.protocol_coverage import COMMANDS, words_of
from tests.support.reader_cases import AMOUNT, PURCHASE
from tests.support.waiting import eventually_async

APPROVED = IssuerAnswer(approved=True, response_code="00", authorization_code="831000")
PATIENCE_S = 30.0
#: After these the reader is away for a moment.
GOES_AWAY = (Restart, InstallSoftware, UpdateSoftware)


async def main() -> None:
    """Try them one after the other; those after which the reader is away come last."""
    profile = load_profile(sys.argv[1])
    reader = reader_for(profile, sys.argv[2], currency="EUR")
    driving = asyncio.create_task(reader.run())
    said: dict[str, str] = {}
    titles = sorted(sys.argv[3:], key=lambda title: isinstance(COMMANDS[title], GOES_AWAY))
    try:
        for title in titles:
            command = COMMANDS[title]
            async with asyncio.timeout(PATIENCE_S):
                await reader.until(ReaderState.READY)
            said[title] = await _tried(reader, command)
    finally:
        driving.cancel()
        await asyncio.gather(driving, return_exceptions=True)
    sys.stdout.write(json.dumps(said) + "\n")


async def _tried(reader: Reader, command: ReaderCommand) -> str:
    if isinstance(command, Abort):
        return await _stopped(reader)
    return words_of(command, await _do(reader, await _after_what_it_needs(reader, command)))


async def _do(reader: Reader, command: ReaderCommand) -> Finished:
    def on_event(event: ReaderEvent) -> None:
        if isinstance(event, OnlineWanted):
            reader.resume(APPROVED)

    async def ended() -> Finished | None:
        with contextlib.suppress(ReaderBusy):
            return await reader.execute(command, on_event)
        return None

    async with asyncio.timeout(PATIENCE_S):
        finished = await eventually_async(ended, deadline_s=PATIENCE_S)
    assert finished is not None
    return finished


async def _after_what_it_needs(reader: Reader, command: ReaderCommand) -> ReaderCommand:
    if isinstance(command, Reverse | RecallLast | ReadTotals | EndOfDay):
        payment = (await _do(reader, PURCHASE)).payment
        if isinstance(command, Reverse):
            return replace(command, receipt_number=(payment and payment.receipt_number) or 1)
    if isinstance(command, Book | CancelPreauthorization):
        reserved = (await _do(reader, Preauthorize(AMOUNT))).payment
        return replace(command, receipt_number=(reserved and reserved.receipt_number) or 1)
    return command


async def _stopped(reader: Reader) -> str:
    """A payment is stopped as soon as the reader asks for the card."""

    def on_event(event: ReaderEvent) -> None:
        if isinstance(event, Progress) and event.step is Step.WAITING_FOR_CARD:
            reader.abort()
        elif isinstance(event, OnlineWanted):
            reader.resume(APPROVED)

    async with asyncio.timeout(PATIENCE_S):
        finished = await reader.execute(PURCHASE, on_event)
    return "" if finished.outcome is Outcome.CANCELLED else f"ended as {finished.outcome}"


structlog.configure(logger_factory=structlog.PrintLoggerFactory(file=sys.stderr))
with contextlib.suppress(KeyboardInterrupt):
    asyncio.run(main())
