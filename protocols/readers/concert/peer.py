"""The terminal's side of a Concert conversation: a simulated terminal that behaves, and misbehaves, on cue.

``ConcertTerminal`` is a ``TerminalMachine``. What happens in a payment is told by a story (``SCRIPTS``), what goes
wrong by faults (``FAULTS``), and what people do at it by ``control`` (``CONTROLS``). A payment that was accepted
stands, whether or not its answer reaches the till; nothing tells it again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final

from protocols.errors import CommandNotPossible, MalformedMessage
from protocols.money import currency_number
from protocols.readers.concert import messages
from protocols.readers.concert.frames import FrameStream, Message, Signal, encode_frame
from protocols.readers.staging import CARDS, Faults, Playbook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from protocols.readers.concert.messages import Request

_CONTROL_S: Final = 3.0
_TRIES: Final = 3
_CARD_S: Final = 60.0
_NOISE: Final = b"\xff\x00\x55\x00"


@dataclass(frozen=True, slots=True)
class Story:
    """What happens in one payment. ``seconds`` None: it waits for a person."""

    line: str
    result: int = messages.ACCEPTED
    seconds: float | None = 2.0


_STORIES: Final[Mapping[str, Story]] = {
    "approve": Story("accepted"),
    "decline": Story("refused by the bank", 7),
    "red_key": Story("the customer presses the red key", 7, 1.0),
    "no_card": Story("nobody presents a card", 7, 30.0),
    "not_verified": Story("not verified: an incident", messages.NOT_VERIFIED),
    "slow": Story("accepted after a long while", seconds=60.0),
    "manual": Story("waits for the control tap, insert or swipe", seconds=None),
}
SCRIPTS: Final[Mapping[str, str]] = {name: story.line for name, story in _STORIES.items()}
FAULTS: Final[Mapping[str, str]] = {
    "enq_refused": "answers the till's ENQ with NAK",
    "enq_ignored": "does not answer the till's ENQ",
    "collision": "answers the till's ENQ with its own, and then gives way",
    "nak": "refuses a good request",
    "lost_ack": "takes a request without confirming it",
    "bad_lrc": "sends its answer with a wrong check byte",
    "long_answer": "sends the long answer, which nobody asked for",
    "result_repeated": "does not hear the till's confirmation and sends the answer again",
    "stray_enq": "calls the idle till to send the last answer again",
    "eot_missing": "does not end its answer with EOT",
    "garbage": "sends noise before its answer",
    "truncated": "stops in the middle of its answer, and sends it again",
    "never_answers": "takes a payment and never tells its end; charged",
    "reboot": "takes a payment and restarts; nothing is paid",
    "drop_after_start": "drops the line when it took a payment; charged",
    "drop_before_result": "drops the line when it is paid; the answer is not sent",
    "drop_after_result": "drops the line with its answer",
}
DIGITS: Final[Mapping[int, tuple[str, str]]] = {
    5: ("decline", SCRIPTS["decline"]),
    6: ("slow", SCRIPTS["slow"]),
    8: ("red_key", SCRIPTS["red_key"]),
    9: ("not_verified", SCRIPTS["not_verified"]),
    95: ("approve+never_answers", "the answer never comes; charged"),
    96: ("approve+reboot", "the reader restarts; nothing is charged"),
    97: ("approve+drop_after_start", "the line drops at once; charged all the same"),
    98: ("approve+drop_after_result", "the line drops with the answer; charged"),
    99: ("approve+drop_before_result", "the answer is lost; charged"),
}
CONTROLS: Final[Mapping[str, str]] = {
    "tap": "hold a card to it",
    "insert": "put a card in",
    "swipe": "pull a card through",
    "red_key": "press the red key",
    "decline_next": "the next payment is declined",
    "hang": "ignore everything until it restarts",
    "reboot": "restart it",
}
_WITH_CARD: Final = frozenset({"tap", "insert", "swipe"})


@dataclass(slots=True)
class Store:
    """Everything that outlives a power cut."""

    terminal_id: str = "11111111"
    serial_number: str = "33000001"
    model: str = "Omnitill SIM"
    software_version: str = "SIM 1.0"
    tickets: int = 0
    transactions: list[dict[str, Any]] = field(default_factory=list)


class _Stage(Enum):
    IDLE = auto()
    LISTENING = auto()
    """The till has the link; its request comes."""
    TURNING = auto()
    """The request is confirmed; the till's EOT comes."""
    PAYING = auto()
    CALLING = auto()
    """Our ENQ is out."""
    ANSWERING = auto()
    """Our answer is out and not confirmed."""


