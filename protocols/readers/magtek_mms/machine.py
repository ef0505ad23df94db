"""The till's side of a conversation with a MagTek reader, without moving bytes or reading a clock.

``MmsHost`` is a ``ReaderMachine``. How it reads the protocol where that leaves room:

- The reader never authorises. Until ``OnlineWanted`` was said nobody was asked for money, so a payment that breaks off
  before ends as ``FAILED``. Afterwards it ends as the issuer's answer and the reader's last word (0105, else tag 9F27)
  say together: a refusal by either is ``DECLINED``. An approval that was handed to a chip card whose last word never
  came is ``LOST``; a card that was tapped or swiped has no last word, and its payment is ``APPROVED``.
- A card that declines offline ends the payment without ``OnlineWanted``. One that approves offline is charged by nobody
  until a processor has its final data, so these are asked about in the same way. With the quick chip flow the reader
  ends its transaction at once and leaves the result to the issuer. In both cases the payment goes on until ``Resume``.
- ``Abort`` asks the reader to cancel (1008); it has no ``Finished`` of its own. What the reader says first counts: card
  data that crossed the wish wait for its answer, and an approval that came before it stands.
- Card data that nobody asked for, from a transaction of before, are dropped, and that transaction is cancelled.
- A transaction that runs when the line was opened is left over from a payment that broke off: the first ``AskStatus``
  on a new line cancels it, so that nobody waits for the reader's own timeout. Its payment has been decided without it.
- A reader that gives card data in the clear takes no further payments, until another firmware or a restart was seen.
- A request that is not answered is never repeated.

Unverified, because no source shows it on a wire: the answer to 1014, what precedes the card data, whether a reader
repeats 0105, and the counters after a reconnect.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final

from protocols.errors import CommandNotPossible, MalformedMessage
from protocols.money import currency_number, currency_of_number, exponent
from protocols.readers import emv
from protocols.readers.emv import Tlv
from protocols.readers.magtek_mms import codes, links, sealed
from protocols.readers.magtek_mms.message import (
    Message,
    Outgoing,
    commit_firmware,
    decode_message,
    load_firmware,
    request,
)
from protocols.readers.magtek_mms.sealed import CardData, Refused
from protocols.readers.protocol import (
    NOBODY_REACHED,
    Abort,
    AskStatus,
    CardFacts,
    Connect,
    Disconnect,
    Finished,
    Identity,
    InstallSoftware,
    IssuerAnswer,
    Noticed,
    OnlineWanted,
    Outcome,
    PaymentFacts,
    Progress,
    Purchase,
    QuirkSeen,
    ReaderCommand,
    ReaderEvent,
    RecallLast,
    Restart,
    Resume,
    ShowText,
    Step,
    TapData,
    TransferProgress,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from protocols.money import Money

QUIRKS: Final = frozenset({"cut_by_length", "expect_disconnect"})
"""Actions of a profile's quirks that need nothing special here: every report is cut by its length, every restart may
come without an answer."""

_READERS: Final = {"swipe": 0x81, "chip": 0x82, "contactless": 0x83}
_FLOWS: Final = {"emv": b"\x00\x02", "quick_chip": b"\x00\x03"}
_LONGEST_CARD_WAIT_S: Final = 255
#: How much of a file goes out before the driver is let look up.
_BREATH: Final = 16 * 1024
#: What is left of the reader's patience for our answer to reach it.
_ANSWER_TRAVELS_S: Final = 3.0

#: Object identifier of MagTek, before every property.
_VENDOR: Final = Tlv(0x81, bytes.fromhex("2B06010401F609"))
SERIAL_NUMBER: Final = bytes.fromhex("E208E106E104E102C100")
FIRMWARE: Final = bytes.fromhex("E108E206E204E202C200")
_SERIAL_TAG: Final = 0xC1
_FIRMWARE_TAG: Final = 0xC2


@dataclass(frozen=True, slots=True)
class MmsConfig:
    """What a till must know about a reader. Times in seconds.

    ``transaction_extra_s``, ``answer_s`` and the times of an update are our choices, no source gives them.
    """

    currency: str = "EUR"
    reads: tuple[str, ...] = ("swipe", "chip", "contactless")
    flow: str = "emv"
    """``emv``: the reader waits for the issuer's answer; ``quick_chip``: it ends before, and a card may go."""
    transaction_timeout_s: int = 60
    """How long the reader waits for a card, 1 to 255."""
    property_class: int = 2
    """Class of the properties that tell who it is: 2 in MagTek's code, 1 in some of its examples."""
    response_s: float = 5.0
    transaction_extra_s: float = 60.0
    """How long the reader may take with a card, beyond the wait for it."""
    answer_s: float = 30.0
    """How long the issuer's answer may take; less when the reader itself waits no longer."""
    restart_s: float = 15.0
    load_s: float = 120.0
    """How long the reader may check a file that it got whole."""
    install_s: float = 300.0
    report_len: int = 64
    pdu_max: int = 244

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> MmsConfig:
        """Read the ``[protocol]`` table of a reader profile. Raises CommandNotPossible for what means nothing here."""
        given = dict(settings)
        timeouts = dict(given.pop("timeouts_ms", {}))
        retries = dict(given.pop("retries", {}))
        for name in ("name", "framing", "password"):
            given.pop(name, None)
        if any(retries.values()):
            raise CommandNotPossible(
                "MMS repeats no request; leave retries out", names=str(retries)
            )
        _check_quirks(given.pop("quirks", ()))
        report = dict(given.pop("usb_hid", None) or {})
        packet = dict(given.pop("ble_gatt", None) or {})
        if report.get("report_id"):
            raise CommandNotPossible("MMS reports have no report id", report_id=report["report_id"])
        given |= {
            name: part[name]
            for name, part in (("report_len", report), ("pdu_max", packet))
            if name in part
        }
        # How long a line may take to come back is the transport's business.
        timeouts.pop("reconnect", None)
        given |= {f"{name}_s": milliseconds / 1000 for name, milliseconds in timeouts.items()}
        if isinstance(given.get("currency"), int):
            given["currency"] = currency_of_number(given["currency"])
        unknown = sorted(given.keys() - cls.__dataclass_fields__.keys())
        if unknown:
            raise CommandNotPossible("settings that MMS does not have", names=", ".join(unknown))
        if "reads" in given:
            given["reads"] = tuple(given["reads"])
        config = cls(**given)
        config._check()
        return config

    def _check(self) -> None:
        if not self.reads or not set(self.reads) <= _READERS.keys():
            raise CommandNotPossible(
                "a reader reads some of these", given=str(self.reads), known=", ".join(_READERS)
            )
        if self.flow not in _FLOWS:
            raise CommandNotPossible("no such flow", given=self.flow, known=", ".join(_FLOWS))
        if not 1 <= self.transaction_timeout_s <= _LONGEST_CARD_WAIT_S:
            raise CommandNotPossible(
                "a reader waits 1 to 255 seconds for a card", given=self.transaction_timeout_s
            )


