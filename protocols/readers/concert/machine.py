"""The till's side of a Concert conversation: drives a terminal, without moving bytes or reading a clock.

``ConcertHost`` is a ``ReaderMachine``. How it reads the protocol where that leaves room:

- The request leaves once it is asked for with ENQ; it is sent again only when the terminal refused its frame with NAK,
  never after silence: then the answer is awaited as if it had been confirmed.
- Nothing tells what became of a payment whose answer did not come, so that is for a person with the terminal's
  duplicate ticket.
- Result 9, *not verified*, is no answer: it ends as ``LOST``.
- An answer counts for the running payment when cash desk and amount are its own. Any other becomes ``LateResult``.
- When both sides want to speak at once, the till yields if an answer is outstanding, and insists otherwise.
- There is no message that stops a payment: only the red key does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final

from protocols.errors import CommandNotPossible, MalformedMessage
from protocols.money import currency_number, currency_of_number
from protocols.readers.concert import messages
from protocols.readers.concert.frames import FrameStream, Message, Signal, encode_frame
from protocols.readers.protocol import (
    MONEY_COMMANDS,
    Abort,
    AskStatus,
    Connect,
    EndOfDay,
    Finished,
    LateResult,
    Outcome,
    PaymentFacts,
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
    UpdateSoftware,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from protocols.money import Money
    from protocols.readers.concert.messages import Answer

FRAMINGS: Final = ("serial",)
_NO_WORDS: Final[Mapping[type, str]] = {
    Abort: "this terminal cannot be stopped from the till; press the red key on it",
    RecallLast: "this terminal does not tell its last payment; look at its duplicate ticket",
    ReadTotals: "this terminal does not tell its totals; print them on it",
    EndOfDay: "this terminal closes its day by itself",
    Reverse: "this terminal takes no payment back by its number; refund the amount",
    UpdateSoftware: "this terminal's software is updated by its own host",
}


@dataclass(frozen=True, slots=True)
class ConcertConfig:
    """What a till must know about a terminal. Times in seconds."""

    currency: str = "EUR"
    cash_desk: str = "01"
    payment_mode: str = "1"
    """As in ``messages.MODES``."""
    private: str = ""
    """Up to ten characters that travel with each payment."""
    force_online: bool = False
    control_s: float = 3.0
    """Longest wait for a control byte or for the rest of a message."""
    result_s: float = 150.0
    """Longest wait for the end of a payment."""
    pause_s: float = 1.0
    """Before a terminal that was not ready is asked again."""
    tries: int = 3

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> ConcertConfig:
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
        names = ("control", "result", "pause")
        given |= {f"{name}_s": timeouts.pop(name) / 1000 for name in names if name in timeouts}
        if isinstance(given.get("currency"), int):
            given["currency"] = currency_of_number(given["currency"])
        unknown = sorted({*timeouts, *retries} | (given.keys() - cls.__dataclass_fields__.keys()))
        unknown += [str(quirk.get("action")) for quirk in quirks]
        if unknown:
            raise CommandNotPossible(
                "settings that Concert does not have", names=", ".join(unknown)
            )
        config = cls(**given)
        if len(config.cash_desk) != 2 or not config.cash_desk.isdecimal():
            raise CommandNotPossible("cash_desk is two digits", given=config.cash_desk)
        if config.payment_mode not in messages.MODES:
            raise CommandNotPossible(
                "no such payment_mode", known=", ".join(messages.MODES), given=config.payment_mode
            )
        return config


class _Phase(Enum):
    ASKING = auto()
    """ENQ is out; the terminal has not said that it listens."""
    PAUSING = auto()
    """It was not ready and is asked again in a moment."""
    TELLING = auto()
    """The request is out and not confirmed."""
    WAITING = auto()
    """The terminal has the request, and the link is turned round."""


class _Hearing(Enum):
    """What is awaited of a terminal that has something to say."""

    NOTHING = auto()
    MESSAGE = auto()
    END = auto()
    """Its EOT."""


@dataclass(slots=True)
class _Running:
    command: ReaderCommand
    body: bytes = field(repr=False)
    """Empty for a probe, which is ENQ, ACK, EOT."""
    phase: _Phase = _Phase.ASKING
    asked: int = 0
    told: int = 0
    was_refused: bool = False
    is_sent: bool = False
    """What the terminal is to confirm was handed out."""
    left: bool = False
    """The request was handed out."""
    answer: Answer | None = None

    @property
    def moves_money(self) -> bool:
        return isinstance(self.command, MONEY_COMMANDS)


class ConcertHost:
    """Drives one terminal. See the module for its reading of the protocol and ``ReaderMachine`` for its use."""

    def __init__(self, framing: str, config: ConcertConfig) -> None:
        if framing not in FRAMINGS:
            raise CommandNotPossible(
                "Concert has no such framing", framing=framing, known=", ".join(FRAMINGS)
            )
        self._config = config
        self._stream = FrameStream()
        self._out = bytearray()
        self._is_connected = False
        self._running: _Running | None = None
        self._deadline: float | None = None
        self._hearing = _Hearing.NOTHING
        self._hear_by: float | None = None
        self._refusals = 0
        #: A payment ended without its answer, which may still come.
        self._is_outstanding = False
        #: The answer that ended the last payment, to know it again when it is repeated.
        self._last_answer = b""

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
            if running.answer is not None:
                self._conclude(running.answer, events)
            elif running.left or not running.moves_money:
                self._lose(events, "the connection was lost")
            else:
                self._finish(events, Outcome.FAILED, text="the connection was lost before it began")
        self._stream.reset()
        self._out.clear()
        self._hearing = _Hearing.NOTHING
        self._hear_by = None
        self._is_connected = False
        return events

    def start(self, command: ReaderCommand, now: float) -> None:
        """Begin a command. Raises CommandNotPossible; nothing was sent then."""
        if (words := _NO_WORDS.get(type(command))) is not None:
            raise CommandNotPossible(words)
        if not self._is_connected:
            raise CommandNotPossible("the terminal is not connected")
        if self._running is not None or self._hearing is not _Hearing.NOTHING:
            raise CommandNotPossible("the terminal is in the middle of a message")
        self._running = _Running(command, self._body_of(command))
        if self._running.moves_money:
            self._last_answer = b""
        self._ask(now)

    def feed(self, received: bytes, now: float) -> Sequence[ReaderEvent]:
        """Take bytes as they come."""
        events: list[ReaderEvent] = []
        skipped = self._stream.skipped
        for frame in self._stream.feed(received):
            match frame:
                case Signal.ENQ:
                    self._called(now, events)
                case Signal.ACK:
                    self._confirmed(now, events)
                case Signal.NAK:
                    self._refused(now, events)
                case Signal.EOT:
                    self._ended(now, events)
                case Message():
                    self._heard(frame, now, events)
        if self._stream.skipped != skipped:
            events.append(QuirkSeen("noise_between_frames"))
        return events

    def expired(self, now: float) -> Sequence[ReaderEvent]:
        """The deadline has passed."""
        events: list[ReaderEvent] = []
        if self._hearing is not _Hearing.NOTHING:
            if self._hear_by is not None and now >= self._hear_by:
                self._stream.reset()
                self._not_heard(now, events)
            return events
        running = self._running
        if running is None or self._deadline is None or now < self._deadline:
            return events
        self._stream.reset()
        match running.phase:
            case _Phase.PAUSING:
                self._ask(now)
            case _Phase.ASKING:
                self._not_ready(now, events)
            case _Phase.TELLING:
                # It may have heard all the same, and then tells the end; nothing else would.
                events.append(QuirkSeen("request_not_confirmed"))
                self._say(Signal.EOT)
                running.phase = _Phase.WAITING
                self._deadline = now + self._config.result_s
            case _Phase.WAITING:
                self._lose(events, "the terminal did not tell the end of the payment in time")
        return events

    def outgoing(self) -> bytes:
        """Bytes to send now; they are handed out once."""
        out = bytes(self._out)
        self._out.clear()
        running = self._running
        if out and running is not None:
            running.is_sent = True
            running.left |= running.phase is _Phase.TELLING
        return out

    def deadline(self) -> float | None:
        """When ``expired`` wants to be called."""
        return self._deadline if self._hearing is _Hearing.NOTHING else self._hear_by

    def is_idle(self) -> bool:
        """True when a new command may be started."""
        return self._is_connected and self._running is None and self._hearing is _Hearing.NOTHING

    def wants_reconnect(self) -> bool:
        """Never: what a terminal has to say may come late on the same line."""
        return False

    # --- asking and telling ---

    def _body_of(self, command: ReaderCommand) -> bytes:
        match command:
            case Connect() | AskStatus():
                return b""
            case Purchase(amount):
                return self._request(amount, messages.DEBIT)
            case Refund(amount):
                return self._request(amount, messages.REFUND)
            case _:
                raise CommandNotPossible(
                    "this terminal has no such command", command=type(command).__name__
                )

    def _request(self, amount: Money, transaction: str) -> bytes:
        if not 0 < amount.minor <= messages.LARGEST_AMOUNT:
            raise CommandNotPossible(
                "an amount to pay is above zero and has eight digits at most", amount=str(amount)
            )
        config = self._config
        request = messages.Request(
            amount,
            config.cash_desk,
            config.payment_mode,
            transaction,
            config.private,
            authorization=messages.FORCE_ONLINE if config.force_online else messages.AS_CONFIGURED,
        )
        try:
            return messages.encode_request(request, currency_number(amount.currency))
        except MalformedMessage as error:
            raise CommandNotPossible(f"the terminal cannot be told this: {error.reason}") from error

    def _say(self, signal: Signal) -> None:
        self._out.append(signal)

    def _ask(self, now: float) -> None:
        running = self._running
        if running is None:
            return
        running.phase = _Phase.ASKING
        running.is_sent = False
        running.asked += 1
        self._say(Signal.ENQ)
        self._deadline = now + self._config.control_s

    def _tell(self, now: float) -> None:
        running = self._running
        if running is None:
            return
        running.phase = _Phase.TELLING
        running.is_sent = False
        running.told += 1
        self._out += encode_frame(running.body)
        self._deadline = now + self._config.control_s

    def _pause(self, running: _Running, now: float) -> None:
        running.phase = _Phase.PAUSING
        self._deadline = now + self._config.pause_s

    def _not_ready(self, now: float, events: list[ReaderEvent]) -> None:
        """No ACK came for our ENQ."""
        running = self._running
        if running is None:
            return
        self._say(Signal.EOT)
        if running.asked < self._config.tries:
            self._pause(running, now)
        elif running.was_refused:
            self._finish(events, Outcome.BUSY, text="the terminal is not ready")
        elif running.moves_money:
            self._finish(events, Outcome.FAILED, text="the terminal does not answer; nothing began")
        else:
            self._finish(events, Outcome.LOST, text="the terminal does not answer")

    # --- what comes ---

    def _confirmed(self, now: float, events: list[ReaderEvent]) -> None:
        running = self._running
        if running is None or not running.is_sent or self._hearing is not _Hearing.NOTHING:
            events.append(QuirkSeen("stray_acknowledgement"))
        elif running.phase is _Phase.ASKING and running.body:
            self._tell(now)
        elif running.phase is _Phase.ASKING:
            self._say(Signal.EOT)
            self._finish(events, Outcome.DONE, text="ready")
        elif running.phase is _Phase.TELLING:
            self._say(Signal.EOT)
            self._turn_round(running, now, events)
        else:
            events.append(QuirkSeen("stray_acknowledgement"))

    def _turn_round(self, running: _Running, now: float, events: list[ReaderEvent]) -> None:
        running.phase = _Phase.WAITING
        self._deadline = now + self._config.result_s
        events.append(Progress(Step.SENT, 0, "the terminal has taken the request"))

    def _refused(self, now: float, events: list[ReaderEvent]) -> None:
        running = self._running
        if running is None or not running.is_sent or self._hearing is not _Hearing.NOTHING:
            events.append(QuirkSeen("stray_refusal"))
        elif running.phase is _Phase.ASKING:
            running.was_refused = True
            self._not_ready(now, events)
        elif running.phase is not _Phase.TELLING:
            events.append(QuirkSeen("stray_refusal"))
        elif running.told < self._config.tries:
            self._tell(now)
        else:
            self._say(Signal.EOT)
            self._finish(
                events, Outcome.FAILED, text="the terminal refused the request; nothing began"
            )

    def _called(self, now: float, events: list[ReaderEvent]) -> None:
        """The terminal has something to say."""
        running = self._running
        phase = running.phase if running else None
        if phase is _Phase.ASKING and not self._is_outstanding:
            # It hears our ENQ, too, and gives way.
            events.append(QuirkSeen("collision"))
            return
        is_told = running is not None and running.left and phase is _Phase.TELLING
        if running is not None and is_told and not self._is_outstanding:
            # Its confirmation was lost.
            self._turn_round(running, now, events)
        self._say(Signal.ACK)
        self._hearing = _Hearing.MESSAGE
        self._refusals = 0
        self._hear_by = now + self._config.control_s

    def _heard(self, message: Message, now: float, events: list[ReaderEvent]) -> None:
        running = self._running
        is_waiting = running is not None and running.phase is _Phase.WAITING
        if self._hearing is _Hearing.NOTHING:
            events.append(QuirkSeen("message_without_enq"))
            if not is_waiting:
                return
        answer: Answer | None = None
        if message.is_sound:
            try:
                answer = messages.decode_answer(message.body)
            except MalformedMessage as error:
                events.append(QuirkSeen("malformed_message", error.reason))
        else:
            events.append(QuirkSeen("wrong_lrc"))
        self._hear_by = now + self._config.control_s
        if answer is None:
            self._hearing = _Hearing.MESSAGE
            self._not_heard(now, events)
            return
        self._say(Signal.ACK)
        self._hearing = _Hearing.END
        if answer.had_report:
            events.append(QuirkSeen("long_answer", "its card data were dropped"))
        self._take_answer(answer, message.body, events)

    def _take_answer(self, answer: Answer, body: bytes, events: list[ReaderEvent]) -> None:
        running = self._running
        seen = body[:12] + body[-13:]
        if seen == self._last_answer:
            events.append(QuirkSeen("result_repeated"))
            return
        self._last_answer = seen
        amount = getattr(running.command, "amount", None) if running else None
        is_ours = (
            running is not None
            and running.phase is _Phase.WAITING
            and answer.amount == amount
            and answer.cash_desk == self._config.cash_desk
        )
        if running is not None and is_ours:
            running.answer = answer
            return
        self._is_outstanding = False
        outcome, _ = messages.judged(answer.result)
        events.append(LateResult(self._payment_of(answer), outcome))

    def _not_heard(self, now: float, events: list[ReaderEvent]) -> None:
        """What the terminal wanted to say did not come, or not whole."""
        if self._hearing is _Hearing.END:
            events.append(QuirkSeen("eot_missing"))
            self._ended(now, events)
            return
        self._refusals += 1
        if self._refusals > self._config.tries:
            self._stop_hearing(now)
            return
        self._say(Signal.NAK)
        self._hear_by = now + self._config.control_s

    def _ended(self, now: float, events: list[ReaderEvent]) -> None:
        """The terminal gave the link back."""
        was_heard = self._hearing is _Hearing.END
        self._stop_hearing(now)
        running = self._running
        if was_heard and running is not None and running.answer is not None:
            self._conclude(running.answer, events)

    def _stop_hearing(self, now: float) -> None:
        was_hearing = self._hearing is not _Hearing.NOTHING
        self._hearing = _Hearing.NOTHING
        self._hear_by = None
        running = self._running
        if was_hearing and running is not None and running.phase is _Phase.ASKING:
            self._pause(running, now)

    # --- how commands end ---

    def _conclude(self, answer: Answer, events: list[ReaderEvent]) -> None:
        outcome, text = messages.judged(answer.result)
        self._finish(
            events, outcome, code=answer.result, text=text, payment=self._payment_of(answer)
        )

    def _payment_of(self, answer: Answer) -> PaymentFacts:
        is_ours = answer.private == self._config.private
        return PaymentFacts(
            result_code=answer.result,
            amount=answer.amount,
            authorization_code=None if is_ours else answer.private or None,
        )

    def _lose(self, events: list[ReaderEvent], why: str) -> None:
        running = self._running
        if running is not None and running.moves_money:
            self._is_outstanding = True
        self._finish(events, Outcome.LOST, text=why)

    def _finish(
        self,
        events: list[ReaderEvent],
        outcome: Outcome,
        *,
        code: int | None = None,
        text: str = "",
        payment: PaymentFacts | None = None,
    ) -> None:
        running = self._running
        if running is None:
            return
        self._running = None
        self._deadline = None
        if payment is not None:
            self._is_outstanding = False
        events.append(Finished(running.command, outcome, code=code, text=text, payment=payment))


def make_host(framing: str, settings: Mapping[str, Any]) -> ConcertHost:
    """For the registry: ``settings`` as in ``ConcertConfig.from_settings``."""
    return ConcertHost(framing, ConcertConfig.from_settings(settings))
