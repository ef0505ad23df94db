"""`omnitill-agent sale`: one payment on one reader, without any cloud."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.commandline import USAGE, add_command, complain, write_json

if TYPE_CHECKING:
    import argparse
    from collections.abc import Awaitable

    from agent.commandline import Subparsers
    from agent.payment import (
        Baseline,
        Decision,
        PaymentDesk,
        PaymentRequest,
        PaymentStep,
        StillUnknown,
    )
    from protocols.readers.protocol import IssuerAnswer, TapData

UNKNOWN = 3
EXIT_CODES = {"approved": 0, "declined": 1, "cancelled": 4, "failed": 5}
#: Pauses between two questions about a payment whose answer was lost.
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 10.0


def register(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers,
        "sale",
        run,
        summary="take one payment on one reader, without any cloud, to test it on the bench",
        example="""
omnitill-agent sale --profile generic-zvt-tcp --address tcp://192.168.1.50:20007 --amount 12.34 --currency EUR
omnitill-agent sale --profile generic-zvt-serial --address 'serial:///dev/ttyUSB0?baud=115200' --amount 0.01 \\
    --currency EUR --password 123456
omnitill-agent simulate ecr17 --tcp 127.0.0.1:10000
omnitill-agent sale --profile generic-ecr17-tcp --address tcp://127.0.0.1:10000 --amount 12.34 --currency EUR
omnitill-agent simulate concert --pty /tmp/ttyPOS
omnitill-agent sale --profile generic-concert-cdc --address serial:///tmp/ttyPOS --amount 12.34 --currency EUR
omnitill-agent simulate magtek_mms --profile magtek-dynaprox --pty /tmp/ttyCARD
omnitill-agent sale --profile magtek-dynaprox --address serial:///tmp/ttyCARD --amount 12.34 --currency EUR \\
    --authorize approve
omnitill-agent simulate idtech_neo --profile idtech-vp3300 --pty /tmp/ttyCARD
omnitill-agent sale --profile idtech-vp3300 --address serial:///tmp/ttyCARD --amount 12.34 --currency EUR \\
    --authorize approve""",
        notes="""Prints one JSON line for each step, and the outcome as the last one. Real money moves on a real reader.