def _check_quirks(quirks: Sequence[Mapping[str, Any]]) -> None:
    unknown = sorted({str(quirk.get("action")) for quirk in quirks} - QUIRKS)
    if unknown:
        raise CommandNotPossible(
            "quirks that MMS does not have", names=", ".join(unknown), known=", ".join(QUIRKS)
        )


class _Phase(Enum):
    ASKED = auto()
    """The request was handed to the line; the reader has not answered it."""
    STARTED = auto()
    """The reader waits for a card, or works on one."""
    ONLINE = auto()
    """The issuer is asked."""
    RESUMED = auto()
    """The reader has the issuer's answer."""
    LOADING = auto()
    """A file is on its way."""
    CHECKING = auto()
    """The reader looks at a file that it got whole."""
    INSTALLING = auto()
    """The reader took the file in and says how that ends."""
    RESTARTING = auto()


@dataclass(slots=True)
class _Running:
    command: ReaderCommand
    number: int
    reference: int
    phase: _Phase = _Phase.ASKED
    left: bool = False
    identity: Identity = field(default_factory=Identity)
    details: dict[str, str] = field(default_factory=dict)
    #: Requests of a command that asks several things, one after another.
    waiting: list[tuple[int, tuple[Tlv, ...]]] = field(default_factory=list)
    # A payment.
    abort_wanted: bool = False
    cancel_reference: int | None = None
    is_cancelled: bool = False
    tap: TapData | None = None
    serial: bytes = b""
    held: Message | None = None
    """Card data that crossed our wish to cancel."""
    card: CardFacts = field(default_factory=CardFacts)
    technology: int = 0
    answer: IssuerAnswer | None = None
    end: tuple[Outcome | None, str, int] | None = None
    cryptogram: Outcome | None = None
    # An update.
    told: int = 0
    before: int = 0


