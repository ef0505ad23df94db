"""The till's side of a ZVT conversation: drives a terminal, without moving bytes or reading a clock.

``ZvtHost`` is a ``ReaderMachine``. How it reads the protocol where that leaves room:

- A command is over with the terminal's 06 0F or 06 1E, or when a timer ran out or the connection ended. It is begun
  once; only the serial line repeats a frame, and only one that was not acknowledged.
- A money command is *approved* when 04 0F said 00 and 06 0F followed; *declined*, *cancelled* or *failed* when the
  terminal said so with a code; everything else, contradictions too, is ``LOST`` and must be decided by evidence
  (``RecallLast``, ``ReadTotals``). The 80 00 that answers 04 0F is final for the terminal; it is always given.
- Whatever the terminal says before it accepted the running command, or while none runs, belongs to an earlier one: it
  is answered, and a payment result in it becomes ``LateResult``.
- ``Abort`` asks the terminal to stop; it has no ``Finished`` of its own. Given before the terminal accepted the command
  it waits for that; given after 04 0F it is too late and does nothing.
- Software is handed over in the blocks that the terminal asks for (04 0C), one in memory at a time. The same block may
  be asked for a few times; what is not on offer is refused, and the terminal ends that as it likes. A connection that
  ends meanwhile, also because the terminal restarts, is ``LOST``: only its new version tells.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from protocols.errors import CommandNotPossible, MalformedMessage, MoneyMismatch
from protocols.money import Money, currency_number, currency_of_number
from protocols.readers import emv
from protocols.readers.protocol import (
    MONEY_COMMANDS,
    Abort,
    AskStatus,
    Book,
    BrandTotal,
    CancelPreauthorization,
    CardFacts,
    Connect,
    Diagnose,
    Disconnect,
    EndOfDay,
    Finished,
    Identity,
    Initialize,
    InstallSoftware,
    LateResult,
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
    Restart,
    Reverse,
    SetClock,
    ShowText,
    SoftwareFile,
    Step,
    Totals,
    TransferProgress,
    UpdateSoftware,
)
from protocols.readers.zvt import bitmaps, codes, messages, tlv
from protocols.readers.zvt.link import (
    Arrived,
    Delivered,
    Link,
    LinkEvent,
    NotDelivered,
    Oddity,
    TcpLink,
)
from protocols.readers.zvt.messages import Message, PrintedText
from protocols.readers.zvt.serial_link import SerialLink
from protocols.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from protocols.readers.zvt.apdu import Apdu
    from protocols.readers.zvt.bitmaps import Fields

FRAMINGS: Final = ("serial", "tcp")
#: A receipt that grows beyond this is handed over in pieces.
_LONGEST_RECEIPT: Final = 500
_LONGEST_CARD_WAIT_S: Final = 255
#: A block and what stands around it must fit into one message.
_LARGEST_BLOCK: Final = 0xFFFF - 64
#: A frame must be through before T2 is over, at 9600 baud too.
_LARGEST_SERIAL_BLOCK: Final = 2048

#: What a quirk of a profile may ask for, and what is done then.
QUIRKS: Final[Mapping[str, str]] = {
    "decode_by_request": "asks for device details (0F A1) with each status, whose answer is bare text",
    "plain_status_enquiry": "asks for the status (05 01) without a service byte",
    "capability_off": "nothing is done here; the capability it names is not counted on",
}


@dataclass(frozen=True, slots=True)
class ZvtConfig:
    """What a till must know about a terminal. Times in seconds, named as in the specification."""

    password: Secret[str]
    """Six digits."""
    currency: str = "EUR"
    config_byte: int = 0xBE
    """What the till takes over (06 00): BE = receipts as print lines or blocks, intermediate status, no menus."""
    service_byte: int | None = None
    tlv: bool = True
    """Allow the terminal to send TLV containers and print blocks."""
    charset: str = "cp437"
    prints: bool = True
    """False answers print messages with *printer not ready*."""
    t1_s: float = 0.2
    """Longest pause between two bytes of a frame."""
    t2_s: float = 5.0
    """Longest wait for the acknowledgement of a frame."""
    t3_s: float = 5.0
    """Longest wait for the answer to a command."""
    t4_s: float = 180.0
    """Longest silence of a terminal that works on a command."""
    frame_repeats: int = 2
    block_max: int = 32_768
    """Largest piece of a file that is handed over at once, in bytes."""
    repeat_same_offset_max: int = 3
    """How often in a row the terminal may ask for the same piece again."""
    quirks: frozenset[str] = frozenset()
    """Names of ``QUIRKS``."""

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> ZvtConfig:
        """Read the ``[protocol]`` table of a reader profile, with ``password`` as ``Secret``.

        Raises CommandNotPossible for an unknown key, a missing password, or a repeated money command.
        """
        given = dict(settings)
        timeouts = dict(given.pop("timeouts_ms", {}))
        retries = dict(given.pop("retries", {}))
        given.pop("name", None)
        given.pop("framing", None)
        if retries.pop("money_command", 0):
            raise CommandNotPossible(
                "a money command is never repeated; set retries.money_command to 0"
            )
        if "frame" in retries:
            given["frame_repeats"] = retries.pop("frame")
        given |= {
            f"{name}_s": timeouts.pop(name) / 1000
            for name in ("t1", "t2", "t3", "t4")
            if name in timeouts
        }
        given["quirks"] = _quirks(given.get("quirks", ()))
        if isinstance(given.get("currency"), int):
            given["currency"] = currency_of_number(given["currency"])
        unknown = sorted({*timeouts, *retries} | (given.keys() - cls.__dataclass_fields__.keys()))
        if unknown:
            raise CommandNotPossible("settings that ZVT does not have", names=", ".join(unknown))
        if not isinstance(given.get("password"), Secret):
            raise CommandNotPossible("ZVT needs the terminal's password, six digits, as a secret")
        return cls(**given)


def _quirks(stated: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """The actions of a profile's quirks, without what stands behind a colon. Raises CommandNotPossible."""
    actions = frozenset(str(quirk.get("action", "")).partition(":")[0] for quirk in stated)
    if unknown := sorted(actions - QUIRKS.keys()):
        raise CommandNotPossible(
            "quirks that ZVT does not have", names=", ".join(unknown), known=", ".join(QUIRKS)
        )
    return actions