A reader that only reads cards leaves the decision to a processor, which is not here: --authorize plays the card's
issuer, and only to a simulated reader, which seals with the example keys of the standards. Any other card is told that
nobody could be reached.
When the answer is lost the payment is never repeated: the reader is asked what became of it.
Ctrl-C asks the reader to stop and waits for what it says; a second one, or one while evidence is looked for, gives up.
Exit code: 0 approved, 1 declined, 2 line not understood, 3 unknown (the last line says why), 4 cancelled,
  5 failed (certainly nothing was charged).""",
    )
    parser.add_argument("--profile", required=True, metavar="ID", help="what kind of reader it is")
    parser.add_argument(
        "--address",
        required=True,
        help="tcp://HOST:PORT, serial:///dev/…, usb://VID:PID or ble://ADDRESS",
    )
    parser.add_argument("--amount", required=True, help="such as 12.34")
    parser.add_argument("--currency", required=True, help="three letters, such as EUR")
    parser.add_argument("--password", help="of the reader; without it the profile's default")
    parser.add_argument(
        "--authorize",
        choices=["approve", "decline"],
        help="what the card's issuer says, for a simulated reader that only reads cards",
    )
    parser.add_argument(
        "--timeout",
        type=int,
        metavar="SECONDS",
        help="how long the customer may take to present a card",
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=120,
        metavar="SECONDS",
        help="how long to connect, and to look for evidence after a lost answer (default 120)",
    )


def run(arguments: argparse.Namespace) -> int:
    import asyncio

    import structlog

    from agent.errors import AgentError
    from agent.payment import PaymentDesk, PaymentRequest
    from agent.readers.connecting import reader_for
    from firmware_profiles import ProfileError, load_profile
    from protocols.errors import ProtocolError
    from protocols.money import Money
    from protocols.secret import Secret

    # Standard output is for JSON lines; what the reader does is in the steps.
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    try:
        amount = Money.parse(arguments.amount, arguments.currency)
        if amount.minor <= 0:
            complain("the amount to pay is above zero, such as 12.34")
            return USAGE
        profile = load_profile(arguments.profile)
        password = Secret(arguments.password) if arguments.password else None
        request = PaymentRequest(amount, card_timeout_s=arguments.timeout)
        authorises = profile.can("authorises")
        if objection := _objection(profile.id, arguments.authorize, authorises=authorises):
            complain(objection)
            return USAGE
        issuer = _Issuer(approves=arguments.authorize == "approve")

        async def sale() -> int:
            reader = reader_for(
                profile, arguments.address, currency=amount.currency, password=password
            )
            desk = PaymentDesk(reader, authorises=authorises)
            return await _Sale(desk, request, issuer, arguments.patience).run()

        return asyncio.run(sale())
    except (AgentError, ProfileError, ProtocolError) as error:
        complain(str(error))
        return USAGE


def _objection(profile_id: str, authorize: str | None, *, authorises: bool) -> str:
    if authorises and authorize:
        return f"{profile_id} decides by itself; leave --authorize out"
    if not authorises and not authorize:
        return (
            f"{profile_id} only reads cards, and no processor is here; with a simulated reader say "
            "--authorize approve or --authorize decline"
        )
    return ""


class _Issuer:
    """Plays the issuer of cards that a simulated reader sealed; for any other card nobody can be reached."""

    def __init__(self, *, approves: bool) -> None:
        self._approves = approves

    async def authorize(self, tap: TapData, _within_s: float) -> IssuerAnswer:
        from protocols.readers.ksn import is_of_test_key
        from protocols.readers.protocol import NOBODY_REACHED, IssuerAnswer

        if not is_of_test_key(tap.ksn):
            write_json(
                {
                    "step": "not_authorized",
                    "text": "this reader has keys of its own, so it is no simulated one; nobody was asked",
                }
            )
            return NOBODY_REACHED
        return IssuerAnswer(
            approved=self._approves,
            response_code="00" if self._approves else "05",
            authorization_code="SIM001" if self._approves else "",
        )


class _Sale:
    """Runs one payment and tells about it."""

    def __init__(
        self, desk: PaymentDesk, request: PaymentRequest, issuer: _Issuer, patience_s: float
    ) -> None:
        import asyncio
        import time

        self._reader = desk.reader
        self._request = request
        self._issuer = issuer
        self._patience_s = patience_s
        self._desk = desk
        self._cancel = asyncio.Event()
        self._give_up = asyncio.Event()
        self._baseline: Baseline | None = None
        self._is_settling = False
        self._began = time.monotonic()

    async def run(self) -> int:
        """The exit code."""
        import asyncio
        import signal

        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._interrupted)
        driving = asyncio.ensure_future(self._reader.run())
        try:
            ended = await self._take()
        finally:
            driving.cancel()
            await asyncio.gather(driving, return_exceptions=True)
        return self._tell(ended)

    async def _take(self) -> Decision | StillUnknown:
        from agent.payment import Decision, StillUnknown
        from agent.readers.reader import ReaderState

        write_json({"step": "connecting", "address": self._reader.address})
        known = (ReaderState.READY, ReaderState.LOCKED, ReaderState.UNIDENTIFIED)
        await self._wait_for(self._reader.until(*known))
        status = self._reader.status
        if status.state is not ReaderState.READY:
            why = status.reason or f"the reader is {status.state.value}"
            cancelled = self._cancel.is_set()
            return Decision(
                "cancelled" if cancelled else "failed",
                self._request.amount,
                "not_begun",
                f"Nothing was sent: {why}.",
                cancel_asked=cancelled,
            )
        identity = status.identity
        named = {"terminal_id": identity.terminal_id, "software_version": identity.software_version}
        write_json({"step": "ready", **{name: text for name, text in named.items() if text}})
        ended = await self._desk.take(
            self._request,
            on_begin=self._begin,
            on_step=_tell_step,
            cancel=self._cancel,
            authorize=self._issuer.authorize,
        )
        return await self._settle(ended) if isinstance(ended, StillUnknown) else ended

    async def _settle(self, unknown: StillUnknown) -> Decision | StillUnknown:
        import time
        from dataclasses import replace

        from agent.payment import StillUnknown

        if self._baseline is None:
            return unknown
        self._is_settling = True
        ended: Decision | StillUnknown = unknown
        until, pause_s = time.monotonic() + self._patience_s, _FIRST_PAUSE_S
        while isinstance(ended, StillUnknown):
            write_json({"step": "unknown", "text": ended.reason})
            if ended.needs_person or self._give_up.is_set() or time.monotonic() >= until:
                return ended
            await self._wait_for(self._give_up.wait(), pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
            ended = await self._desk.settle(self._request, self._baseline, on_step=_tell_step)
        return replace(
            ended,
            receipt_lines=ended.receipt_lines or unknown.receipt_lines,
            merchant_receipt_lines=ended.merchant_receipt_lines or unknown.merchant_receipt_lines,
            cancel_asked=unknown.cancel_asked,
        )

    async def _begin(self, baseline: Baseline) -> None:
        import msgspec

        self._baseline = baseline
        write_json({"step": "begun", "baseline": msgspec.to_builtins(baseline)})

    async def _wait_for(self, awaited: Awaitable[object], seconds: float | None = None) -> None:
        """Wait until it comes, or patience ends, or the person gives up."""
        import asyncio

        waiting = asyncio.ensure_future(awaited)
        stopped = asyncio.ensure_future((self._give_up if self._baseline else self._cancel).wait())
        try:
            await asyncio.wait(
                (waiting, stopped),
                timeout=self._patience_s if seconds is None else seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            for task in (waiting, stopped):
                task.cancel()

    def _interrupted(self) -> None:
        if self._cancel.is_set() or self._is_settling:
            self._give_up.set()
        self._cancel.set()

    def _tell(self, ended: Decision | StillUnknown) -> int:
        import time

        from agent.payment import StillUnknown

        seconds = round(time.monotonic() - self._began, 3)
        amount = self._request.amount
        if isinstance(ended, StillUnknown):
            outcome: dict[str, object] = {"outcome": "unknown", "explanation": ended.reason}
            code = UNKNOWN
        else:
            facts, amount = ended.facts, ended.amount
            outcome = {
                "outcome": ended.outcome,
                "decided_by": ended.decided_by,
                "explanation": ended.explanation,
                "code": ended.code,
                "text": ended.text,
                "receipt_number": facts.receipt_number,
                "trace_number": facts.trace_number,
                "terminal_id": facts.terminal_id,
                "masked_pan": facts.card.masked_pan,
                "card_brand": facts.card.brand,
                "entry_mode": facts.card.entry_mode,
                "authorization_code": facts.authorization_code,
            }
            code = EXIT_CODES[ended.outcome]
        write_json(
            {
                **{name: value for name, value in outcome.items() if value not in (None, "")},
                "amount": str(amount.decimal()),
                "amount_minor": amount.minor,
                "currency": amount.currency,
                "cancel_asked": ended.cancel_asked,
                "receipt_lines": list(ended.receipt_lines),
                "merchant_receipt_lines": list(ended.merchant_receipt_lines),
                "seconds": seconds,
            }
        )
        return code


def _tell_step(step: PaymentStep) -> None:
    told = {"step": step.step, "code": step.code, "text": step.text}
    write_json({name: value for name, value in told.items() if value not in (None, "")})