class MmsHost:
    """Drives one reader. See the module for its reading of the protocol and ``ReaderMachine`` for its use."""

    def __init__(self, framing: str, config: MmsConfig) -> None:
        self._config = config
        self._link = links.make_link(framing, report_len=config.report_len, pdu_max=config.pdu_max)
        self._is_connected = False
        self._wants_reconnect = False
        self._running: _Running | None = None
        self._deadline: float | None = None
        self._now = 0.0
        self._reference = 0
        self._is_breathing = False
        self._known = Identity()
        self._health: dict[str, str] = {}
        self._is_tampered = False
        self._has_told_restart = False
        #: Nothing was begun on this line yet: what runs on the reader is from before.
        self._is_line_new = False
        #: Who gave card data in the clear; None while nobody did.
        self._clear_from: Identity | None = None

    # --- the driver's side ---

    def connected(self, now: float) -> Sequence[ReaderEvent]:
        """The transport is open."""
        events = list(self.disconnected(now)) if self._is_connected else []
        self._link.reset()
        self._is_connected = self._is_line_new = True
        self._wants_reconnect = self._has_told_restart = False
        return events

    def disconnected(self, now: float) -> Sequence[ReaderEvent]:
        """The transport is gone."""
        self._now = now
        events: list[ReaderEvent] = []
        running = self._running
        if running is not None:
            self._break_off(running, events, "the connection was lost", is_closed=True)
        self._link.reset()
        self._is_connected = False
        self._is_breathing = False
        return events

    def start(self, command: ReaderCommand, now: float) -> None:
        """Begin a command. Raises CommandNotPossible; nothing was sent then."""
        self._now = now
        if isinstance(command, Abort):
            self._start_abort()
            return
        if isinstance(command, Resume):
            self._resume(command.answer)
            return
        if not self._is_connected:
            raise CommandNotPossible("the reader is not connected")
        if self._running is not None:
            raise CommandNotPossible(
                "another command runs", running=type(self._running.command).__name__
            )
        if isinstance(command, InstallSoftware):
            self._start_install(command)
            return
        (number, objects), *waiting = _requests_for(command, self._config)
        if isinstance(command, Purchase) and self._clear_from is not None:
            raise CommandNotPossible(_CLEAR)
        if isinstance(command, Purchase):
            self._is_line_new = False
        self._running = _Running(command, number, self._ask(number, objects), waiting=waiting)
        self._deadline = now + self._config.response_s

    def feed(self, received: bytes, now: float) -> Sequence[ReaderEvent]:
        """Take one packet, or bytes of the stream as they come."""
        self._now = now
        events: list[ReaderEvent] = []
        for event in self._link.feed(received):
            if isinstance(event, links.Oddity):
                events.append(QuirkSeen(event.name))
                continue
            try:
                message = decode_message(event.message)
            except MalformedMessage:
                events.append(QuirkSeen("malformed_message"))
                continue
            self._receive(message, events)
        return events

    def expired(self, now: float) -> Sequence[ReaderEvent]:
        """The deadline has passed."""
        self._now = now
        events: list[ReaderEvent] = []
        running = self._running
        if running is not None and running.phase is _Phase.LOADING:
            self._tell_transfer(running, events)
        self._is_breathing = False
        if running is not None and self._deadline is not None and now >= self._deadline:
            self._time_out(running, events)
        return events

    def outgoing(self) -> bytes:
        """The next packet, or piece of the stream; handed out once."""
        if self._is_breathing:
            return b""
        packet = self._link.outgoing()
        running = self._running
        if running is None or not packet:
            return packet
        if not self._link.is_sending():
            running.left = True
        if running.phase is _Phase.LOADING and (
            not self._link.is_sending()
            or self._link.sent - running.before - running.told >= _BREATH
        ):
            # The driver asks until nothing comes: it must look up now and then, to tell how far it is.
            self._is_breathing = True
        return packet

    def deadline(self) -> float | None:
        """When ``expired`` wants to be called."""
        return self._now if self._is_breathing else self._deadline

    def is_idle(self) -> bool:
        """True when a new command may be started."""
        return self._is_connected and self._running is None

    def wants_reconnect(self) -> bool:
        """True when the connection must be closed and opened anew."""
        return self._wants_reconnect

    # --- what the reader says ---

    def _receive(self, message: Message, events: list[ReaderEvent]) -> None:
        if message.kind == codes.RESPONSE:
            self._note_detail(message, events)
            self._take_response(message, events)
        elif message.kind == codes.NOTIFICATION:
            self._take_notification(message, events)
        else:
            events.append(
                QuirkSeen("unexpected_message", f"{message.kind:02X} {message.number:04X}")
            )

    def _note_detail(self, message: Message, events: list[ReaderEvent]) -> None:
        if message.is_success:
            return
        if message.detail in codes.TAMPER_DETAILS:
            if not self._is_tampered:
                events.append(Noticed("tamper", codes.detail_text(message.detail)))
            self._is_tampered = True
        elif message.detail == codes.LOW_BATTERY:
            events.append(Noticed("battery_low", codes.detail_text(message.detail)))

    def _take_response(self, message: Message, events: list[ReaderEvent]) -> None:
        running = self._running
        if (
            running is not None
            and message.reference == running.cancel_reference
            and (message.number == codes.CANCEL)
        ):
            self._take_cancel_response(running, message, events)
        elif (
            running is None
            or (message.reference, message.number) != (running.reference, running.number)
            or not (running.left or running.phase is _Phase.LOADING)
        ):
            if message.number not in {codes.CANCEL, codes.RESUME}:
                events.append(QuirkSeen("stray_response", f"{message.number:04X}"))
        elif running.phase is _Phase.ASKED:
            self._take_first_response(running, message, events)
        elif running.number == codes.RESUME:
            self._take_resume_response(running, message, events)
        elif running.phase in {_Phase.CHECKING, _Phase.LOADING}:
            self._take_load_response(running, message, events)
        elif running.phase is _Phase.INSTALLING and not message.is_success:
            self._fail(running, message, events)

    def _take_first_response(
        self, running: _Running, message: Message, events: list[ReaderEvent]
    ) -> None:
        match running.command:
            case Purchase():
                self._take_start_response(running, message, events)
            case Restart():
                if message.is_success:
                    running.phase = _Phase.RESTARTING
                    self._deadline = self._now + self._config.restart_s
                else:
                    self._fail(running, message, events)
            case ShowText():
                if message.is_success:
                    self._finish(events, Outcome.DONE)
                else:
                    self._fail(running, message, events)
            case RecallLast():
                self._take_recalled(message, events)
            case _:
                self._take_told(running, message, events)

    def _take_told(self, running: _Running, message: Message, events: list[ReaderEvent]) -> None:
        """An answer on the way of ``Connect``, ``AskStatus`` or ``Disconnect``."""
        if message.number == codes.GET_PROPERTY and message.is_success:
            self._learn(running, message)
        elif message.number == codes.TRANSACTION_STATUS:
            running.details["transaction"] = _transaction_state(message)
            if self._is_line_new and running.details["transaction"] == _RUNS:
                running.waiting.append((codes.CANCEL, ()))
            self._is_line_new = False
        elif message.number == codes.CANCEL:
            if message.is_success or message.detail == codes.NO_TRANSACTION:
                running.details["transaction"] = "cancelled"
        elif not message.is_success:
            running.details["refused"] = codes.status_text(message.first, message.detail)
        if running.waiting:
            (number, objects), *running.waiting = running.waiting
            running.number, running.reference = number, self._ask(number, objects)
            running.left = False
            self._deadline = self._now + self._config.response_s
        elif isinstance(running.command, Disconnect):
            self._finish(events, Outcome.DONE)
        else:
            self._conclude(running, events)

    def _conclude(self, running: _Running, events: list[ReaderEvent]) -> None:
        identity = running.identity
        if identity.serial_number and identity.serial_number != self._known.serial_number:
            # Another reader took its place.
            self._is_tampered = False
        self._known = Identity(
            serial_number=identity.serial_number or self._known.serial_number,
            software_version=identity.software_version or self._known.software_version,
        )
        if self._clear_from is not None and self._clear_from != self._known:
            self._clear_from = None
        details = {**self._health, "tamper": "yes" if self._is_tampered else "no"} | running.details
        outcome, text = Outcome.DONE, ""
        if self._is_tampered:
            outcome, text = (
                Outcome.FAILED,
                f"{codes.detail_text(codes.TAMPERED)}: take it out of use",
            )
        elif self._clear_from is not None:
            outcome, text = Outcome.FAILED, _CLEAR
        elif details.get("transaction") == _RUNS and isinstance(running.command, AskStatus):
            outcome, text = Outcome.BUSY, "a transaction runs on the reader"
        elif "refused" in details and identity == Identity():
            outcome, text = Outcome.FAILED, details["refused"]
        self._finish(events, outcome, text=text, identity=identity, details=details)

    def _learn(self, running: _Running, message: Message) -> None:
        value = _property_value(message.parameters)
        if value is None:
            return
        tag, told = value
        known = running.identity
        if tag == _SERIAL_TAG:
            running.identity = Identity(
                serial_number=sealed.serial_text(told),
                model=known.model,
                software_version=known.software_version,
            )
        elif tag == _FIRMWARE_TAG:
            running.identity = Identity(
                serial_number=known.serial_number,
                model=known.model,
                software_version=_ascii(told),
            )

    def _take_recalled(self, message: Message, events: list[ReaderEvent]) -> None:
        state = _transaction_state(message)
        details = {"transaction": state}
        if state == _RUNS:
            self._finish(
                events, Outcome.BUSY, text="a transaction runs on the reader", details=details
            )
        elif message.is_success or message.detail == codes.NO_TRANSACTION:
            text = "the reader keeps no payments; what the processor says counts"
            self._finish(events, Outcome.DONE, text=text, details=details)
        else:
            self._finish(
                events,
                Outcome.UNSUPPORTED,
                text=codes.status_text(message.first, message.detail),
                details=details,
            )

    # --- a payment ---

    def _take_start_response(
        self, running: _Running, message: Message, events: list[ReaderEvent]
    ) -> None:
        if not message.is_success:
            outcome = {
                codes.IN_PROGRESS: Outcome.BUSY,
                codes.FEATURE_ABSENT: Outcome.UNSUPPORTED,
            }.get(message.detail, Outcome.FAILED)
            text = codes.status_text(message.first, message.detail)
            if message.detail == codes.CLOCK_NOT_SET:
                text += "; set the reader's clock with MagTek's own program"
            self._finish(events, outcome, code=message.detail, text=text)
            return
        running.phase = _Phase.STARTED
        self._deadline = (
            self._now
            + _card_timeout(running.command, self._config)
            + self._config.transaction_extra_s
        )
        events.append(Progress(Step.SENT, 0, "the reader has taken the command"))
        events.append(Progress(Step.WAITING_FOR_CARD, 0, "the reader waits for a card"))
        if running.abort_wanted:
            self._cancel(running)

    def _take_notification(self, message: Message, events: list[ReaderEvent]) -> None:
        running = self._running
        if message.number == codes.DEVICE:
            self._take_device(message, events)
        elif message.number in {codes.FIRMWARE_OK, codes.FIRMWARE_FAILED, codes.FIRMWARE_CURRENT}:
            self._take_firmware_word(message, events)
        elif message.number in {codes.PROGRESS, codes.COMPLETE}:
            in_payment = (
                running is not None
                and isinstance(running.command, Purchase)
                and running.phase in {_Phase.STARTED, _Phase.ONLINE, _Phase.RESUMED}
            )
            if running is not None and in_payment:
                self._take_payment_word(running, message, events)
            elif message.detail == codes.ONLINE_DATA:
                events.append(QuirkSeen("data_nobody_asked_for"))
                # Its card waits for an answer that nobody will give.
                self._ask(codes.CANCEL, ())
        elif running is not None and running.phase is _Phase.STARTED:
            if message.number == codes.UI_TEXT:
                events.extend(_shown(message))
            elif message.number in {codes.PIN_PROGRESS, codes.PIN_DONE}:
                events.append(
                    Progress(Step.ENTER_PIN, message.number, codes.NOTIFICATIONS[message.number])
                )

    def _take_payment_word(
        self, running: _Running, message: Message, events: list[ReaderEvent]
    ) -> None:
        detail = message.detail
        if message.number == codes.COMPLETE:
            outcome, text = codes.end_of(detail)
            running.end = (outcome, text, detail)
            self._settle(running, events)
        elif detail == codes.ONLINE_DATA:
            if running.is_cancelled:
                return
            if running.cancel_reference is not None:
                running.held = message
            else:
                self._take_online_data(running, message, events)
        elif detail == codes.BATCH_DATA:
            self._take_batch_data(running, message, events)
        else:
            step = _STEPS.get(detail)
            if step is not None:
                events.append(Progress(step, detail, codes.progress_text(message.first, detail)))

    def _take_online_data(
        self, running: _Running, message: Message, events: list[ReaderEvent]
    ) -> None:
        if running.phase is not _Phase.STARTED:
            events.append(QuirkSeen("card_data_repeated"))
            return
        data = sealed.read(message.payload or b"", message.first)
        if isinstance(data, Refused) or data.tap is None:
            self._refuse_data(data, events)
            return
        running.tap, running.card, running.serial = data.tap, data.card, data.serial
        running.technology = message.first
        running.phase = _Phase.ONLINE
        within_s = _answer_within(running.command, self._config)
        self._deadline = self._now + within_s
        events.append(Progress(Step.AUTHORIZING, message.detail, "the card wants its issuer"))
        events.append(OnlineWanted(data.tap, within_s))

    def _refuse_data(self, data: CardData | Refused, events: list[ReaderEvent]) -> None:
        why = data.why if isinstance(data, Refused) else "it gives card data that are not sealed"
        if isinstance(data, CardData) or data.is_clear:
            self._clear_from = self._known
            events.append(Noticed("clear_card_data", f"{why}; they were dropped"))
        else:
            events.append(QuirkSeen("card_data_unreadable"))
        self._ask(codes.CANCEL, ())
        self._finish(events, Outcome.FAILED, text=f"{why}; nothing was charged")

    def _take_batch_data(
        self, running: _Running, message: Message, events: list[ReaderEvent]
    ) -> None:
        data = sealed.read(message.payload or b"", message.first)
        if isinstance(data, Refused):
            if data.is_clear and self._clear_from is None:
                self._clear_from = self._known
                events.append(Noticed("clear_card_data", f"{data.why}; they were dropped"))
            return
        if data.cryptogram is not None:
            running.cryptogram = codes.cryptogram_outcome(data.cryptogram)
        if running.phase is _Phase.STARTED:
            running.card, running.technology, running.tap = data.card, message.first, data.tap
        if running.phase is not _Phase.ONLINE:
            # 0105 follows as a rule; if it gets lost, the cryptogram is the last word.
            self._deadline = self._now + self._config.response_s

    def _settle(self, running: _Running, events: list[ReaderEvent]) -> None:
        """The reader's transaction is over: end the payment, unless the issuer has still to answer."""
        if running.end is None:
            return
        outcome, text, code = running.end
        if outcome is None:
            outcome = running.cryptogram
        answer = running.answer
        if running.phase is _Phase.STARTED:
            if outcome is Outcome.APPROVED and running.tap is not None:
                self._ask_for_offline(running, running.tap, text, events)
                return
            if outcome is Outcome.APPROVED:
                outcome, text = Outcome.FAILED, f"{text}, but no data came to charge it"
            elif outcome is None:
                outcome, text = Outcome.FAILED, f"the reader ended without card data: {text}"
        elif answer is None:
            if outcome in {None, Outcome.APPROVED}:
                return
        elif not answer.approved:
            outcome, text = Outcome.DECLINED, _refusal(answer)
        elif outcome in {None, Outcome.APPROVED}:
            outcome, text = Outcome.APPROVED, answer.text or "approved"
        elif outcome is Outcome.DECLINED:
            text = f"the issuer approved, the card did not: {text}"
        self._finish_payment(running, events, outcome, code=code, text=text)

    def _ask_for_offline(
        self, running: _Running, tap: TapData, text: str, events: list[ReaderEvent]
    ) -> None:
        """The card approved by itself; nobody is charged before a processor has its data."""
        running.end = (None, text, running.end[2] if running.end else 0)
        running.phase = _Phase.ONLINE
        running.is_cancelled = False
        self._deadline = self._now + self._config.answer_s
        events.append(Progress(Step.AUTHORIZING, codes.BATCH_DATA, f"{text}; now it is charged"))
        events.append(OnlineWanted(tap, self._config.answer_s))

    def _resume(self, answer: IssuerAnswer) -> None:
        running = self._running
        if running is None or running.phase is not _Phase.ONLINE or running.is_cancelled:
            raise CommandNotPossible("no card waits for its issuer's answer")
        running.answer = answer
        running.phase = _Phase.RESUMED
        if self._config.flow == "quick_chip" and running.end is None:
            running.end = (None, "left to the issuer's answer", 0)
        if running.end is not None:
            # The reader is done with the card already: its word and the answer decide at once.
            self._deadline = self._now
            return
        running.number = codes.RESUME
        running.left = False
        running.reference = self._ask(codes.RESUME, _answer_objects(answer, running, self._config))
        self._deadline = self._now + self._config.transaction_extra_s

    def _take_resume_response(
        self, running: _Running, message: Message, events: list[ReaderEvent]
    ) -> None:
        if message.is_success or running.answer is None:
            return
        text = codes.status_text(message.first, message.detail)
        if not running.answer.approved:
            self._finish_payment(
                running,
                events,
                Outcome.DECLINED,
                code=message.detail,
                text=_refusal(running.answer),
            )
        elif running.cryptogram is Outcome.APPROVED:
            self._finish_payment(running, events, Outcome.APPROVED, code=message.detail, text=text)
        else:
            self._finish_payment(
                running,
                events,
                Outcome.DECLINED,
                code=message.detail,
                text=f"the reader did not take the issuer's answer ({text}); the approval must be taken back",
            )

    def _start_abort(self) -> None:
        running = self._running
        if running is None or not isinstance(running.command, Purchase):
            raise CommandNotPossible("nothing runs that could be aborted")
        if running.phase is _Phase.ASKED:
            running.abort_wanted = True
        elif running.cancel_reference is None and running.phase is not _Phase.RESUMED:
            self._cancel(running)

    def _cancel(self, running: _Running) -> None:
        running.cancel_reference = self._ask(codes.CANCEL, ())

    def _take_cancel_response(
        self, running: _Running, message: Message, events: list[ReaderEvent]
    ) -> None:
        running.cancel_reference = None
        held, running.held = running.held, None
        if message.is_success or message.detail == codes.NO_TRANSACTION:
            if running.phase is not _Phase.RESUMED and running.end is None:
                # 0105 follows, and says whether it was in time.
                running.is_cancelled = True
                self._deadline = self._now + self._config.response_s
        elif held is not None:
            self._take_online_data(running, held, events)

    # --- an update ---

    def _start_install(self, command: InstallSoftware) -> None:
        if len(command.files) != 1:
            raise CommandNotPossible(
                "the reader restarts after each file: give it one", files=len(command.files)
            )
        (file,) = command.files
        if len(file.sha256) != 32 or not 0 < file.size < 1 << 24 or not 0 <= file.number < 1 << 16:
            raise CommandNotPossible(
                "a firmware file has a SHA-256, a type of two bytes and less than 16 MiB",
                bytes=file.size,
                type=file.number,
            )
        reference = self._next_reference()
        message = load_firmware(reference, file.number, file.sha256, file.size, file.read)
        before = self._link.sent
        self._link.send(message)
        self._running = _Running(
            command, codes.LOAD_FIRMWARE, reference, _Phase.LOADING, before=before
        )
        # While it goes out, the transport's own limits count.
        self._deadline = None

    def _tell_transfer(self, running: _Running, events: list[ReaderEvent]) -> None:
        command = running.command
        if not isinstance(command, InstallSoftware):
            return
        total = command.files[0].size
        running.told = self._link.sent - running.before
        if not self._link.is_sending():
            running.phase = _Phase.CHECKING
            self._deadline = self._now + self._config.load_s
            events.append(TransferProgress(total, total))
        elif self._is_breathing:
            events.append(TransferProgress(min(running.told, total), total))

    def _take_load_response(
        self, running: _Running, message: Message, events: list[ReaderEvent]
    ) -> None:
        command = running.command
        if not isinstance(command, InstallSoftware):
            return
        if not message.is_success:
            # A reader that refuses half-way gets no more of it.
            if self._link.is_sending():
                self._link.reset()
                self._is_breathing = False
                self._wants_reconnect = True
            self._fail(running, message, events)
            return
        if self._link.is_sending():
            events.append(QuirkSeen("answer_before_the_end"))
            return
        if running.phase is _Phase.LOADING:
            self._tell_transfer(running, events)
            self._is_breathing = False
        (file,) = command.files
        running.phase = _Phase.INSTALLING
        running.number = codes.COMMIT_FIRMWARE
        running.left = False
        running.reference = self._next_reference()
        self._link.send(
            Outgoing(commit_firmware(running.reference, file.number, file.sha256).encode())
        )
        self._deadline = self._now + self._config.install_s

    def _take_firmware_word(self, message: Message, events: list[ReaderEvent]) -> None:
        kind, outcome = _FIRMWARE_WORDS[message.number]
        text = codes.NOTIFICATIONS[message.number]
        events.append(Noticed(kind, text, {"detail": f"{message.first:02X}{message.detail:06X}"}))
        running = self._running
        if running is not None and isinstance(running.command, InstallSoftware):
            if self._link.is_sending():
                self._link.reset()
                self._is_breathing = False
            self._finish(
                events, outcome, code=message.detail, text=text, details={"firmware": kind}
            )

    # --- what the reader tells of itself ---

    def _take_device(self, message: Message, events: list[ReaderEvent]) -> None:
        if message.first != 0x00 or message.status is None or len(message.status) < 4:
            return
        reason, detail, extra = message.status[1:4]
        if reason in {0x00, 0x03}:
            # 03: because it was told to. A restarted reader may have been mended.
            self._clear_from = None
            # A battery that is still low is told of again.
            self._health.clear()
            if not self._has_told_restart:
                # Readers repeat it until it is acknowledged.
                events.append(Noticed("restarted", "the reader has restarted"))
            self._has_told_restart = True
        elif reason == 0x01:
            minutes = message.parameters[:1]
            text = f"the reader restarts in {minutes[0]} minutes" if minutes else "it restarts soon"
            events.append(Noticed("restart_soon", text))
        elif reason == 0x02:
            self._take_battery(detail, extra, events)

    def _take_battery(self, detail: int, percent: int, events: list[ReaderEvent]) -> None:
        if detail == 0x00:
            facts = {"battery_percent": str(percent)} if percent else {}
            self._health |= facts | {"external_power": "no"}
            events.append(Noticed("battery_low", "the battery is low", facts))
        elif detail == 0x01:
            self._health["battery_percent"] = "0"
            events.append(
                Noticed("battery_low", "the battery is empty; it switches off", dict(self._health))
            )
        elif detail == 0x02:
            self._health |= {"battery_percent": "100", "external_power": "yes"}

    # --- endings ---

    def _time_out(self, running: _Running, events: list[ReaderEvent]) -> None:
        if running.phase is _Phase.ONLINE and not running.is_cancelled:
            events.append(QuirkSeen("issuer_silent"))
            self._resume(NOBODY_REACHED)
            if running.end is not None:
                self._settle(running, events)
        elif running.phase is _Phase.RESUMED and running.end is not None:
            self._settle(running, events)
        elif running.is_cancelled:
            self._finish_payment(running, events, Outcome.CANCELLED, text="cancelled by the till")
        elif running.cryptogram is not None:
            running.end = (running.cryptogram, "as its cryptogram says", 0)
            self._settle(running, events)
        else:
            answered = running.phase is not _Phase.ASKED
            if isinstance(running.command, Purchase):
                self._ask(codes.CANCEL, ())
            self._break_off(
                running,
                events,
                "the reader began and did not end in time"
                if answered
                else "the reader did not answer",
            )
            self._wants_reconnect = True

    def _break_off(
        self, running: _Running, events: list[ReaderEvent], why: str, *, is_closed: bool = False
    ) -> None:
        """End a command whose reader says no more."""
        command = running.command
        if isinstance(command, Purchase):
            self._break_off_payment(running, events, why)
        elif isinstance(command, Restart) and (
            running.phase is _Phase.RESTARTING or (is_closed and running.left)
        ):
            self._finish(events, Outcome.DONE, text="the reader restarts")
        elif isinstance(command, InstallSoftware) and running.phase is not _Phase.INSTALLING:
            self._finish(events, Outcome.FAILED, text=f"{why}; the file was not installed")
        elif not running.left and running.phase is _Phase.ASKED:
            self._finish(events, Outcome.FAILED, text=f"{why}; nothing was sent")
        else:
            self._finish(events, Outcome.LOST, text=why)

    def _break_off_payment(self, running: _Running, events: list[ReaderEvent], why: str) -> None:
        answer = running.answer
        if answer is not None and not answer.approved:
            outcome, text = Outcome.DECLINED, _refusal(answer)
        elif answer is None:
            outcome = Outcome.CANCELLED if running.is_cancelled else Outcome.FAILED
            text = f"{why}; nothing was charged"
        elif not running.left:
            outcome = Outcome.FAILED
            text = (
                f"{why} before the reader had the issuer's answer; the approval must be taken back"
            )
        elif running.technology != codes.CHIP or running.cryptogram is Outcome.APPROVED:
            # The card has gone, and the issuer approved.
            outcome, text = Outcome.APPROVED, answer.text or "approved"
        else:
            outcome, text = Outcome.LOST, why
        self._finish_payment(running, events, outcome, text=text)

    def _fail(self, running: _Running, message: Message, events: list[ReaderEvent]) -> None:
        outcome = Outcome.UNSUPPORTED if message.detail == codes.FEATURE_ABSENT else Outcome.FAILED
        self._finish(
            events,
            outcome,
            code=message.detail,
            text=codes.status_text(message.first, message.detail),
            details=running.details,
        )

    def _finish_payment(
        self,
        running: _Running,
        events: list[ReaderEvent],
        outcome: Outcome,
        *,
        code: int | None = None,
        text: str = "",
    ) -> None:
        details: dict[str, str] = {}
        if running.tap is not None:
            details["ksn"] = running.tap.ksn.hex().upper()
        answer = running.answer
        payment = PaymentFacts(
            result_code=code,
            amount=running.command.amount if isinstance(running.command, Purchase) else None,
            authorization_code=(answer.authorization_code or None) if answer else None,
            card=running.card,
        )
        self._finish(events, outcome, code=code, text=text, payment=payment, details=details)

    def _finish(
        self,
        events: list[ReaderEvent],
        outcome: Outcome,
        *,
        code: int | None = None,
        text: str = "",
        payment: PaymentFacts | None = None,
        identity: Identity | None = None,
        details: Mapping[str, str] | None = None,
    ) -> None:
        running, self._running = self._running, None
        self._deadline = None
        self._is_breathing = False
        if running is None:
            return
        events.append(
            Finished(
                running.command,
                outcome,
                code=code,
                text=text,
                payment=payment,
                identity=identity,
                details=details or {},
            )
        )

    # --- requests ---

    def _next_reference(self) -> int:
        self._reference = (self._reference + 1) & 0xFF
        return self._reference

    def _ask(self, number: int, objects: Sequence[Tlv]) -> int:
        """Send a request; its reference number."""
        reference = self._next_reference()
        self._link.send(Outgoing(request(number, reference, objects).encode()))
        return reference