class ConcertTerminal:
    """One simulated terminal. ``store`` may be looked at and changed between calls."""

    def __init__(
        self,
        framing: str,
        *,
        store: Store | None = None,
        playbook: Playbook | None = None,
        faults: Iterable[str] = (),
        echoes: bool = True,
        pace: float = 1.0,
        reboot_s: float = 20.0,
        starts_at: datetime = datetime(2026, 1, 2, 9, 0),  # noqa: DTZ001 - a terminal shows local wall time
        roll: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """``echoes``: what the till wrote in the private field comes back; else a number of the terminal's own."""
        if framing != "serial":
            raise CommandNotPossible("Concert has no such framing", framing=framing, known="serial")
        self.store = store or Store()
        self.playbook = playbook or Playbook()
        self._faults = Faults(FAULTS, faults, roll)
        self._story_faults = Faults(FAULTS)
        self._story = _STORIES["approve"]
        self._echoes = echoes
        self._pace = pace
        self._reboot_s = reboot_s
        self._starts_at = starts_at
        self._stream = FrameStream()
        self._out = bytearray()
        self._now = 0.0
        self._is_connected = False
        self._wants_disconnect = False
        self._unreachable_until: float | None = None
        self._hangs = False
        self._stage = _Stage.IDLE
        self._wake_at: float | None = None
        self._tries = 0
        self._refused: bytes = b""
        self._request: Request | None = None
        self._answer = b""

    # --- the driver's side ---

    def connected(self, now: float) -> None:
        """A till has connected."""
        self._now = now
        self._stream.reset()
        self._out.clear()
        self._is_connected = True
        self._wants_disconnect = False

    def disconnected(self, now: float) -> None:
        """The till is gone; a payment goes on, and nobody hears of it."""
        self._now = now
        self._is_connected = False
        self._out.clear()
        if self._stage is _Stage.TURNING:
            self._pay()
        elif self._stage is not _Stage.PAYING:
            self._rest()

    def feed(self, received: bytes, now: float) -> None:
        """Take bytes as they come."""
        self._now = now
        for frame in self._stream.feed(received):
            if self._hangs:
                continue
            match frame:
                case Message():
                    self._asked(frame)
                case Signal.ENQ:
                    self._called()
                case Signal.EOT:
                    self._given_back()
                case Signal.ACK:
                    self._confirmed()
                case Signal.NAK:
                    self._say_again()

    def expired(self, now: float) -> None:
        """The deadline has passed."""
        self._now = now
        if self._unreachable_until is not None and now >= self._unreachable_until:
            self._unreachable_until = None
        if self._wake_at is None or now < self._wake_at:
            return
        self._wake_at = None
        match self._stage:
            case _Stage.TURNING:
                self._pay()
            case _Stage.PAYING:
                self._paid("card" if self._story.seconds is not None else "nobody")
            case _Stage.CALLING | _Stage.ANSWERING:
                self._say_again()
            case _:
                self._rest()

    def outgoing(self) -> bytes:
        """Bytes to send now; they are handed out once."""
        out = bytes(self._out)
        self._out.clear()
        return out

    def deadline(self) -> float | None:
        """When ``expired`` wants to be called."""
        times = (self._wake_at, self._unreachable_until)
        return min((at for at in times if at is not None), default=None)

    def wants_disconnect(self) -> bool:
        """True once when the line is to be dropped, after ``outgoing()`` was sent."""
        wanted, self._wants_disconnect = self._wants_disconnect, False
        return wanted

    def unreachable_until(self) -> float | None:
        """Until when no till may connect, because the terminal restarts."""
        return self._unreachable_until

    def is_idle(self) -> bool:
        """True when nothing runs."""
        return self._stage is _Stage.IDLE

    def snapshot(self) -> dict[str, object]:
        """Everything that outlives a power cut, JSON-able."""
        return asdict(self.store)

    # --- people at the terminal ---

    def control(self, action: str, now: float, **_facts: object) -> str:
        """Something that people do, of ``CONTROLS``; the answer says what came of it. Raises CommandNotPossible."""
        self._now = now
        if action not in CONTROLS:
            raise CommandNotPossible(
                "this reader has no such control", given=action, known=", ".join(CONTROLS)
            )
        if action in _WITH_CARD or action == "red_key":
            if self._stage is not _Stage.PAYING:
                raise CommandNotPossible("nobody is asked for a card now")
            self._paid(action)
        elif action == "decline_next":
            self.queue_script("decline")
        elif action == "hang":
            self._hangs = True
        else:
            self._restart()
        return "done"

    def press_stop(self, now: float) -> None:
        """The customer presses the red key."""
        self.control("red_key", now)

    def queue_script(self, text: str) -> None:
        """The next payment goes as this story tells. Raises CommandNotPossible."""
        _story(text)
        self.playbook.queue.append(text)

    def arm(self, text: str) -> None:
        """One more fault may strike. Raises CommandNotPossible."""
        self._faults.arm(text)

    def restart(self, now: float) -> None:
        """Somebody cuts the power."""
        self.control("reboot", now)

    # --- what the till says ---

    def _called(self) -> None:
        if self._stage not in {_Stage.IDLE, _Stage.LISTENING}:
            # Our own ENQ stands while we call; a payment is not interrupted.
            return
        if self._strikes("enq_ignored"):
            return
        if self._strikes("enq_refused"):
            self._say(Signal.NAK)
            return
        if self._strikes("collision"):
            self._say(Signal.ENQ)
        self._say(Signal.ACK)
        self._stage = _Stage.LISTENING
        self._wake_at = self._now + _CONTROL_S

    def _asked(self, message: Message) -> None:
        if self._stage is not _Stage.LISTENING:
            return
        try:
            request = messages.decode_request(message.body) if message.is_sound else None
        except MalformedMessage:
            request = None
        if request is None:
            self._say(Signal.NAK)
            return
        if self._refused != message.body:
            name = self.playbook.next_story(request.amount.minor)
            self._story, faults = _story(name)
            self._story_faults = Faults(FAULTS, faults)
        if self._strikes("nak"):
            # The same story for the same payment when it comes again.
            self._refused = message.body
            self._say(Signal.NAK)
            return
        self._refused = b""
        self._request = request
        if not self._strikes("lost_ack"):
            self._say(Signal.ACK)
        self._stage = _Stage.TURNING
        self._wake_at = self._now + _CONTROL_S

    def _given_back(self) -> None:
        if self._stage is _Stage.TURNING:
            self._pay()
        elif self._stage is _Stage.LISTENING:
            self._rest()

    def _pay(self) -> None:
        if self._strikes("reboot"):
            self._restart()
            return
        seconds = self._story.seconds
        self._stage = _Stage.PAYING
        self._wake_at = self._now + (_CARD_S if seconds is None else seconds * self._pace)
        if self._strikes("drop_after_start"):
            self._drop()

    def _paid(self, came: str) -> None:
        """The payment has ended: it is written down, then told."""
        request = self._request
        if request is None:
            self._rest()
            return
        result = 7 if came in {"red_key", "nobody"} else self._story.result
        self._write_down(request, result)
        number = str(self.store.tickets)
        answer = messages.Answer(
            request.cash_desk,
            result,
            request.amount,
            request.mode,
            request.private if self._echoes else number.zfill(messages.PRIVATE_LENGTH),
        )
        report = None
        if request.wants_report or self._strikes("long_answer"):
            report = f"CB {CARDS['visa']} 3012"
        currency = currency_number(request.amount.currency)
        self._answer = messages.encode_answer(answer, currency, report=report)
        if self._strikes("drop_before_result"):
            self._drop()
        if self._strikes("never_answers") or not self._is_connected:
            self._rest()
            return
        self._call()

    def _write_down(self, request: Request, result: int) -> None:
        at = self._starts_at + timedelta(seconds=self._now)
        self.store.tickets += 1
        self.store.transactions.append(
            {
                "kind": "refund" if request.transaction == messages.REFUND else "purchase",
                "state": "done" if result == messages.ACCEPTED else "failed",
                "receipt": self.store.tickets,
                "trace": self.store.tickets,
                "amount_minor": request.amount.minor,
                "result": result,
                "date": f"{at:%m%d}",
                "time": f"{at:%H%M%S}",
                "private": request.private,
            }
        )

    # --- what is said to the till ---

    def _call(self) -> None:
        self._stage = _Stage.CALLING
        self._tries = 1
        self._say(Signal.ENQ)
        self._wake_at = self._now + _CONTROL_S

    def _confirmed(self) -> None:
        if self._stage is _Stage.CALLING:
            self._stage = _Stage.ANSWERING
            self._tries = 0
            self._send_answer()
        elif self._stage is _Stage.ANSWERING:
            if self._strikes("result_repeated"):
                self._send_answer()
                return
            if not self._strikes("eot_missing"):
                self._say(Signal.EOT)
            self._rest()
            if self._strikes("stray_enq"):
                self._call()

    def _say_again(self) -> None:
        if self._stage not in {_Stage.CALLING, _Stage.ANSWERING}:
            return
        if self._tries >= _TRIES:
            self._say(Signal.EOT)
            self._rest()
        elif self._stage is _Stage.CALLING:
            self._tries += 1
            self._say(Signal.ENQ)
            self._wake_at = self._now + _CONTROL_S
        else:
            self._send_answer()

    def _send_answer(self) -> None:
        self._tries += 1
        self._wake_at = self._now + _CONTROL_S
        frame = encode_frame(self._answer)
        if self._strikes("bad_lrc"):
            frame = frame[:-1] + bytes((frame[-1] ^ 0x55,))
        if self._strikes("garbage"):
            frame = _NOISE + frame
        if self._strikes("truncated"):
            frame = frame[: len(frame) // 2]
        if self._is_connected:
            self._out += frame
        if self._strikes("drop_after_result"):
            self._drop()

    def _say(self, signal: Signal) -> None:
        if self._is_connected:
            self._out.append(signal)

    def _rest(self) -> None:
        self._stage = _Stage.IDLE
        self._wake_at = None

    def _strikes(self, fault: str) -> bool:
        return self._story_faults.strikes(fault) or self._faults.strikes(fault)

    def _drop(self) -> None:
        self._is_connected = False
        self._wants_disconnect = True

    def _restart(self) -> None:
        self._rest()
        self._hangs = False
        self._request = None
        self._drop()
        self._unreachable_until = self._now + self._reboot_s


def make_terminal(framing: str, settings: Mapping[str, Any]) -> ConcertTerminal:
    """For the registry.

    ``settings``: ``snapshot``, ``faults``, ``script``, ``by_amount``, ``by_last_digits``, ``pace``, ``reboot_s``,
    ``starts_at``, ``roll``, ``echoes``, and the identity: ``terminal_id``, ``serial_number``, ``model``,
    ``software_version``, which this protocol cannot tell. Raises CommandNotPossible for one that means nothing.
    """
    given = dict(settings)
    for name in ("password", "currency"):
        given.pop(name, None)
    snapshot = given.pop("snapshot", None)
    known = {one.name for one in fields(Store)}
    store = Store(**{name: value for name, value in (snapshot or {}).items() if name in known})
    for name in ("terminal_id", "serial_number", "model", "software_version"):
        if name in given and not snapshot:
            setattr(store, name, given[name])
        given.pop(name, None)
    playbook = Playbook(
        default=given.pop("script", "approve"),
        by_amount={int(amount): text for amount, text in given.pop("by_amount", {}).items()},
        by_last_digits={
            int(digits): text for digits, text in given.pop("by_last_digits", {}).items()
        },
    )
    for text in (
        playbook.default,
        *playbook.by_amount.values(),
        *playbook.by_last_digits.values(),
    ):
        _story(text)
    faults = given.pop("faults", ())
    if unknown := given.keys() - {"pace", "starts_at", "roll", "reboot_s", "echoes"}:
        raise CommandNotPossible(
            "settings that the terminal does not have", names=", ".join(sorted(unknown))
        )
    return ConcertTerminal(framing, store=store, playbook=playbook, faults=faults, **given)


def _story(text: str) -> tuple[Story, list[str]]:
    """A story and the faults behind its ``+``. Raises CommandNotPossible for a word that means nothing."""
    name, *faults = text.split("+")
    if name not in _STORIES:
        raise CommandNotPossible("no such story", given=name, known=", ".join(_STORIES))
    Faults(FAULTS, faults)
    return _STORIES[name], faults