class _Phase(Enum):
    ASKED = auto()
    """The command was handed to the link; the terminal has not answered it."""
    ACCEPTED = auto()
    """The terminal works on it and speaks when it likes."""


@dataclass(slots=True)
class _Running:
    command: ReaderCommand
    control: int
    encoded: bytes = field(repr=False)
    t3_s: float
    t4_s: float
    phase: _Phase = _Phase.ASKED
    left: bool = False
    status: Fields | None = None
    abort_wanted: bool = False
    abort_sent: bool = False
    details: dict[str, str] = field(default_factory=dict)
    fitness: Finished | None = None
    """What the status said, while the details of the device are asked for."""
    handover: _Handover | None = None

    @property
    def moves_money(self) -> bool:
        return isinstance(self.command, MONEY_COMMANDS)


class _BlockRefused(Exception):
    """The terminal asks for something that is not on offer."""


@dataclass(slots=True)
class _Handover:
    """Files that the terminal fetches."""

    files: Mapping[int, SoftwareFile]
    reached: dict[int, int] = field(default_factory=dict)
    last: tuple[int, int] | None = None
    repeats: int = 0

    @classmethod
    def of(cls, files: Sequence[SoftwareFile]) -> _Handover:
        """Raises CommandNotPossible when two have the same number, or there are none."""
        by_number = {file.number: file for file in files}
        if not files or len(by_number) != len(files):
            raise CommandNotPossible("a terminal takes one or more files, each with its own id")
        return cls(by_number)

    def block(self, wanted: messages.BlockWanted, block_max: int) -> bytes:
        """Raises _BlockRefused."""
        file = self.files.get(wanted.number)
        if file is None or wanted.offset > file.size:
            raise _BlockRefused("file_block_unknown")
        place = (wanted.number, wanted.offset)
        self.repeats = self.repeats + 1 if place == self.last else 0
        self.last = place
        room = block_max if wanted.longest is None else min(block_max, wanted.longest - 64)
        length = min(max(room, 1), file.size - wanted.offset)
        block = file.read(wanted.offset, length)
        if len(block) != length:
            raise _BlockRefused("file_unreadable")
        self.reached[wanted.number] = max(
            self.reached.get(wanted.number, 0), wanted.offset + length
        )
        return block

    def progress(self) -> TransferProgress:
        return TransferProgress(
            sum(self.reached.values()), sum(file.size for file in self.files.values())
        )