def make_host(framing: str, settings: Mapping[str, Any]) -> MmsHost:
    """For the registry. Raises CommandNotPossible for a framing or a setting that MMS does not have."""
    return MmsHost(framing, MmsConfig.from_settings(settings))


# --- commands as requests --------------------------------------------------------------------------------------

_CLEAR: Final = (
    "the reader gives card data in the clear and takes no payments: have it loaded with keys"
)
_RUNS: Final = "running"

_STEPS: Final[Mapping[int, Step]] = {
    0x010100: Step.CARD_SEEN,
    0x010200: Step.CARD_SEEN,
    0x010400: Step.CARD_SEEN,
    0x010500: Step.WAITING_FOR_CARD,
    0x020601: Step.ENTER_PIN,
    0x020602: Step.ENTER_PIN,
}

_FIRMWARE_WORDS: Final[Mapping[int, tuple[str, Outcome]]] = {
    codes.FIRMWARE_OK: ("firmware_installed", Outcome.DONE),
    codes.FIRMWARE_FAILED: ("firmware_failed", Outcome.FAILED),
    codes.FIRMWARE_CURRENT: ("firmware_current", Outcome.DONE),
}

_TEXT_STEPS: Final = (
    ("REMOVE CARD", Step.REMOVE_CARD),
    ("PIN", Step.ENTER_PIN),
    ("AUTHORIZING", Step.AUTHORIZING),
    ("PRESENT", Step.WAITING_FOR_CARD),
    ("TAP", Step.WAITING_FOR_CARD),
    ("INSERT", Step.WAITING_FOR_CARD),
    ("SWIPE", Step.WAITING_FOR_CARD),
    ("TRY AGAIN", Step.WAITING_FOR_CARD),
)


