"""The till's side of an ECR17 conversation: drives a terminal, without moving bytes or reading a clock.

``Ecr17Host`` is a ``ReaderMachine``. How it reads the protocol where that leaves room:

- A request that may move money (and the closing of the session) is sent again only after the terminal refused its frame
  with NAK, never after silence: the terminal may have heard it. What ends without a result is ``LOST``, and ``G``
  (``RecallLast``) asks for the result again. Three NAKs are a refusal: nothing began.
- A result that comes twice, because our ACK was lost, is confirmed again and counts once, also on a new connection.
  A result that nobody waits for becomes ``LateResult``.
- ``receipt_number`` is the STAN, or for a pre-authorisation its own code, which ``Book`` names; ``trace_number`` is the
  online id, or the STAN. A reversal takes back the last payment only, and its card must be presented again.
- The terminal closes a TCP connection between two payments. That is no fault of anybody's.
- There is no message that stops a payment: only the red key does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final

from protocols.errors import CommandNotPossible, MalformedMessage
from protocols.money import Money, currency_of_number
from protocols.readers import emv
from protocols.readers.ecr17 import codes, messages
from protocols.readers.ecr17.frames import (
    Application,
    Frame,
    FrameStream,
    LrcMode,
    ProgressText,
    Signal,
    encode_frame,
    encode_signal,
)
from protocols.readers.protocol import (
    MONEY_COMMANDS,
    Abort,
    AskStatus,
    Book,
    CancelPreauthorization,
    CardFacts,
    Connect,
    EndOfDay,
    Finished,
    Identity,
    LateResult,
    Noticed,
    Outcome,
    PaymentFacts,
    Preauthorize,
    Printed,
    Progress,
    Purchase,
    QuirkSeen,
    ReaderCommand,
    ReaderEvent,
    ReadTotals,
    RecallLast,
    Refund,
    Reverse,
    Step,
    Totals,
    UpdateSoftware,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from protocols.readers.ecr17.messages import Message

FRAMINGS: Final = ("serial", "tcp")
#: Bad frames in a row that are asked for again.
_MOST_REFUSALS: Final = 3
_LONGEST_RECEIPT: Final = 500
_NO_WORDS: Final[Mapping[type, str]] = {
    Abort: "this terminal cannot be stopped from the till; press the red key on it",
    Refund: "this terminal takes back only its last payment; give the money back at the terminal or by the bank",
    CancelPreauthorization: "this terminal cannot release a reservation; it ends by itself, or close it with an amount",
    UpdateSoftware: "this terminal's software is updated by its own host; its status tells when an update waits",
}


@dataclass(frozen=True, slots=True)
class Ecr17Config:
    """What a till must know about a terminal. Times in seconds."""

    terminal_id: str = messages.ANY_TERMINAL
    """Eight digits; zeros address whichever terminal answers."""
    cash_register_id: str = "00000001"
    lrc_mode: LrcMode = LrcMode.STD
    currency: str = "EUR"
    receipts_to_till: bool = True
    """Ask for the receipt before each command that prints one; without it the terminal prints by itself."""
    extended: bool = False
    """Ask for the extended result, which tells the amount that was paid."""
    card_type: int = 0
    """Which cards are taken: 0 any, 1 debit, 2 credit, 3 other."""
    receipt_text: str = ""
    """Up to 128 characters for the receipt."""
    ack_s: float = 2.0
    """Longest wait for the confirmation of a frame."""
    answer_s: float = 15.0
    """Longest wait for an answer that the terminal knows by itself."""
    result_s: float = 90.0
    """Longest silence of a terminal that works on a payment or talks to its host."""
    pause_s: float = 0.2
    """Before a frame is sent again."""
    drain_s: float = 1.0
    """How long the next piece of a receipt may take after the result."""
    tries: int = 3

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Ecr17Config:
        """Read the ``[protocol]`` table of a reader profile. Raises CommandNotPossible for what means nothing."""
        given = dict(settings)
        timeouts = dict(given.pop("timeouts_ms", {}))
        retries = dict(given.pop("retries", {}))
        for name in ("name", "framing", "password"):
            given.pop(name, None)
        quirks = given.pop("quirks", ())
        if retries.pop("money_command", 0):
            raise CommandNotPossible(
                "a money command is never repeated; set retries.money_command to 0"
            )
        if "frame" in retries:
            given["tries"] = int(retries.pop("frame")) + 1
        names = ("ack", "answer", "result", "pause", "drain")
        given |= {f"{name}_s": timeouts.pop(name) / 1000 for name in names if name in timeouts}
        if isinstance(given.get("currency"), int):
            given["currency"] = currency_of_number(given["currency"])
        unknown = sorted({*timeouts, *retries} | (given.keys() - cls.__dataclass_fields__.keys()))
        unknown += [str(quirk.get("action")) for quirk in quirks]
        if unknown:
            raise CommandNotPossible("settings that ECR17 does not have", names=", ".join(unknown))
        try:
            given["lrc_mode"] = LrcMode(given.get("lrc_mode", LrcMode.STD))
        except ValueError:
            raise CommandNotPossible(
                "no such lrc_mode", given=given["lrc_mode"], known=", ".join(LrcMode)
            ) from None
        config = cls(**given)
        config.check()
        return config

    def check(self) -> None:
        """Raises CommandNotPossible for an id that no message can hold."""
        for name in (self.terminal_id, self.cash_register_id):
            if len(name) != 8 or not name.isdecimal():
                raise CommandNotPossible("terminal_id and cash_register_id are eight digits")


class _Phase(Enum):
    ASKED = auto()
    """A request was queued; the terminal has not confirmed it."""
    PAUSING = auto()
    """It is sent again in a moment."""
    ACCEPTED = auto()
    """The terminal confirmed the request and works on it."""
    PRINTING = auto()
    """The result is here; the receipt may follow."""


@dataclass(frozen=True, slots=True)
class _Request:
    """One message of a command. ``answers``: codes that end the wait; empty when the ACK is the whole answer."""

    payload: bytes = field(repr=False)
    answers: str
    wait_s: float
    is_harmless: bool
    """May be sent again after silence."""


@dataclass(slots=True)
class _Running:
    command: ReaderCommand
    requests: list[_Request]
    phase: _Phase = _Phase.ASKED
    tries: int = 0
    is_sent: bool = False
    """The present request was handed out since it was queued."""
    left: bool = False
    """A request was handed out that may have begun the command itself."""
    refusals: int = 0
    result: Message | None = None
    totals: Totals | None = None
    details: dict[str, str] = field(default_factory=dict)

    @property
    def request(self) -> _Request:
        return self.requests[0]

    @property
    def moves_money(self) -> bool:
        return isinstance(self.command, MONEY_COMMANDS)


class Ecr17Host:
    """Drives one terminal. See the module for its reading of the protocol and ``ReaderMachine`` for its use."""

    def __init__(self, framing: str, config: Ecr17Config) -> None:
        if framing not in FRAMINGS:
            raise CommandNotPossible(
                "ECR17 has no such framing", framing=framing, known=", ".join(FRAMINGS)
            )
        self._config = config
        self._is_tcp = framing == "tcp"
        self._stream = FrameStream(config.lrc_mode)
        self._out = bytearray()
        self._is_connected = False
        self._wants_reconnect = False
        self._running: _Running | None = None
        self._deadline: float | None = None
        self._receipt: list[str] = []
        #: What the terminal's clock showed last.
        self._today: date | None = None
        self._tells_update = False
        #: Questions that this terminal understands: a NAK to one of them only means *not now*.
        self._answered_before: set[type] = set()
        #: The last payment result that was taken, to know it again when it is repeated.
        self._last_result = b""

    # --- the driver's side ---

    def connected(self, now: float) -> Sequence[ReaderEvent]:
        """The transport is open."""
        events = list(self.disconnected(now)) if self._is_connected else []
        self._is_connected = True
        return events

    def disconnected(self, now: float) -> Sequence[ReaderEvent]:  # noqa: ARG002 - no timer is started
        """The transport is gone."""
        events: list[ReaderEvent] = []
        running = self._running
        if running is not None:
            if running.phase is _Phase.PRINTING:
                self._conclude(events)
            elif running.left:
                self._finish(events, Outcome.LOST, text="the connection was lost")
            else:
                self._finish(events, Outcome.FAILED, text="the connection was lost before it began")
        self._stream.reset()
        self._out.clear()
        self._receipt.clear()
        self._is_connected = False
        self._wants_reconnect = False
        return events

    def start(self, command: ReaderCommand, now: float) -> None:
        """Begin a command. Raises CommandNotPossible; nothing was sent then."""
        if (words := _NO_WORDS.get(type(command))) is not None:
            raise CommandNotPossible(words)
        if not self._is_connected:
            raise CommandNotPossible("the terminal is not connected")
        if self._running is not None:
            raise CommandNotPossible(
                "another command runs", running=type(self._running.command).__name__
            )
        try:
            requests = self._requests_for(command)
        except MalformedMessage as error:
            raise CommandNotPossible(
                f"the terminal cannot be told this: {error.reason}", **error.facts
            ) from error
        self._running = _Running(command, requests)
        self._receipt.clear()
        self._send(now)

    def feed(self, received: bytes, now: float) -> Sequence[ReaderEvent]:
        """Take bytes as they come."""
        events: list[ReaderEvent] = []
        skipped = self._stream.skipped
        for frame in self._stream.feed(received):
            self._take(frame, now, events)
        if self._stream.skipped != skipped:
            events.append(QuirkSeen("noise_between_frames"))
        return events

    def expired(self, now: float) -> Sequence[ReaderEvent]:
        """The deadline has passed."""
        events: list[ReaderEvent] = []
        running = self._running
        if running is None or self._deadline is None or now < self._deadline:
            return events
        # What began and did not go on is no frame any more.
        self._stream.reset()
        match running.phase:
            case _Phase.PAUSING:
                self._send(now)
            case _Phase.PRINTING:
                self._conclude(events)
            case _Phase.ACCEPTED:
                self._give_up(events, "the terminal began and did not end in time")
            case _Phase.ASKED if running.request.is_harmless and self._may_repeat(running):
                running.phase = _Phase.PAUSING
                self._deadline = now + self._config.pause_s
            case _Phase.ASKED:
                self._give_up(events, "the terminal did not answer")
        return events

    def outgoing(self) -> bytes:
        """Bytes to send now; they are handed out once."""
        out = bytes(self._out)
        self._out.clear()
        running = self._running
        if out and running is not None:
            running.is_sent = True
            running.left |= not (running.moves_money and running.request.is_harmless)
        return out

    def deadline(self) -> float | None:
        """When ``expired`` wants to be called."""
        return self._deadline

    def is_idle(self) -> bool:
        """True when a new command may be started."""
        return self._is_connected and self._running is None

    def wants_reconnect(self) -> bool:
        """True when the connection must be closed and opened anew."""
        return self._wants_reconnect

    # --- commands as requests ---

    def _requests_for(self, command: ReaderCommand) -> list[_Request]:
        config = self._config
        receipts = [self._ask("E", "", to_till="1")] if config.receipts_to_till else []
        match command:
            case Connect() | AskStatus():
                return [self._ask("s", "s")]
            case RecallLast():
                return [self._ask("G", "EVeicv", tags=0)]
            case ReadTotals():
                return [self._ask("T", "T", tags=0)]
            case EndOfDay():
                return [self._ask("T", "T", tags=0), *receipts, self._order("C", "C", tags=0)]
            case Purchase(amount) | Preauthorize(amount):
                is_reservation = isinstance(command, Preauthorize)
                code = "p" if is_reservation else "X" if config.extended else "P"
                payment = self._order(
                    code,
                    "e" if is_reservation else "EV",
                    tags=0,
                    card_in=0,
                    card_type=config.card_type,
                    amount=self._minor(amount),
                    text=config.receipt_text,
                )
                return [*receipts, payment]
            case Book(number, amount):
                closure = self._order(
                    "c",
                    "cv",
                    tags=0,
                    amount=self._minor(amount),
                    text=config.receipt_text,
                    preauthorization=number,
                )
                return [*receipts, closure]
            case Reverse(number):
                return [*receipts, self._order("S", "EV", stan=number, tags=0)]
            case _:
                raise CommandNotPossible(
                    "this terminal has no such command", command=type(command).__name__
                )

    def _ask(self, code: str, answers: str, **values: str | int) -> _Request:
        return self._request(code, answers, self._config.answer_s, is_harmless=True, **values)

    def _order(self, code: str, answers: str, **values: str | int) -> _Request:
        return self._request(code, answers, self._config.result_s, is_harmless=False, **values)

    def _request(
        self, code: str, answers: str, wait_s: float, *, is_harmless: bool, **values: str | int
    ) -> _Request:
        if "register" in {slot.name for slot in messages.REQUESTS[code]}:
            values["register"] = self._config.cash_register_id
        payload = messages.request(code, self._config.terminal_id, **values)
        return _Request(payload, answers, wait_s, is_harmless)

    def _minor(self, amount: Money) -> int:
        if amount.currency != self._config.currency:
            raise CommandNotPossible(
                f"this terminal works in {self._config.currency}", amount=str(amount)
            )
        if not 0 < amount.minor <= messages.LARGEST_AMOUNT:
            raise CommandNotPossible(
                "an amount to pay is above zero and below a million", amount=str(amount)
            )
        return amount.minor

    # --- sending ---

    def _send(self, now: float) -> None:
        running = self._running
        if running is None:
            return
        running.phase = _Phase.ASKED
        running.is_sent = False
        running.tries += 1
        self._out += encode_frame(running.request.payload, self._config.lrc_mode)
        self._deadline = now + self._config.ack_s

    def _may_repeat(self, running: _Running) -> bool:
        return running.tries < self._config.tries

    def _give_up(self, events: list[ReaderEvent], why: str) -> None:
        running = self._running
        if running is None:
            return
        self._wants_reconnect = self._is_tcp
        if running.moves_money and not running.left:
            self._finish(events, Outcome.FAILED, text=f"{why}; nothing began")
        else:
            self._finish(events, Outcome.LOST, text=why)

    # --- what comes ---

    def _take(self, frame: Frame, now: float, events: list[ReaderEvent]) -> None:
        running = self._running
        match frame:
            case ProgressText(text):
                if running is not None and running.phase is _Phase.ACCEPTED:
                    self._deadline = now + running.request.wait_s
                    events.append(Progress(codes.step_of(text), 0, text))
            case Signal(is_ack, is_sound):
                if not is_sound:
                    events.append(QuirkSeen("signal_with_wrong_lrc"))
                if is_ack:
                    # A confirmation is believed even if its check byte is wrong: the request must not be sent again.
                    self._confirmed(now, events)
                elif is_sound:
                    self._refused(now, events)
            case Application(_, False):
                events.append(QuirkSeen("wrong_lrc"))
                if running is None or running.refusals < _MOST_REFUSALS:
                    if running is not None:
                        running.refusals += 1
                    self._signal(is_ack=False)
            case Application(payload):
                if running is not None:
                    running.refusals = 0
                self._signal(is_ack=True)
                self._take_message(payload, now, events)

    def _signal(self, *, is_ack: bool) -> None:
        self._out += encode_signal(self._config.lrc_mode, is_ack=is_ack)

    def _confirmed(self, now: float, events: list[ReaderEvent]) -> None:
        running = self._running
        asked = {_Phase.ASKED, _Phase.PAUSING}
        if running is None or not running.is_sent or running.phase not in asked:
            events.append(QuirkSeen("stray_acknowledgement"))
            return
        if not running.request.answers:
            self._next_request(now)
            return
        running.phase = _Phase.ACCEPTED
        self._deadline = now + running.request.wait_s
        if running.moves_money:
            events.append(Progress(Step.SENT, 0, "the terminal has taken the command"))

    def _next_request(self, now: float) -> None:
        running = self._running
        if running is not None:
            running.requests.pop(0)
            running.tries = 0
            self._send(now)

    def _refused(self, now: float, events: list[ReaderEvent]) -> None:
        running = self._running
        if running is None or not running.is_sent or running.phase is not _Phase.ASKED:
            events.append(QuirkSeen("stray_refusal"))
        elif self._may_repeat(running):
            running.phase = _Phase.PAUSING
            # A question may have come while the terminal was not done with its last answer.
            patience = 5 if running.request.is_harmless else 1
            self._deadline = now + self._config.pause_s * patience
        elif not running.request.answers:
            # It prints its receipts by itself then.
            events.append(QuirkSeen("receipts_refused"))
            self._next_request(now)
        else:
            is_question = isinstance(running.command, RecallLast | ReadTotals | EndOfDay)
            if is_question and type(running.command) in self._answered_before:
                self._finish(events, Outcome.BUSY, text="the terminal does not answer this now")
                return
            self._finish(
                events,
                Outcome.UNSUPPORTED if is_question else Outcome.FAILED,
                text="the terminal refused the message; look at its terminal_id, cash register and lrc_mode",
            )

    def _take_message(self, payload: bytes, now: float, events: list[ReaderEvent]) -> None:
        try:
            message = messages.decode_response(payload)
        except MalformedMessage as error:
            events.append(QuirkSeen("malformed_message", error.reason))
            return
        running = self._running
        if message.code == "S":
            self._take_receipt(message, now, events)
        elif message.code == "U":
            events.append(QuirkSeen("tags_from_host"))
        elif self._is_answer(message, running):
            self._answered(message, payload, now, events)
        elif message.code not in messages.RESULTS:
            events.append(QuirkSeen("unexpected_message", message.code))
        elif payload == self._last_result:
            events.append(QuirkSeen("result_repeated"))
        else:
            self._last_result = payload
            outcome, _ = _judged(message)
            events.append(LateResult(self._payment_of(message), outcome))

    def _is_answer(self, message: Message, running: _Running | None) -> bool:
        if running is None or message.code not in running.request.answers:
            return False
        if running.phase is _Phase.ACCEPTED:
            return True
        # An answer whose confirmation was lost; a payment's may be that of an earlier one, and is not believed.
        return running.is_sent and not running.moves_money

    def _answered(
        self, message: Message, payload: bytes, now: float, events: list[ReaderEvent]
    ) -> None:
        running = self._running
        if running is None:
            return
        if running.moves_money:
            if payload == self._last_result and message.text("stan"):
                events.append(QuirkSeen("result_repeated"))
                return
            self._last_result = payload
        if message.code == "T" and len(running.requests) > 1:
            self._note_totals(message, running)
            self._next_request(now)
            return
        running.result = message
        running.phase = _Phase.PRINTING
        self._answered_before.add(type(running.command))
        prints = running.moves_money or message.code == "C"
        if prints and self._config.receipts_to_till:
            self._deadline = now + self._config.drain_s
        else:
            self._conclude(events)

    def _take_receipt(self, message: Message, now: float, events: list[ReaderEvent]) -> None:
        written = message.values.get("receipt", "")
        self._receipt.append(written)
        is_last = messages.RECEIPT_END in written
        running = self._running
        if running is not None and running.phase is _Phase.PRINTING:
            self._deadline = now + self._config.drain_s
        if is_last or len(self._receipt) >= _LONGEST_RECEIPT:
            events.extend(self._torn_off(complete=is_last))
        if is_last and running is not None and running.phase is _Phase.PRINTING:
            self._conclude(events)

    def _torn_off(self, *, complete: bool) -> list[Printed]:
        # A number may have been cut in two by its pieces.
        written = emv.redact_card_numbers("".join(self._receipt))
        lines = messages.printed_lines(written) if written else ()
        self._receipt.clear()
        while lines and not lines[-1]:
            lines = lines[:-1]
        return [Printed(lines, None, complete)] if lines else []

    # --- how commands end ---

    def _conclude(self, events: list[ReaderEvent]) -> None:
        """The result is known, and all that may follow it has come."""
        running = self._running
        message = running.result if running else None
        if running is None or message is None:
            return
        match message.code:
            case "s":
                self._conclude_status(message, running, events)
            case "T" | "C":
                self._conclude_totals(message, running, events)
            case _:
                self._conclude_payment(message, running, events)

    def _conclude_status(
        self, message: Message, running: _Running, events: list[ReaderEvent]
    ) -> None:
        code = message.number("status")
        outcome, text = codes.STATUSES.get(
            -1 if code is None else code, (Outcome.FAILED, "the terminal tells a status not known")
        )
        if (shown := messages.clock(message)) is not None:
            self._today = shown[0]
            running.details["reader_clock"] = f"{shown[0]:%Y%m%d} {shown[1]}00"
        waits = code == codes.UPDATE_PENDING
        if waits:
            running.details["software_update"] = "pending"
            if not self._tells_update:
                events.append(Noticed("restart_soon", "a software update waits on the terminal"))
        self._tells_update = waits
        releases = messages.releases(message)
        self._finish(
            events,
            Outcome.DONE if isinstance(running.command, Connect) else outcome,
            code=code,
            text=text,
            identity=Identity(
                terminal_id=message.terminal_id,
                software_version=";".join(releases) or None,
            ),
        )

    def _conclude_totals(
        self, message: Message, running: _Running, events: list[ReaderEvent]
    ) -> None:
        if message.result != codes.OK:
            reason = message.text("reason") or "the terminal did not close"
            self._finish(events, Outcome.FAILED, code=_number(message.result), text=reason)
            return
        if message.code == "C" and running.totals is not None:
            before = running.totals.total
            counted = message.number("total")
            if before is not None and counted is not None and before.minor != counted:
                running.details["terminal_total_before"] = str(before)
        self._note_totals(message, running)
        self._finish(events, Outcome.DONE, code=0, text="done", totals=running.totals)

    def _note_totals(self, message: Message, running: _Running) -> None:
        total, host = message.number("total"), message.number("host_total")
        if total is not None:
            money = Money(total, self._config.currency)
            running.totals = Totals((), money)
            running.details["terminal_total"] = str(money)
        if host is not None:
            running.details["host_total"] = str(Money(host, self._config.currency))
            running.details["totals_agree"] = "yes" if host == total else "no"

    def _conclude_payment(
        self, message: Message, running: _Running, events: list[ReaderEvent]
    ) -> None:
        outcome, text = _judged(message)
        is_recalled = isinstance(running.command, RecallLast)
        if is_recalled and message.result != codes.OK and message.text("stan") is None:
            said = message.text("reason")
            self._finish(
                events,
                Outcome.DONE,
                text=f"no transaction yet{f': {said}' if said else ''}",
            )
            return
        if message.code in "Vv":
            running.details |= _exchange_details(message)
        self._finish(
            events,
            outcome,
            code=_number(message.result),
            text=text,
            payment=self._payment_of(message),
        )

    def _payment_of(self, message: Message) -> PaymentFacts:
        at = messages.host_time(message, self._today)
        amount = message.number("amount")
        pan = message.text("pan")
        stan, online = message.number("stan"), message.number("online")
        reserved = message.number("preauthorization")
        type_name = codes.CARD_TYPES.get(message.values.get("card_type", ""))
        return PaymentFacts(
            result_code=_number(message.result),
            amount=Money(amount, self._config.currency) if amount else None,
            receipt_number=reserved or stan or None,
            trace_number=(stan if reserved else online) or None,
            terminal_id=message.terminal_id,
            authorization_code=message.text("authorization"),
            reader_date=at[0] if at else None,
            reader_time=at[1] if at else None,
            card=CardFacts(
                masked_pan=pan,
                last4=pan[-4:] if pan and pan[-4:].isdecimal() and len(pan) >= 4 else None,
                brand=type_name if pan else None,
                entry_mode=codes.ENTRY_MODES.get(message.values.get("entry", "")),
            ),
            additional_text=message.text("reason"),
        )

    def _finish(
        self,
        events: list[ReaderEvent],
        outcome: Outcome,
        *,
        code: int | None = None,
        text: str = "",
        payment: PaymentFacts | None = None,
        totals: Totals | None = None,
        identity: Identity | None = None,
    ) -> None:
        running = self._running
        if running is None:
            return
        self._running = None
        self._deadline = None
        events.extend(self._torn_off(complete=False))
        events.append(
            Finished(
                running.command,
                outcome,
                code=code,
                text=text,
                payment=payment,
                totals=totals,
                identity=identity,
                details=running.details,
            )
        )


def make_host(framing: str, settings: Mapping[str, Any]) -> Ecr17Host:
    """For the registry: ``settings`` as in ``Ecr17Config.from_settings``."""
    return Ecr17Host(framing, Ecr17Config.from_settings(settings))


def _judged(message: Message) -> tuple[Outcome, str]:
    """What a payment result says. One that the sheet does not know proves nothing."""
    outcome, text = codes.RESULTS.get(
        message.result, (Outcome.LOST, f"the terminal told the unknown result {message.result}")
    )
    said = message.text("reason")
    return outcome, f"{text}: {said}" if said else text


def _number(result: str) -> int | None:
    return int(result) if result.isdecimal() else None


def _exchange_details(message: Message) -> dict[str, str]:
    amount, decimals = message.number("exchange_amount"), message.number("decimals")
    rate = message.number("rate")
    letters = message.text("exchange_currency")
    if message.values.get("exchanged") != "1" or amount is None or letters is None:
        return {}
    digits = str(amount).rjust((decimals or 0) + 1, "0")
    cut = len(digits) - (decimals or 0)
    shown = digits[:cut] + (f".{digits[cut:]}" if decimals else "")
    details = {"exchange_amount": f"{shown} {letters}"}
    if rate:
        details["exchange_rate"] = f"{rate // 10_000}.{rate % 10_000:04d}"
    return details