@dataclass(slots=True)
class _Paper:
    """Lines of the receipt that is being printed."""

    lines: list[str] = field(default_factory=list)
    kind: int | None = None

    def add(self, printed: PrintedText) -> list[Printed]:
        """Receipts, or pieces of a long one, that are ready now."""
        ready: list[Printed] = []
        # Only a block is of one kind for certain; single lines of a customer copy came marked as merchant's.
        if printed.is_block and self.lines and printed.receipt_kind not in {None, self.kind}:
            ready += self.tear_off(complete=True)
        if self.kind is None or printed.is_block:
            self.kind = printed.receipt_kind or self.kind
        self.lines += printed.lines
        if printed.is_last or len(self.lines) >= _LONGEST_RECEIPT:
            ready += self.tear_off(complete=printed.is_last)
        return ready

    def tear_off(self, *, complete: bool) -> list[Printed]:
        lines, kind = tuple(self.lines), self.kind
        self.lines.clear()
        if complete:
            self.kind = None
        return [Printed(lines, codes.RECEIPT_KINDS.get(kind or 0), complete)] if lines else []


class ZvtHost:
    """Drives one terminal. See the module for its reading of the protocol and ``ReaderMachine`` for its use."""

    def __init__(self, framing: str, config: ZvtConfig) -> None:
        if framing not in FRAMINGS:
            raise CommandNotPossible(
                "ZVT has no such framing", framing=framing, known=", ".join(FRAMINGS)
            )
        self._config = config
        self._is_tcp = framing == "tcp"
        self._link: Link = (
            TcpLink()
            if self._is_tcp
            else SerialLink(t1_s=config.t1_s, t2_s=config.t2_s, repeats=config.frame_repeats)
        )
        self._is_connected = False
        self._wants_reconnect = False
        self._running: _Running | None = None
        self._deadline: float | None = None
        self._paper = _Paper()
        #: The money command that ended without the terminal's last word, until that word or the next command.
        self._lost: ReaderCommand | None = None
        self._late_result: Fields | None = None

    # --- the driver's side ---

    def connected(self, now: float) -> Sequence[ReaderEvent]:
        """The transport is open."""
        events = list(self.disconnected(now)) if self._is_connected else []
        self._link.reset()
        self._is_connected = True
        self._wants_reconnect = False
        return events

    def disconnected(self, now: float) -> Sequence[ReaderEvent]:  # noqa: ARG002 - no timer is started
        """The transport is gone."""
        events: list[ReaderEvent] = []
        running = self._running
        if running is not None:
            if not running.left:
                self._finish(
                    events,
                    Outcome.FAILED,
                    text="the connection was lost before the command was sent",
                )
            elif isinstance(running.command, Disconnect) or (
                isinstance(running.command, Restart) and running.phase is _Phase.ACCEPTED
            ):
                self._finish(events, Outcome.DONE, text="the terminal closed the connection")
            else:
                self._lose(events, "the connection was lost")
        self._link.reset()
        self._is_connected = False
        return events

    def start(self, command: ReaderCommand, now: float) -> None:
        """Begin a command. Raises CommandNotPossible; nothing was sent then."""
        if isinstance(command, Abort):
            self._start_abort(now)
            return
        if not self._is_connected:
            raise CommandNotPossible("the terminal is not connected")
        if self._running is not None:
            raise CommandNotPossible(
                "another command runs", running=type(self._running.command).__name__
            )
        try:
            message = _message_for(command, self._config)
            encoded = message.encode()
        except MalformedMessage as error:
            raise CommandNotPossible(
                f"the terminal cannot be told this: {error.reason}", **error.facts
            ) from error
        handover = _Handover.of(command.files) if isinstance(command, InstallSoftware) else None
        waits = command.card_timeout_s if isinstance(command, Purchase) else None
        t3_s = max(self._config.t3_s, float(waits or 0))
        self._running = _Running(
            command, message.control, encoded, t3_s, self._config.t4_s, handover=handover
        )
        self._handle(self._link.send(encoded, now), now, [])

    def feed(self, received: bytes, now: float) -> Sequence[ReaderEvent]:
        """Take bytes as they come."""
        events: list[ReaderEvent] = []
        self._handle(self._link.feed(received, now), now, events)
        return events

    def expired(self, now: float) -> Sequence[ReaderEvent]:
        """The deadline has passed."""
        events: list[ReaderEvent] = []
        self._handle(self._link.expired(now), now, events)
        running = self._running
        if running is not None and self._deadline is not None and now >= self._deadline:
            accepted = running.phase is _Phase.ACCEPTED
            self._lose(
                events,
                "the terminal began and did not end in time"
                if accepted
                else "the terminal did not answer",
            )
            # On TCP the sequence ends with its connection; a serial line stays, and may bring the result late.
            self._wants_reconnect = self._is_tcp
        return events

    def outgoing(self) -> bytes:
        """Bytes to send now; they are handed out once."""
        out = self._link.outgoing()
        if out and self._running is not None and not self._link.has_unsent():
            self._running.left = True
        return out

    def deadline(self) -> float | None:
        """When ``expired`` wants to be called."""
        return min(
            (at for at in (self._deadline, self._link.deadline()) if at is not None), default=None
        )

    def is_idle(self) -> bool:
        """True when a new command may be started."""
        return self._is_connected and self._running is None

    def wants_reconnect(self) -> bool:
        """True when the connection must be closed and opened anew."""
        return self._wants_reconnect

    # --- what the link brings ---

    def _handle(
        self, link_events: Iterable[LinkEvent], now: float, events: list[ReaderEvent]
    ) -> None:
        for event in link_events:
            match event:
                case Arrived(apdu):
                    self._receive(apdu, now, events)
                case Delivered(message):
                    running = self._running
                    if running and message is running.encoded and running.phase is _Phase.ASKED:
                        self._deadline = now + running.t3_s
                case NotDelivered():
                    self._not_delivered(event, events)
                case Oddity(name):
                    events.append(QuirkSeen(name))

    def _not_delivered(self, event: NotDelivered, events: list[ReaderEvent]) -> None:
        running = self._running
        if running is None or event.message is not running.encoded:
            # Some terminals lose acknowledgements and go on: the terminal's own silence decides, by T4.
            events.append(QuirkSeen("answer_not_acknowledged", event.reason))
            return
        self._wants_reconnect = True
        if event.left:
            self._lose(events, f"the terminal did not take the command: {event.reason}")
        else:
            self._finish(events, Outcome.FAILED, text=f"the line is dead: {event.reason}")

    def _receive(self, apdu: Apdu | None, now: float, events: list[ReaderEvent]) -> None:
        if apdu is None:
            events.append(QuirkSeen("malformed_message"))
            self._answer(messages.negative(codes.PROTOCOL_ERROR), now)
            return
        running = self._running
        accepted = running is not None and running.phase is _Phase.ACCEPTED
        message = messages.decode_message(
            apdu,
            answering=running.control if running and accepted else None,
            charset=self._config.charset,
        )
        events.extend(
            QuirkSeen(quirk, f"{message.control:04X}") for quirk in dict.fromkeys(message.quirks)
        )
        if apdu.is_answer:
            self._take_answer(message, now, events)
        elif running is not None and accepted:
            self._take_word(message, running, now, events)
        else:
            self._take_late_word(message, now, events)

    def _take_answer(self, message: Message, now: float, events: list[ReaderEvent]) -> None:
        running = self._running
        if running is None or running.phase is _Phase.ACCEPTED:
            if running is not None and running.abort_sent:
                running.abort_sent = False
                return
            events.append(QuirkSeen("stray_answer", f"{message.control:04X}"))
            return
        if message.error != codes.WAIT:
            # The terminal is free for a new command, so an earlier one has no more to say.
            self._lost = self._late_result = None
        if not message.is_positive:
            if running.fitness is not None:
                # It has no such details, or is not in the mood: the status counts.
                self._settle_fitness(running.fitness, events)
            else:
                self._refused(message, events)
            return
        if running.control not in messages.COMPLETED_LATER:
            self._finish(events, Outcome.DONE)
            return
        running.phase = _Phase.ACCEPTED
        self._deadline = now + running.t4_s
        if running.moves_money:
            events.append(Progress(Step.SENT, 0, "the terminal has taken the command"))
        if running.abort_wanted:
            self._send_abort(running, now)

    def _refused(self, message: Message, events: list[ReaderEvent]) -> None:
        code = message.number("result_code") or message.error or codes.SYSTEM_ERROR
        outcome = _plain_outcome(code)
        details = {"currency": str(message.head["currency"])} if "currency" in message.head else {}
        self._finish(
            events, outcome, code=code, text=_with_vendor_text(code, message), details=details
        )

    def _take_word(
        self, message: Message, running: _Running, now: float, events: list[ReaderEvent]
    ) -> None:
        """The terminal speaks while it works on the running command."""
        self._deadline = now + running.t4_s
        match message.control:
            case messages.INTERMEDIATE_STATUS:
                minutes = messages.minutes_of(message)
                if minutes is not None:
                    running.t4_s = minutes * 60.0
                    self._deadline = now + running.t4_s
                events.append(_progress(message))
                self._answer(messages.positive(), now)
            case messages.STATUS_INFORMATION:
                running.status = message.fields
                self._answer(messages.positive(), now)
            case messages.COMPLETION:
                self._answer(messages.positive(), now)
                self._completed(message, running, now, events)
            case messages.ABORTED:
                self._answer(messages.positive(), now)
                self._aborted(message, running, events)
            case messages.SET_TILL_CLOCK:
                running.details |= _clock_details(message.fields)
                self._answer(messages.positive(), now)
            case messages.FILE_BLOCK_WANTED if running.handover is not None:
                self._hand_over(message, running.handover, now, events)
            case _:
                self._take_request(message, now, events)

    def _hand_over(
        self, message: Message, handover: _Handover, now: float, events: list[ReaderEvent]
    ) -> None:
        """A piece of a file, or why there is none."""
        config = self._config
        wanted = messages.block_wanted(message) or messages.BlockWanted(-1, 0, None)
        try:
            largest = _LARGEST_BLOCK if self._is_tcp else _LARGEST_SERIAL_BLOCK
            block = handover.block(wanted, min(config.block_max, largest))
        except _BlockRefused as refused:
            events.append(QuirkSeen(str(refused)))
            self._answer(messages.negative(codes.NOT_POSSIBLE), now)
            return
        if handover.repeats > config.repeat_same_offset_max:
            self._lose(events, "the terminal asks for the same piece of a file again and again")
            self._wants_reconnect = True
            return
        self._answer(messages.file_block(wanted.number, wanted.offset, block), now)
        if not handover.repeats:
            events.append(handover.progress())

    def _take_late_word(self, message: Message, now: float, events: list[ReaderEvent]) -> None:
        """The terminal speaks about a command that is over, or one of somebody before us."""
        match message.control:
            case messages.INTERMEDIATE_STATUS | messages.SET_TILL_CLOCK:
                self._answer(messages.positive(), now)
            case messages.STATUS_INFORMATION:
                self._answer(messages.positive(), now)
                self._late_status(message.fields, events)
            case messages.COMPLETION | messages.ABORTED:
                self._answer(messages.positive(), now)
                events.extend(self._paper.tear_off(complete=True))
                code = message.number("result_code")
                if self._lost is not None and self._late_result is None and code:
                    facts = PaymentFacts(
                        result_code=code, amount=getattr(self._lost, "amount", None)
                    )
                    events.append(LateResult(facts, codes.outcome_of(code)))
                self._lost = None
            case _:
                self._take_request(message, now, events)

    def _late_status(self, fields: Fields, events: list[ReaderEvent]) -> None:
        result = fields.number(bitmaps.RESULT)
        if result is None or bitmaps.TOTALS in fields or fields == self._late_result:
            return
        self._late_result = fields
        events.append(LateResult(_payment_facts(fields, self._config), codes.outcome_of(result)))

    def _take_request(self, message: Message, now: float, events: list[ReaderEvent]) -> None:
        control = message.control
        if control in {messages.PRINT_LINE, messages.PRINT_BLOCK}:
            if not self._config.prints:
                self._answer(messages.negative(codes.PRINTER_NOT_READY), now)
                return
            events.extend(self._paper.add(messages.printed_text(message)))
            self._answer(messages.positive(), now)
        elif control in messages.MODEM_REQUESTS:
            self._answer(messages.negative(codes.NO_ANSWER), now)
        else:
            events.append(QuirkSeen("unsupported_request", f"{control:04X}"))
            self._answer(messages.negative(codes.NOT_POSSIBLE), now)

    def _answer(self, message: Message, now: float) -> None:
        self._link.send(message.encode(), now)

    # --- abort ---

    def _start_abort(self, now: float) -> None:
        running = self._running
        if running is None:
            raise CommandNotPossible("no command runs that could be stopped")
        running.abort_wanted = True
        if running.phase is _Phase.ACCEPTED:
            self._send_abort(running, now)

    def _send_abort(self, running: _Running, now: float) -> None:
        if running.status is None and not running.abort_sent:
            running.abort_sent = True
            self._link.send(messages.abort().encode(), now)

    # --- how commands end ---

    def _completed(
        self, message: Message, running: _Running, now: float, events: list[ReaderEvent]
    ) -> None:
        if running.fitness is not None:
            running.details |= _device_details(message)
            self._settle_fitness(running.fitness, events, _identity(message))
            return
        fields = running.status or message.fields
        result = fields.number(bitmaps.RESULT)
        running.details |= _clock_details(message.fields)
        if running.moves_money:
            if result is None:
                self._lose(events, "the terminal ended without telling the result")
            else:
                self._finish_payment(events, running, result, message)
            return
        status = message.number("terminal_status")
        if status is not None:
            running.details |= _status_details(message)
            fitness = Finished(
                running.command,
                codes.fitness_of(status),
                code=status,
                text=codes.terminal_status_text(status),
                identity=_identity(message),
            )
            if "decode_by_request" in self._config.quirks and status != codes.WAIT:
                self._ask_details(running, fitness, now, events)
            else:
                self._settle_fitness(fitness, events)
            return
        if result and not isinstance(running.command, RecallLast):
            self._finish(
                events, _plain_outcome(result), code=result, text=_with_vendor_text(result, message)
            )
            return
        if running.status is None and isinstance(running.command, RecallLast | ReadTotals):
            # No news is no evidence: it must not look like a terminal without payments.
            self._finish(events, Outcome.FAILED, text="the terminal told nothing")
            return
        if isinstance(running.command, Connect):
            running.details |= _registration_details(message.fields)
        payment = self._recalled(running)
        self._finish(
            events,
            codes.outcome_of(result) if payment and result is not None else Outcome.DONE,
            code=result,
            payment=payment,
            totals=self._reckoned(running),
            identity=_identity(message),
        )

    def _ask_details(
        self, running: _Running, fitness: Finished, now: float, events: list[ReaderEvent]
    ) -> None:
        """Before a status enquiry ends, the vendor's own question."""
        message = messages.device_details()
        running.fitness, running.phase = fitness, _Phase.ASKED
        running.control, running.encoded = message.control, message.encode()
        self._handle(self._link.send(running.encoded, now), now, events)

    def _settle_fitness(
        self, fitness: Finished, events: list[ReaderEvent], more: Identity | None = None
    ) -> None:
        self._finish(
            events,
            fitness.outcome,
            code=fitness.code,
            text=fitness.text,
            identity=_joined(fitness.identity, more),
        )

    def _aborted(self, message: Message, running: _Running, events: list[ReaderEvent]) -> None:
        if running.fitness is not None:
            self._settle_fitness(running.fitness, events)
            return
        code = message.number("result_code") or 0
        if "currency" in message.head:
            running.details["currency"] = str(message.head["currency"])
        if not running.moves_money:
            outcome = _plain_outcome(code) if code else Outcome.FAILED
            self._finish(events, outcome, code=code, text=_with_vendor_text(code, message))
            return
        said = running.status.number(bitmaps.RESULT) if running.status else None
        if said == codes.APPROVED or not code:
            self._lose(
                events,
                "the terminal approved and then stopped"
                if code
                else "the terminal stopped with 00",
            )
        else:
            self._finish_payment(events, running, said or code, message)

    def _finish_payment(
        self, events: list[ReaderEvent], running: _Running, code: int, message: Message
    ) -> None:
        self._finish(
            events,
            codes.outcome_of(code),
            code=code,
            text=_with_vendor_text(code, message),
            payment=_payment_facts(running.status, self._config) if running.status else None,
        )

    def _recalled(self, running: _Running) -> PaymentFacts | None:
        if isinstance(running.command, RecallLast) and running.status is not None:
            return _payment_facts(running.status, self._config)
        return None

    def _reckoned(self, running: _Running) -> Totals | None:
        if isinstance(running.command, ReadTotals | EndOfDay) and running.status is not None:
            return _totals(running.status, self._config)
        return None

    def _lose(self, events: list[ReaderEvent], why: str) -> None:
        running = self._running
        if running is None:
            return
        if running.moves_money:
            self._lost = running.command
            self._late_result = None
        status = running.status
        payment = _payment_facts(status, self._config) if running.moves_money and status else None
        self._finish(
            events,
            Outcome.LOST,
            code=payment.result_code if payment else None,
            text=why,
            payment=payment,
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
        details: Mapping[str, str] | None = None,
    ) -> None:
        running = self._running
        if running is None:
            return
        self._running = None
        self._deadline = None
        if not text and code is not None:
            text = codes.result_text(code)
        events.extend(self._paper.tear_off(complete=outcome is not Outcome.LOST))
        events.append(
            Finished(
                running.command,
                outcome,
                code=code,
                text=text,
                payment=payment,
                totals=totals,
                identity=identity,
                details=running.details | dict(details or {}),
            )
        )


