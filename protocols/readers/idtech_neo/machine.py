"""The host's side of a NEO 2 conversation: drives a reader, without moving bytes or reading a clock.

``NeoHost`` is a ``ReaderMachine`` for an encrypting reader: a ``Purchase`` activates it, gives the sealed card away as
``OnlineWanted``, and ends by the ``Resume``. How it reads the protocol where that leaves room:

- Nothing is charged by this reader, so no end is ``LOST`` for a payment: without an approved end, what an issuer
  approved is taken back by whoever asked it.
- A chip card in the slot must hear its issuer's answer (60-12) and has the last word; a card at the antenna or a
  stripe is gone by then.
- While the reader is active only a cancel may be sent, and nothing else until that is answered. A card that was read at
  the same moment is not used.
- What arrives unasked belongs to nobody: it is looked at for card data in the clear, and dropped.
- Data that the reader did not seal are dropped in ``sealed``; no purchase begins any more until ``Connect`` finds the
  reader mended, or it cannot tell.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from protocols.errors import CommandNotPossible
from protocols.money import CURRENCIES, Money, currency_number
from protocols.readers import emv
from protocols.readers.emv import Tlv
from protocols.readers.idtech_neo import codes, sealed
from protocols.readers.idtech_neo.frames import FRAMINGS, Frame, Line, Oddity
from protocols.readers.idtech_neo.sealed import CardData, Refused, Source
from protocols.readers.protocol import (
    NOBODY_REACHED,
    Abort,
    AskStatus,
    Connect,
    Diagnose,
    Disconnect,
    Finished,
    Identity,
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
    ReadTotals,
    RecallLast,
    Resume,
    SetClock,
    Step,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

_LONGEST_CARD_WAIT_S: Final = 255
_CONTACT_WAYS: Final = ("none", "activate", "start")
#: Tables of a profile that are for the transport.
_NOT_OURS: Final = frozenset({"name", "framing", "password", "quirks", *FRAMINGS})


@dataclass(frozen=True, slots=True)
class NeoConfig:
    """What a host must know about a reader. Times in seconds."""

    contact: str = "none"
    """Chip cards: ``none`` (02-40), ``activate`` together with contactless (02-05), ``start`` chip only (60-10)."""
    card_timeout_s: int = 60
    wanted_tags: tuple[str, ...] = ()
    """Objects to ask for beside the usual ones, in hexadecimal."""
    currency: str = "EUR"
    response_s: float = 5.0
    """Longest wait for the answer to a command."""
    transaction_extra_s: float = 30.0
    """How much longer than for a card the reader may take to read it."""
    issuer_s: float = 45.0
    """Longest wait for ``Resume``."""
    frame_repeats: int = 1

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> NeoConfig:
        """Read the ``[protocol]`` table of a reader profile. Raises CommandNotPossible for what NEO does not have."""
        given = {name: value for name, value in settings.items() if name not in _NOT_OURS}
        timeouts = dict(given.pop("timeouts_ms", {}))
        retries = dict(given.pop("retries", {}))
        timeouts.pop("reconnect", None)
        if retries.pop("money_command", 0):
            raise CommandNotPossible(
                "a money command is never repeated; set retries.money_command to 0"
            )
        if "frame" in retries:
            given["frame_repeats"] = retries.pop("frame")
        given |= {
            f"{name}_s": timeouts.pop(name) / 1000
            for name in ("response", "transaction_extra", "issuer")
            if name in timeouts
        }
        if "wanted_tags" in given:
            given["wanted_tags"] = tuple(given["wanted_tags"])
        unknown = sorted({*timeouts, *retries} | (given.keys() - cls.__dataclass_fields__.keys()))
        if unknown:
            raise CommandNotPossible("settings that NEO does not have", names=", ".join(unknown))
        config = cls(**given)
        if config.contact not in _CONTACT_WAYS:
            raise CommandNotPossible(
                "no such way to read chips", given=config.contact, known=", ".join(_CONTACT_WAYS)
            )
        return config


@dataclass(frozen=True, slots=True)
class _Ask:
    """Send a command and wait for its answer."""

    number: int
    data: bytes = field(default=b"", repr=False)
    timeout_s: float | None = None
    repeats: int | None = None
    """How often to send it again when it was not answered; what was not understood is always sent again."""


@dataclass(frozen=True, slots=True)
class _More:
    """Wait for a further answer to the same command."""

    timeout_s: float


@dataclass(frozen=True, slots=True)
class _Issuer:
    """Wait for ``Resume``."""


@dataclass(frozen=True, slots=True)
class _End:
    """How a command ended; the rest as in ``Finished``."""

    outcome: Outcome
    text: str = ""
    code: int | None = None
    payment: PaymentFacts | None = None
    identity: Identity | None = None
    details: Mapping[str, str] = field(default_factory=dict)


_Said = Frame | IssuerAnswer | None
if TYPE_CHECKING:
    _Talk = Generator[_Ask | _More | _Issuer, _Said, _End]


@dataclass(slots=True)
class _Running:
    command: ReaderCommand
    talk: _Talk
    waits_for: _Ask | _More | _Issuer | None = None
    asked: _Ask | None = None
    repeats_left: int = 0
    """After silence."""
    resends_left: int = 0
    """After the reader said that it did not understand the frame."""
    takes_card: bool = False
    """A reader that is active; it may be cancelled."""
    wants_issuer: bool = False
    is_cancelled: bool = False
    cancel_is_answered: bool = True
    end: _End | None = None
    """Known, and held back until the cancel is answered."""


class NeoHost:
    """Drives one reader. See the module for its reading of the protocol and ``ReaderMachine`` for its use."""

    def __init__(self, framing: str, config: NeoConfig) -> None:
        self._line = Line(framing)
        self._config = config
        self._is_connected = False
        self._wants_reconnect = False
        self._running: _Running | None = None
        self._deadline: float | None = None
        self._events: list[ReaderEvent] = []
        self._now = 0.0
        self._serial: str | None = None
        self._gives_clear = False
        self._is_tampered = False

    # --- the driver's side ---

    def connected(self, now: float) -> Sequence[ReaderEvent]:
        """The transport is open."""
        events = list(self.disconnected(now)) if self._is_connected else []
        self._line.reset()
        self._is_connected = True
        self._wants_reconnect = False
        return events

    def disconnected(self, now: float) -> Sequence[ReaderEvent]:
        """The transport is gone."""
        self._now = now
        running = self._running
        if running is not None:
            if running.end is not None:
                self._finish(running.end)
            elif isinstance(running.command, Disconnect):
                self._finish(_End(Outcome.DONE))
            elif isinstance(running.command, Purchase):
                self._finish(_End(Outcome.FAILED, "the connection was lost; nothing was charged"))
            else:
                self._finish(_End(Outcome.LOST, "the connection was lost"))
        self._line.reset()
        self._is_connected = False
        return self._take_events()

    def start(self, command: ReaderCommand, now: float) -> None:
        """Begin a command. Raises CommandNotPossible; nothing was sent then."""
        self._now = now
        if isinstance(command, Abort):
            self._start_abort()
            return
        if isinstance(command, Resume):
            self._start_resume(command.answer)
            return
        if not self._is_connected:
            raise CommandNotPossible("the reader is not connected")
        if self._running is not None:
            raise CommandNotPossible(
                "another command runs", running=type(self._running.command).__name__
            )
        self._running = _Running(command, self._talk_of(command))
        self._go_on(None)

    def feed(self, received: bytes, now: float) -> Sequence[ReaderEvent]:
        """Take bytes as they come."""
        self._now = now
        for found in self._line.feed(received):
            if isinstance(found, Oddity):
                self._events.append(QuirkSeen(found.name))
                self._may_have_missed_it(found)
            else:
                self._receive(found)
        return self._take_events()

    def expired(self, now: float) -> Sequence[ReaderEvent]:
        """The deadline has passed."""
        self._now = now
        running = self._running
        if running is not None and self._deadline is not None and now >= self._deadline:
            self._line.forget()
            if running.end is not None:
                self._finish(running.end)
            elif isinstance(running.waits_for, _Issuer):
                self._go_on(NOBODY_REACHED)
            elif running.repeats_left and running.asked is not None:
                running.repeats_left -= 1
                self._send(running.asked)
            else:
                self._go_on(None)
        return self._take_events()

    def outgoing(self) -> bytes:
        """Bytes to send now; on a packet line one packet."""
        return self._line.outgoing()

    def deadline(self) -> float | None:
        """When ``expired`` wants to be called."""
        # What began a command has something to tell before anything comes.
        return self._now if self._events else self._deadline

    def is_idle(self) -> bool:
        """True when a new command may be started."""
        return self._is_connected and self._running is None

    def wants_reconnect(self) -> bool:
        """True when the connection must be closed and opened anew."""
        return self._wants_reconnect

    def _may_have_missed_it(self, oddity: Oddity) -> None:
        """A damaged frame while a card is awaited was the answer, most likely, and no second one comes."""
        running = self._running
        if oddity.name != "noise" and running is not None and running.takes_card:
            soon = self._now + self._config.response_s
            self._deadline = soon if self._deadline is None else min(self._deadline, soon)

    # --- running a talk ---

    def _go_on(self, said: _Said) -> None:
        running = self._running
        if running is None:
            return
        try:
            directive = running.talk.send(said)
        except StopIteration as ended:
            end: _End = ended.value
            if running.is_cancelled and not running.cancel_is_answered:
                running.end = end
                self._deadline = self._now + self._config.response_s
            else:
                self._finish(end)
            return
        running.waits_for = directive
        match directive:
            case _Ask():
                running.asked = directive
                running.repeats_left = (
                    self._config.frame_repeats if directive.repeats is None else directive.repeats
                )
                running.resends_left = self._config.frame_repeats
                self._send(directive)
            case _More(timeout_s):
                running.repeats_left = 0
                # A reader that was told to stop says so soon.
                self._deadline = self._now + (
                    self._config.response_s if running.is_cancelled else timeout_s
                )
            case _Issuer():
                self._deadline = self._now + self._config.issuer_s

    def _send(self, asked: _Ask) -> None:
        self._line.send(Frame(asked.number >> 8, asked.number & 0xFF, asked.data))
        timeout_s = asked.timeout_s or self._config.response_s
        self._deadline = self._now + timeout_s

    def _finish(self, end: _End) -> None:
        running = self._running
        if running is None:
            return
        running.talk.close()
        self._running = None
        self._deadline = None
        self._events.append(
            Finished(
                running.command,
                end.outcome,
                code=end.code,
                text=end.text,
                payment=end.payment,
                identity=end.identity,
                details=end.details,
            )
        )

    def _take_events(self) -> Sequence[ReaderEvent]:
        events, self._events = self._events, []
        return events

    # --- what comes ---

    def _receive(self, frame: Frame) -> None:
        running = self._running
        if frame.command == codes.BOOT_NOTIFICATION >> 8 and frame.sub == 0x01:
            self._restarted(frame)
            return
        if (
            running is not None
            and frame.command == codes.CANCEL >> 8
            and running.is_cancelled
            and not running.cancel_is_answered
        ):
            self._cancel_answered(running)
            return
        asked = running.asked if running is not None else None
        waits = running is not None and isinstance(running.waits_for, _Ask | _More)
        if (
            running is None
            or asked is None
            or not waits
            or running.end is not None
            or (frame.command != asked.number >> 8)
        ):
            self._unasked(frame)
            return
        if frame.sub in codes.NOT_RECEIVED and running.resends_left and not running.is_cancelled:
            running.resends_left -= 1
            self._events.append(QuirkSeen("frame_not_received", codes.status_text(frame.sub)))
            self._send(asked)
            return
        if frame.sub == codes.TAMPERED and not self._is_tampered:
            self._is_tampered = True
            self._events.append(Noticed("tamper", codes.status_text(frame.sub)))
        self._go_on(frame)

    def _unasked(self, frame: Frame) -> None:
        self._events.append(QuirkSeen("unexpected_answer", f"{frame.command:02X} {frame.sub:02X}"))
        if frame.command in {0x02, 0x03} and len(frame.data) > 1:
            self._look_at(frame.data)

    def _look_at(self, data: bytes) -> CardData | Refused:
        """Read card data; what is clear raises the alarm."""
        read = sealed.read(data, self._serial)
        if isinstance(read, Refused) and read.is_clear:
            self._gives_clear = True
            self._events.append(
                Noticed(
                    "clear_card_data",
                    "The reader does not encrypt: its card data were dropped, and it takes no payment until its"
                    " encryption is switched on.",
                )
            )
        return read

    def _restarted(self, frame: Frame) -> None:
        said = emv.redact_card_numbers(frame.data.decode("latin-1").strip("\0 "))
        self._events.append(
            Noticed(
                "restarted",
                "The reader has restarted.",
                {"said": said} if said.isprintable() else {},
            )
        )
        running = self._running
        if running is not None and running.takes_card and running.end is None:
            self._go_on(frame)

    # --- stop and go on ---

    def _start_abort(self) -> None:
        running = self._running
        if running is None:
            raise CommandNotPossible("no command runs that could be stopped")
        if not running.takes_card or running.is_cancelled:
            return
        running.is_cancelled = True
        running.cancel_is_answered = False
        self._line.send(Frame(codes.CANCEL >> 8, codes.CANCEL & 0xFF))
        # The activation ends by itself; a reader that forgets to say so must not hold the till.
        self._deadline = self._now + 2 * self._config.response_s
        running.repeats_left = 0

    def _cancel_answered(self, running: _Running) -> None:
        running.cancel_is_answered = True
        if running.end is not None:
            self._finish(running.end)
        else:
            self._deadline = self._now + self._config.response_s

    def _start_resume(self, answer: IssuerAnswer) -> None:
        running = self._running
        if running is None or not isinstance(running.waits_for, _Issuer):
            raise CommandNotPossible("no card waits for an answer")
        self._go_on(answer)

    # --- commands ---

    def _talk_of(self, command: ReaderCommand) -> _Talk:
        match command:
            case Connect():
                return self._connect()
            case Disconnect():
                return self._nothing()
            case AskStatus() | Diagnose():
                return self._ask_status()
            case RecallLast() | ReadTotals():
                return self._no_memory()
            case SetClock():
                return self._set_clock(command)
            case Purchase(amount):
                if self._gives_clear:
                    raise CommandNotPossible(
                        "the reader sends card data unencrypted; switch its encryption on and connect it again"
                    )
                if amount.minor <= 0:
                    raise CommandNotPossible("an amount to pay is above zero", amount=str(amount))
                return self._purchase(command)
            case _:
                raise CommandNotPossible(
                    "this reader has no such command", command=type(command).__name__
                )

    def _connect(self) -> _Talk:
        answer = yield _Ask(codes.PING)
        if (bad := self._unfit(answer)) is not None:
            return bad
        version = yield _Ask(codes.VERSION)
        if version is None:
            return self._silent()
        serial = yield _Ask(codes.SERIAL_NUMBER)
        product = yield _Ask(codes.PRODUCT_TYPE, repeats=0)
        yield _Ask(codes.POLL_MODE, b"\x01")
        if self._gives_clear:
            state = yield _Ask(codes.ENCRYPTION_STATE, repeats=0)
            # A reader that cannot tell gets one more try: what it sends is looked at again.
            self._gives_clear = (
                isinstance(state, Frame)
                and state.sub == codes.OK
                and bool(state.data)
                and state.data[0] & 0b11 != 0b11
            )
        self._serial = _text_of(serial)
        identity = Identity(
            serial_number=self._serial,
            model=_model_of(product, version),
            software_version=_text_of(version),
        )
        if self._gives_clear:
            return _End(Outcome.FAILED, "the reader does not encrypt card data", identity=identity)
        return _End(Outcome.DONE, identity=identity, details={"tamper": "no"})

    def _ask_status(self) -> _Talk:
        answer = yield _Ask(codes.PING)
        if (bad := self._unfit(answer)) is not None:
            return bad
        version = yield _Ask(codes.VERSION)
        identity = Identity(serial_number=self._serial, software_version=_text_of(version))
        details = {"tamper": "no"}
        if self._gives_clear:
            return _End(
                Outcome.FAILED,
                "the reader does not encrypt card data",
                identity=identity,
                details=details,
            )
        return _End(Outcome.DONE, identity=identity, details=details)

    def _no_memory(self) -> _Talk:
        answer = yield _Ask(codes.PING)
        return self._unfit(answer) or _End(
            Outcome.UNSUPPORTED, "this reader keeps no payments; the processor knows them"
        )

    def _set_clock(self, command: SetClock) -> _Talk:
        date = yield _Ask(codes.SET_DATE, bytes.fromhex(f"{command.at:%Y%m%d}"))
        time = yield _Ask(codes.SET_TIME, bytes.fromhex(f"{command.at:%H%M}"))
        for answer in (date, time):
            if not isinstance(answer, Frame):
                return self._silent()
            if answer.sub != codes.OK:
                return _plain_end(answer.sub)
        return _End(Outcome.DONE)

    def _nothing(self) -> _Talk:
        yield from ()
        return _End(Outcome.DONE)

    def _unfit(self, answer: _Said) -> _End | None:
        """Why a reader that was pinged cannot be used; None when it can."""
        if not isinstance(answer, Frame):
            return self._silent()
        if answer.sub == codes.TAMPERED:
            return _End(
                Outcome.FAILED,
                codes.status_text(answer.sub),
                answer.sub,
                details={"tamper": "yes"},
            )
        return None if answer.sub == codes.OK else _plain_end(answer.sub)

    def _silent(self) -> _End:
        self._wants_reconnect = True
        return _End(Outcome.LOST, "the reader did not answer")

    # --- a payment ---

    def _purchase(self, command: Purchase) -> _Talk:
        wait_s = min(command.card_timeout_s or self._config.card_timeout_s, _LONGEST_CARD_WAIT_S)
        within_s = wait_s + self._config.transaction_extra_s
        self._tell(Step.WAITING_FOR_CARD, codes.OK, "present a card")
        answer = yield from self._activate(command.amount, wait_s, within_s)
        if isinstance(answer, _End):
            return answer
        read = self._look_at(answer.data)
        if isinstance(read, Refused):
            return _End(Outcome.FAILED, f"{read.why}; nothing was charged", answer.sub)
        if self._running is not None and self._running.is_cancelled:
            return _End(Outcome.CANCELLED, "stopped before the card was used")
        facts = PaymentFacts(amount=command.amount, card=read.tap.card)
        if read.cryptogram is not None and read.cryptogram & 0xC0 == 0:
            return _End(Outcome.DECLINED, "the card declined", answer.sub, facts)
        self._tell(Step.AUTHORIZING, answer.sub, "the card is being authorised")
        self._events.append(OnlineWanted(read.tap, self._config.issuer_s))
        issuer = yield _Issuer()
        if not isinstance(issuer, IssuerAnswer):
            issuer = NOBODY_REACHED
        facts = PaymentFacts(
            result_code=int(issuer.response_code) if issuer.response_code.isdecimal() else None,
            amount=command.amount,
            authorization_code=issuer.authorization_code or None,
            card=read.tap.card,
        )
        if read.source is Source.CONTACT:
            return (yield from self._tell_chip(issuer, facts))
        return _issuers_end(issuer, facts)

    def _activate(
        self, amount: Money, wait_s: int, within_s: float
    ) -> Generator[_Ask | _More | _Issuer, _Said, Frame | _End]:
        """The answer that holds a card, or how it ended without one."""
        objects = _objects_for(amount, self._config)
        contact = self._config.contact
        if contact == "start":
            timeouts = wait_s.to_bytes(2, "big") + int(self._config.issuer_s).to_bytes(2, "big")
            ask = _Ask(codes.CONTACT_START, b"\x01" + timeouts + objects, within_s, repeats=0)
        else:
            number = codes.ACTIVATE if contact == "none" else codes.ACTIVATE_WITH_CONTACT
            ask = _Ask(number, bytes((wait_s,)) + objects, within_s, repeats=0)
        self._takes_card(True)
        # Lost on the way is not the same as not understood: an activation is never sent again for silence.
        answer = yield ask
        is_authenticated = contact != "start"
        while isinstance(answer, Frame):
            status = answer.sub
            if answer.command == codes.BOOT_NOTIFICATION >> 8:
                return self._without_card(
                    _End(Outcome.FAILED, "the reader restarted; nothing was charged")
                )
            if status in {codes.FIRST_RESPONSE, codes.INTERFACE_EVENT}:
                answer = yield _More(within_s)
            elif status == codes.CONTACT and len(answer.data) < 2:
                self._tell(Step.CARD_SEEN, status, "a chip card is in the reader: leave it there")
                answer = yield _More(within_s)
            elif status == codes.OK and not is_authenticated:
                is_authenticated = True
                self._tell(Step.CARD_SEEN, status, "a chip card is in the reader: leave it there")
                answer = yield _Ask(codes.CONTACT_AUTHENTICATE, ask.data[:5], within_s, repeats=0)
            elif status == codes.OK and contact == "start" and not answer.data:
                # The answer to 60-10 once more: both have the same number.
                answer = yield _More(within_s)
            elif status in {codes.OK, codes.ONLINE_WANTED, codes.CONTACT} and answer.data:
                self._takes_card(False)
                self._tell(Step.CARD_SEEN, status, "the card was read")
                return answer
            else:
                return self._without_card(self._failed(answer))
        if self._running is not None and self._running.is_cancelled:
            return self._without_card(_End(Outcome.CANCELLED, "stopped"))
        self._takes_card(False)
        stopped = yield _Ask(codes.CANCEL, repeats=0)
        self._wants_reconnect = stopped is None
        return _End(Outcome.FAILED, "the reader did not answer; nothing was charged")

    def _without_card(self, end: _End) -> _End:
        self._takes_card(False)
        return end

    def _failed(self, answer: Frame) -> _End:
        status = answer.sub
        if status == codes.NO_CARD:
            return _End(Outcome.CANCELLED, codes.status_text(status), status)
        if status in {codes.OK, codes.ONLINE_WANTED}:
            return _End(Outcome.FAILED, "the reader told nothing of a card", status)
        error = sealed.error_of(answer.data)
        if status == codes.FAILED and self._running is not None and self._running.is_cancelled:
            return _End(Outcome.CANCELLED, "stopped", status)
        if error is not None and error in codes.ERRORS:
            text, outcome = codes.ERRORS[error]
            return _End(outcome, text, error)
        return _plain_end(status)

    def _tell_chip(
        self, issuer: IssuerAnswer, facts: PaymentFacts
    ) -> Generator[_Ask | _More | _Issuer, _Said, _End]:
        """Give the chip its answer and hear what it makes of it. The data of 60-12 are *unverified* but its objects."""
        objects = emv.encode_tlv((Tlv(0x8A, issuer.response_code.encode("ascii", "replace")[:2]),))
        if issuer.authorization_code:
            objects += emv.encode_tlv(
                (Tlv(0x89, issuer.authorization_code.encode("ascii", "replace")[:6].ljust(6)),)
            )
        timeout = int(self._config.transaction_extra_s).to_bytes(2, "big")
        answer = yield _Ask(
            codes.CONTACT_APPLY,
            timeout + objects + issuer.issuer_data,
            self._config.transaction_extra_s,
            repeats=0,
        )
        while isinstance(answer, Frame) and answer.sub in {
            codes.FIRST_RESPONSE,
            codes.INTERFACE_EVENT,
            # The same number answers 60-11, and some lines bring things twice.
            codes.ONLINE_WANTED,
        }:
            answer = yield _More(self._config.transaction_extra_s)
        self._tell(Step.REMOVE_CARD, codes.OK, "take the card out")
        if not issuer.approved:
            return _issuers_end(issuer, facts)
        if not isinstance(answer, Frame):
            self._wants_reconnect = True
            return _End(
                Outcome.FAILED,
                "the card did not say whether it agrees; the authorisation is taken back",
                payment=facts,
            )
        if answer.sub != codes.OK:
            return _End(
                Outcome.DECLINED,
                f"the issuer approved and the card refused: {codes.status_text(answer.sub)}",
                answer.sub,
                facts,
            )
        if _cryptogram(answer.data) == 0:
            return _End(
                Outcome.DECLINED, "the issuer approved and the card refused", answer.sub, facts
            )
        return _issuers_end(issuer, facts)

    def _takes_card(self, takes: bool) -> None:
        if self._running is not None:
            self._running.takes_card = takes

    def _tell(self, step: Step, code: int, text: str) -> None:
        self._events.append(Progress(step, code, text))


def make_host(framing: str, settings: Mapping[str, Any]) -> NeoHost:
    """For the registry: ``settings`` as in ``NeoConfig.from_settings``."""
    return NeoHost(framing, NeoConfig.from_settings(settings))


def _objects_for(amount: Money, config: NeoConfig) -> bytes:
    exponent = CURRENCIES[amount.currency][1]
    objects = [
        Tlv(0x9F02, bytes.fromhex(f"{amount.minor:012d}")),
        Tlv(0x9C, b"\x00"),
        Tlv(0x5F2A, bytes.fromhex(f"{currency_number(amount.currency):04d}")),
        Tlv(0x5F36, bytes((exponent,))),
    ]
    if config.wanted_tags:
        objects.append(Tlv(0xDFEE1A, bytes.fromhex("".join(config.wanted_tags))))
    return emv.encode_tlv(objects)


def _issuers_end(issuer: IssuerAnswer, facts: PaymentFacts) -> _End:
    return _End(
        Outcome.APPROVED if issuer.approved else Outcome.DECLINED,
        issuer.text or ("approved" if issuer.approved else "declined by the issuer"),
        facts.result_code,
        facts,
    )


def _plain_end(status: int) -> _End:
    outcome = Outcome.BUSY if status in {0x0B, 0x0C} else Outcome.FAILED
    if status in codes.UNKNOWN:
        outcome = Outcome.UNSUPPORTED
    return _End(
        outcome,
        codes.status_text(status),
        status,
        details={"tamper": "yes"} if status == codes.TAMPERED else {},
    )


def _cryptogram(data: bytes) -> int | None:
    """The kind of cryptogram in an answer: 0 the card refused, 1 it agrees; None when it does not say."""
    for objects in (data, data[1:]):
        found = emv.find(emv.parse_tlv(objects, padding=True)[0], 0x9F27)
        if found is not None and found.value:
            return found.value[0] >> 6
    return None


def _text_of(answer: _Said) -> str | None:
    """ASCII of an answer that said yes; what else a reader may put there stays out."""
    if not isinstance(answer, Frame) or answer.sub != codes.OK:
        return None
    text = answer.data.split(b"\0")[0].decode("latin-1").strip()
    return emv.redact_card_numbers(text)[:100] if text and text.isprintable() else None


def _model_of(product: _Said, version: _Said) -> str | None:
    """The product type by name, else what stands before ``FW`` in the version."""
    if isinstance(product, Frame) and product.sub == codes.OK:
        found = emv.find(emv.parse_tlv(product.data)[0], 0xDF60)
        name = codes.PRODUCTS.get((found.value if found else product.data)[:3].hex())
        if name is not None:
            return name
    before, mark, _ = (_text_of(version) or "").partition(" FW")
    return before or None if mark else None