def _requests_for(command: ReaderCommand, config: MmsConfig) -> list[tuple[int, tuple[Tlv, ...]]]:
    """What is asked for a command, in order. Raises CommandNotPossible for one that MMS has no words for."""
    match command:
        case Connect():
            return [_property(SERIAL_NUMBER, config), _property(FIRMWARE, config)]
        case AskStatus():
            return [_property(FIRMWARE, config), (codes.TRANSACTION_STATUS, ())]
        case Disconnect():
            return [(codes.ECHO, (Tlv(0x81, b"\x00"),))]
        case RecallLast():
            return [(codes.TRANSACTION_STATUS, ())]
        case Restart():
            return [(codes.RESET, ())]
        case ShowText(lines, seconds):
            shown = codes.display_string(lines)
            if shown is None:
                raise CommandNotPossible(
                    "the reader shows no texts but its own", text=" ".join(lines)
                )
            wanted = Tlv(0x81, bytes((min(max(seconds, 0), 255),))), Tlv(0x82, bytes((shown,)))
            return [(codes.SHOW, wanted)]
        case Purchase(amount):
            return [(codes.START, _start_objects(amount, _card_timeout(command, config), config))]
        case _:
            raise CommandNotPossible(
                "the reader cannot do this; the processor can", command=type(command).__name__
            )