def make_host(framing: str, settings: Mapping[str, Any]) -> ZvtHost:
    """For the registry: ``settings`` as in ``ZvtConfig.from_settings``."""
    return ZvtHost(framing, ZvtConfig.from_settings(settings))


# --- commands as messages --------------------------------------------------------------------------------------


def _message_for(command: ReaderCommand, config: ZvtConfig) -> Message:
    password = config.password
    match command:
        case Connect():
            return messages.registration(
                password,
                config_byte=config.config_byte,
                currency=currency_number(config.currency),
                service_byte=config.service_byte,
                objects=tlv.PRINT_BLOCKS_WANTED if config.tlv else None,
            )
        case Disconnect():
            return messages.log_off()
        case AskStatus():
            if "plain_status_enquiry" in config.quirks or not config.tlv:
                return messages.status_enquiry(password)
            return messages.status_enquiry(password, service_byte=messages.WITH_DEVICE)
        case Purchase(amount, card_timeout_s):
            timeout_s = min(card_timeout_s, _LONGEST_CARD_WAIT_S) if card_timeout_s else None
            return messages.authorization(*_payable(amount), timeout_s=timeout_s)
        case Refund(amount):
            return messages.refund(password, *_payable(amount))
        case Reverse(receipt, amount):
            return messages.reversal(
                password, receipt, *(_payable(amount) if amount else (None, None))
            )
        case Preauthorize(amount):
            return messages.preauthorization(*_payable(amount))
        case Book(receipt, amount, partial):
            book = messages.book_partial if partial else messages.book_total
            return book(receipt, *_payable(amount))
        case CancelPreauthorization(receipt, amount):
            return messages.cancel_preauthorization(
                receipt, *(_payable(amount) if amount else (None, None))
            )
        case RecallLast():
            return messages.repeat_receipt(
                password, service_byte=messages.WITH_STATUS | messages.WITHOUT_PRINT
            )
        case ReadTotals():
            return messages.read_totals(password)
        case EndOfDay():
            return messages.end_of_day(password)
        case Diagnose():
            return messages.diagnosis()
        case Initialize():
            return messages.initialization(password)
        case Restart():
            return messages.reset()
        case ShowText(lines, seconds):
            return messages.display_text(lines, seconds=seconds, charset=config.charset)
        case SetClock(at):
            return messages.set_clock(password, at)
        case UpdateSoftware():
            return messages.software_update()
        case InstallSoftware(files):
            return messages.write_files(password, [(file.number, file.size) for file in files])
        case Abort():
            return messages.abort()
        case _:
            raise CommandNotPossible("ZVT has no such command", command=type(command).__name__)


def _payable(amount: Money) -> tuple[int, int]:
    if amount.minor <= 0:
        raise CommandNotPossible("an amount to pay is above zero", amount=str(amount))
    return amount.minor, currency_number(amount.currency)


# --- messages as facts -----------------------------------------------------------------------------------------


def _plain_outcome(code: int) -> Outcome:
    """What a code means for a command that was refused, or that moves no money."""
    if code == codes.NOT_POSSIBLE:
        return Outcome.UNSUPPORTED
    outcome = codes.outcome_of(code)
    return outcome if outcome in {Outcome.CANCELLED, Outcome.BUSY} else Outcome.FAILED


def _with_vendor_text(code: int, message: Message) -> str:
    objects = message.fields.objects
    said = emv.find(objects, tlv.VENDOR_TEXT)
    text = codes.result_text(code)
    if said is None:
        return text
    return f"{text}: {tlv.text(said, tlv.charset_of(objects, message.fields.charset))}"


def _progress(message: Message) -> Progress:
    code = message.number("intermediate_status") or 0
    text = messages.display_texts(message) or codes.intermediate_text(code)
    return Progress(codes.step_of(code), code, text)


def _payment_facts(fields: Fields, config: ZvtConfig) -> PaymentFacts:
    objects = fields.objects
    trace = fields.number(bitmaps.TRACE)
    return PaymentFacts(
        result_code=fields.number(bitmaps.RESULT),
        amount=_money(fields.number(bitmaps.AMOUNT), fields, config),
        receipt_number=fields.number(bitmaps.RECEIPT),
        # A trace number of more than six digits is sent as zeros here and in full in the container.
        trace_number=trace or tlv.number(objects, tlv.LONG_TRACE) or trace,
        turnover_number=fields.number(bitmaps.TURNOVER),
        terminal_id=fields.text(bitmaps.TERMINAL_ID),
        merchant_number=fields.text(bitmaps.MERCHANT_NUMBER),
        authorization_code=fields.text(bitmaps.AUTHORIZATION) or None,
        reader_date=fields.text(bitmaps.DATE),
        reader_time=fields.text(bitmaps.TIME),
        card=_card_facts(fields),
        additional_text=fields.text(bitmaps.ADDITIONAL_TEXT) or None,
    )