def _property(path: bytes, config: MmsConfig) -> tuple[int, tuple[Tlv, ...]]:
    wanted = (_VENDOR, Tlv(0x85, bytes((config.property_class,))), Tlv(0x89, path))
    return codes.GET_PROPERTY, wanted


def _card_timeout(command: ReaderCommand, config: MmsConfig) -> int:
    given = command.card_timeout_s if isinstance(command, Purchase) else None
    wanted = config.transaction_timeout_s if given is None else given
    return min(max(wanted, 1), _LONGEST_CARD_WAIT_S)


def _answer_within(command: ReaderCommand, config: MmsConfig) -> float:
    """How long the issuer may take. A reader waits for it as long as it does for a card, unless it was set otherwise
    (property 1.1.1.1.1.5), and nobody waits with a quick chip."""
    if config.flow == "quick_chip":
        return config.answer_s
    return min(config.answer_s, max(_card_timeout(command, config) - _ANSWER_TRAVELS_S, 1.0))


def _start_objects(amount: Money, timeout_s: int, config: MmsConfig) -> tuple[Tlv, ...]:
    if amount.minor <= 0:
        raise CommandNotPossible("an amount to pay is more than zero", minor=amount.minor)
    readers = tuple(
        Tlv(tag, b"\x01" if name in config.reads else b"\x00") for name, tag in _READERS.items()
    )
    currency = currency_number(amount.currency)
    payment = (
        Tlv(0x9C, b"\x00"),
        Tlv(0x9F02, bytes.fromhex(f"{amount.minor:012d}")),
        Tlv(0x9F03, bytes(6)),
        Tlv(0x5F2A, bytes.fromhex(f"{currency:04d}")),
        Tlv(0x5F36, bytes((exponent(amount.currency),))),
    )
    return (
        Tlv(0x82, bytes((timeout_s,))),
        Tlv(0xA3, children=readers),
        Tlv(0x84, _FLOWS[config.flow]),
        Tlv(0x86, emv.encode_tlv(payment)),
    )


def _answer_objects(answer: IssuerAnswer, running: _Running, config: MmsConfig) -> tuple[Tlv, ...]:
    code = answer.response_code.encode("ascii", "replace")[:2].ljust(2)
    record = emv.encode_tlv((Tlv(0x8A, code),)) + answer.issuer_data
    inside = (
        Tlv(sealed.SERIAL, running.serial),
        Tlv(sealed.GENERIC, children=(_raw_record(record),)),
    )
    return (
        Tlv(0x81, b"\x00"),
        Tlv(0x82, bytes((_card_timeout(running.command, config),))),
        Tlv(0x84, emv.encode_tlv((Tlv(0xFF74, children=inside),))),
    )


def _raw_record(content: bytes) -> Tlv:
    # The issuer's objects go to the card as they came, so they are not taken apart.
    return Tlv(sealed.RECORD, content)


# --- answers read ----------------------------------------------------------------------------------------------


def _property_value(parameters: bytes) -> tuple[int, bytes] | None:
    """The innermost object of a property, which is its value."""
    objects, _ = emv.parse_tlv(parameters)
    found = next((item for item in objects if item.tag == 0x89), None)
    if found is None:
        return None
    inside, _ = emv.parse_tlv(found.value)
    return next(((item.tag, item.value) for item in emv.walk(inside) if not item.children), None)


def _ascii(value: bytes) -> str | None:
    text = value.partition(b"\x00")[0].decode("ascii", "replace").strip()
    return emv.redact_card_numbers(text) if text.isprintable() and text else None


def _transaction_state(message: Message) -> str:
    if message.detail == codes.IN_PROGRESS and not message.is_success:
        return _RUNS
    if message.detail == codes.NO_TRANSACTION:
        return "none"
    return "unknown"


def _shown(message: Message) -> list[ReaderEvent]:
    """The reader's own text as progress, when it tells where the payment stands."""
    runs = "".join(chr(byte) if 0x20 <= byte < 0x7F else "\n" for byte in message.parameters)
    text = max(runs.split("\n"), key=len).strip()
    step = next((step for word, step in _TEXT_STEPS if word in text.upper()), None)
    if step is None:
        return []
    return [Progress(step, message.detail, emv.redact_card_numbers(text[:64]))]


def _refusal(answer: IssuerAnswer) -> str:
    return answer.text or f"the issuer refused with {answer.response_code}"