def _card_facts(fields: Fields) -> CardFacts:
    objects = fields.objects
    masked_pan = fields.text(bitmaps.PAN) or None
    card_type = fields.number(bitmaps.CARD_TYPE)
    if card_type in {None, 0xFF}:
        item = emv.find(objects, tlv.CARD_TYPE)
        card_type = int.from_bytes(item.value, "big") if item else None
    name = fields.text(bitmaps.CARD_NAME) or None
    last4 = masked_pan[-4:] if masked_pan else ""
    technology = emv.find(objects, tlv.TECHNOLOGY)
    verification = emv.find(objects, tlv.VERIFICATION)
    application = emv.find(objects, tlv.APPLICATION_ID)
    label = emv.find(objects, tlv.PREFERRED_NAME) or emv.find(objects, tlv.APPLICATION_LABEL)
    return CardFacts(
        masked_pan=masked_pan,
        last4=last4 if len(last4) == 4 and last4.isdecimal() else None,
        brand=codes.CARD_TYPES.get(card_type or 0, name),
        expiry_yymm=fields.text(bitmaps.EXPIRY),
        entry_mode=codes.ENTRY_MODES.get(_first_byte(technology)),
        verification=codes.VERIFICATIONS.get(_first_byte(verification)),
        aid=application.value.hex().upper() if application else None,
        application_label=tlv.text(label, fields.charset).strip() or None if label else None,
    )


def _first_byte(item: emv.Tlv | None) -> int:
    return item.value[0] if item and item.value else -1


def _money(minor: int | None, fields: Fields, config: ZvtConfig) -> Money | None:
    number = fields.number(bitmaps.CURRENCY)
    if minor is None:
        return None
    try:
        return Money(minor, config.currency if number is None else currency_of_number(number))
    except MoneyMismatch:
        return None


def _totals(fields: Fields, config: ZvtConfig) -> Totals | None:
    sums = fields.totals
    total = _money(fields.number(bitmaps.AMOUNT), fields, config)
    if sums is None:
        return Totals((), total) if total is not None else None
    per_scheme = tuple(
        BrandTotal(scheme, one.payments, money)
        for scheme, one in zip(codes.SCHEMES, sums.sums, strict=True)
        if one.payments or one.sum_minor
        if (money := _money(one.sum_minor, fields, config)) is not None
    )
    return Totals(per_scheme, total, sums.receipt_from or None, sums.receipt_to or None)


def _identity(message: Message) -> Identity | None:
    objects = message.fields.objects
    charset = message.fields.charset
    serial = emv.find(objects, tlv.SERIAL_NUMBER)
    model = emv.find(objects, tlv.DEVICE_NAME)
    version = emv.find(objects, tlv.SOFTWARE_VERSION)
    terminal = emv.find(objects, tlv.TERMINAL_ID)
    identity = Identity(
        terminal_id=message.fields.text(bitmaps.TERMINAL_ID)
        or (terminal.value.hex() if terminal else None)
        or message.text("terminal_id"),
        serial_number=serial.value.hex() if serial else message.text("device_id"),
        model=tlv.text(model, charset) if model else None,
        software_version=message.text("software_version")
        or (tlv.text(version, charset) if version else None),
    )
    return identity if identity != Identity() else None


def _joined(told: Identity | None, more: Identity | None) -> Identity | None:
    """Both; what the first says counts."""
    if told is None or more is None:
        return told or more
    return Identity(
        told.terminal_id or more.terminal_id,
        told.serial_number or more.serial_number,
        told.model or more.model,
        told.software_version or more.software_version,
    )


def _device_details(message: Message) -> dict[str, str]:
    """Temperature and voltage of 0F A1. What is no number is left out."""
    details = {}
    for name, said, factor in (
        ("temperature_c", message.text("temperature"), 1),
        ("voltage_mv", message.text("voltage"), 1000),
    ):
        try:
            value = float(said or "") * factor
        except ValueError:
            continue
        if isfinite(value):
            details[name] = f"{value:g}"
    return details


def _registration_details(fields: Fields) -> dict[str, str]:
    status = fields.number(bitmaps.STATUS_BYTE)
    if status is None:
        return {}
    needs = ", ".join(need for bit, need in codes.REGISTRATION_NEEDS.items() if status & bit)
    return {"status_byte": f"{status:02x}"} | ({"needs": needs} if needs else {})


def _status_details(message: Message) -> dict[str, str]:
    objects = message.fields.objects
    details: dict[str, str] = {}
    if item := emv.find(objects, tlv.LOCKS):
        details["locks"] = ", ".join(codes.locks(item.value))
    if item := emv.find(objects, tlv.DEVICE_STATE):
        details["device_state"] = item.value.hex()
    clock = emv.find(objects, tlv.TERMINAL_TIME)
    date = emv.find((clock,), tlv.DATE) if clock else None
    time = emv.find((clock,), tlv.TIME) if clock else None
    if date and time:
        details["reader_clock"] = f"{date.value.hex()} {time.value.hex()}"
    return details


def _clock_details(fields: Fields) -> dict[str, str]:
    date, time = fields.text(bitmaps.YEAR_DATE), fields.text(bitmaps.TIME)
    return {"reader_clock": f"20{date} {time}"} if date and time else {}
