"""The terminal's side of an ECR17 conversation: a simulated terminal that behaves, and misbehaves, on cue.

``Ecr17Terminal`` is a ``TerminalMachine``. What happens in a payment is told by a story (``SCRIPTS``), what goes wrong
by faults (``FAULTS``), and what people do at it by ``control`` (``CONTROLS``). A payment that was authorised stands,
whether or not its result reaches the till; ``G`` tells it again.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from protocols.errors import CommandNotPossible, MalformedMessage
from protocols.readers.ecr17 import codes, messages
from protocols.readers.ecr17.frames import (
    Application,
    FrameStream,
    LrcMode,
    Signal,
    encode_frame,
    encode_progress,
    encode_signal,
)
from protocols.readers.emv import mask_pan
from protocols.readers.staging import CARDS, Faults, Playbook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from protocols.readers.ecr17.messages import Message

_ACK_S: Final = 2.0
_TRIES: Final = 3
_CARD_S: Final = 60.0
_WALLET: Final = '<ecrres><p k="RESPID">0</p><p k="RESPMSG">OK-APPROVED</p></ecrres>'
_NOISE: Final = b"\xff\x00\x55\x03\x00"


@dataclass(frozen=True, slots=True)
class Story:
    """What happens in one payment. ``result`` as in ``codes.RESULTS``; ``entry``: how the card comes."""

    line: str
    result: str = codes.OK
    reason: str = ""
    steps: tuple[tuple[str, float], ...] = (("ATTENDERE PREGO", 0.8),)
    card_after_s: float | None = 1.0
    """None: nobody presents one until ``control`` says so."""
    entry: str = "CLI"
    card: str = "visa"
    exchanged: bool = False
    answers: str = ""
    """Another result code than its request has by itself."""


_PIN: Final = ("DIGITARE PIN", 2.0)
_WAIT: Final = ("ATTENDERE PREGO", 0.8)
_STORIES: Final[Mapping[str, Story]] = {
    "approve": Story("approved, contactless"),
    "decline": Story("declined by the bank", "01", "TRANSAZIONE NEGATA"),
    "no_money": Story("declined: not enough money", "01", "FONDI INSUFFICIENTI"),
    "expired": Story("declined: card expired", "01", "CARTA SCADUTA"),
    "red_key": Story("the customer presses the red key", "01", "OPERAZIONE ANNULLATA", steps=()),
    "no_card": Story("nobody presents a card", "05", "CARTA ASSENTE", (), 30.0),
    "unknown_tag": Story("the terminal does not know a tag", "09", "TAG SCONOSCIUTO", ()),
    "slow": Story("approved after a long while", steps=((_WAIT[0], 9.0),), card_after_s=8.0),
    "pin": Story("approved with PIN", steps=(_PIN, _WAIT), entry="ICC", card="maestro"),
    "wrong_pin": Story(
        "approved after a wrong PIN",
        steps=(_PIN, ("PIN ERRATO", 1.0), _PIN, _WAIT),
        entry="ICC",
        card="maestro",
    ),
    "stripe": Story("approved by magnetic stripe", entry="MAG"),
    "exchange": Story("approved, in the currency of the card", exchanged=True),
    "host_gone": Story("the bank cannot be reached", "01", "ASSENZA LINEA"),
    "manual": Story("waits for the control tap, insert or swipe", card_after_s=None),
}
SCRIPTS: Final[Mapping[str, str]] = {name: story.line for name, story in _STORIES.items()}
FAULTS: Final[Mapping[str, str]] = {
    "nak": "refuses a good frame",
    "bad_lrc": "sends a frame with a wrong check byte",
    "lost_ack": "acts on a frame without confirming it",
    "result_repeated": "does not hear the till's confirmation and sends the result again",
    "garbage": "sends noise before a frame",
    "glued": "sends progress and result in one piece",
    "split": "sends the result in small pieces",
    "truncated": "stops in the middle of a frame, and sends it again",
    "never_answers": "ignores a payment; nothing begins",
    "reboot": "takes a payment and restarts; nothing is paid",
    "drop_after_start": "drops the line when it took a payment; the payment goes on",
    "drop_before_result": "drops the line when it is paid; the result is not sent",
    "drop_after_result": "drops the line with the result, before it can be confirmed",
    "closes": "closes the line after each payment, as TCP terminals do",
    "clear_pan": "sends the card number unmasked, on the receipt too",
    "totals_differ": "closes the session with another total at its host",
}
DIGITS: Final[Mapping[int, tuple[str, str]]] = {
    5: ("decline", SCRIPTS["decline"]),
    6: ("slow", SCRIPTS["slow"]),
    8: ("red_key", SCRIPTS["red_key"]),
    9: ("wrong_pin", SCRIPTS["wrong_pin"]),
    10: ("pin", SCRIPTS["pin"]),
    11: ("stripe", SCRIPTS["stripe"]),
    12: ("exchange", SCRIPTS["exchange"]),
    51: ("no_money", SCRIPTS["no_money"]),
    54: ("expired", SCRIPTS["expired"]),
    91: ("host_gone", SCRIPTS["host_gone"]),
    95: ("approve+never_answers", "the reader does not answer; nothing is charged"),
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
    "wrong_pin": "the next payment has a wrong PIN first",
    "decline_next": "the next payment is declined",
    "status": "set its status digit: value=0 to 6",
    "hang": "ignore everything until it restarts",
    "reboot": "restart it",
}
_CARD_ENTRIES: Final = {"tap": "CLI", "insert": "ICC", "swipe": "MAG"}


@dataclass(slots=True)
class Store:
    """Everything that outlives a power cut. A transaction holds a masked card number only."""

    terminal_id: str = "12345678"
    serial_number: str = "17000001"
    model: str = "Omnitill SIM"
    software_version: str = "SIM00102POS00301"
    status: int = codes.OPERATIVE
    stan: int = 0
    transactions: list[dict[str, Any]] = field(default_factory=list)
    last_result: str = ""
    last_receipt: str = ""

    def open_total(self) -> int:
        """Minor units since the session was closed last."""
        return sum(
            one["amount_minor"]
            for one in self.transactions
            if one["state"] == "done"
            and one["kind"] in {"purchase", "booking"}
            and not one["is_closed"]
        )


@dataclass(frozen=True, slots=True)
class _Pause:
    seconds: float


@dataclass(frozen=True, slots=True)
class _AwaitCard:
    after_s: float | None


@dataclass(frozen=True, slots=True)
class _Say:
    """A message that the till must confirm."""

    payload: bytes = field(repr=False)
    is_result: bool = False


class _Drop:
    pass


class _Reboot:
    pass


_Directive = _Pause | _AwaitCard | _Say | _Drop | _Reboot
_Talk = Generator[_Directive, str, None]


class Ecr17Terminal:
    """One simulated terminal. ``store`` may be looked at and changed between calls."""

    def __init__(
        self,
        framing: str,
        *,
        store: Store | None = None,
        playbook: Playbook | None = None,
        faults: Iterable[str] = (),
        lrc_mode: str = LrcMode.STD,
        pace: float = 1.0,
        reboot_s: float = 20.0,
        starts_at: datetime = datetime(2026, 1, 2, 9, 0),  # noqa: DTZ001 - a terminal shows local wall time
        roll: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """``pace`` scales every pause (0 for none); ``roll`` gives the chance numbers in [0, 1)."""
        if framing not in {"serial", "tcp"}:
            raise CommandNotPossible(
                "ECR17 has no such framing", framing=framing, known="serial, tcp"
            )
        self.store = store or Store()
        self.playbook = playbook or Playbook()
        self._mode = LrcMode(lrc_mode)
        self._faults = Faults(FAULTS, faults, roll)
        self._story_faults = Faults(FAULTS)
        self._pace = pace
        self._reboot_s = reboot_s
        self._starts_at = starts_at
        self._stream = FrameStream(self._mode)
        self._out = bytearray()
        self._now = 0.0
        self._is_connected = False
        self._wants_disconnect = False
        self._unreachable_until: float | None = None
        self._hangs = False
        self._receipts_to_till = False
        #: A payment whose first frame was refused keeps its story for the next.
        self._chosen: tuple[Message, Story] | None = None
        self._talk: _Talk | None = None
        self._waiting: _Directive | None = None
        self._tries = 0
        self._wake_at: float | None = None
        #: Pieces of a frame that follow after a moment.
        self._pieces: list[bytes] = []

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
        self._pieces.clear()
        if isinstance(self._waiting, _Say):
            self._run("")

    def feed(self, received: bytes, now: float) -> None:
        """Take bytes as they come."""
        self._now = now
        for frame in self._stream.feed(received):
            if self._hangs:
                continue
            match frame:
                case Signal(True):
                    self._confirmed()
                case Signal(False):
                    self._say_again()
                case Application(_, False):
                    self._signal(is_ack=False)
                case Application(payload):
                    self._asked(payload)

    def expired(self, now: float) -> None:
        """The deadline has passed."""
        self._now = now
        if self._unreachable_until is not None and now >= self._unreachable_until:
            self._unreachable_until = None
        if self._wake_at is None or now < self._wake_at:
            return
        if self._pieces:
            self._send_piece()
        elif isinstance(self._waiting, _Say):
            self._say_again()
        elif isinstance(self._waiting, _AwaitCard):
            self._run("card" if self._waiting.after_s is not None else "nobody")
        else:
            self._run("")

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
        return self._talk is None

    def snapshot(self) -> dict[str, object]:
        """Everything that outlives a power cut, JSON-able."""
        return asdict(self.store)

    # --- people at the terminal ---

    def control(self, action: str, now: float, **facts: object) -> str:
        """Something that people do, of ``CONTROLS``; the answer says what came of it. Raises CommandNotPossible."""
        self._now = now
        if action not in CONTROLS:
            raise CommandNotPossible(
                "this reader has no such control", given=action, known=", ".join(CONTROLS)
            )
        if action in _CARD_ENTRIES or action == "red_key":
            if not isinstance(self._waiting, _AwaitCard):
                raise CommandNotPossible("nobody is asked for a card now")
            self._run(_CARD_ENTRIES.get(action, action))
        elif action in {"wrong_pin", "decline_next"}:
            self.queue_script("wrong_pin" if action == "wrong_pin" else "decline")
        elif action == "status":
            self.store.status = int(str(facts.get("value", codes.OPERATIVE))[:1] or 2)
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

    # --- what the till sends ---

    def _asked(self, payload: bytes) -> None:
        try:
            message = messages.decode_request(payload)
        except MalformedMessage:
            self._signal(is_ack=False)
            return
        is_mine = message.terminal_id in {messages.ANY_TERMINAL, self.store.terminal_id}
        if not is_mine or self._talk is not None:
            self._signal(is_ack=False)
            return
        if message.code in "PXpicS":
            story = self._next_story(message)
            if self._strikes("never_answers"):
                return
        else:
            story = _STORIES["approve"]
            self._story_faults = Faults(FAULTS)
        if self._strikes("nak"):
            self._signal(is_ack=False)
            return
        if not self._strikes("lost_ack"):
            self._signal(is_ack=True)
        self._chosen = None
        if message.code == "E":
            self._receipts_to_till = message.values["to_till"] == "1"
        if message.code in "EU":
            return
        self._talk = self._answer(message, story)
        self._run("")

    def _next_story(self, message: Message) -> Story:
        """The story of this payment."""
        if self._chosen is None or self._chosen[0] != message:
            text = self.playbook.next_story(message.number("amount") or 0)
            story, faults = _story(text)
            self._story_faults = Faults(FAULTS, faults)
            self._chosen = (message, story)
        return self._chosen[1]

    def _strikes(self, fault: str) -> bool:
        return self._story_faults.strikes(fault) or self._faults.strikes(fault)

    # --- conversations ---

    def _answer(self, message: Message, story: Story) -> _Talk:
        store = self.store
        match message.code:
            case "s":
                clock = f"{self._clock():%d%m%y%H%M}"
                yield self._reply(
                    "s", clock=clock, status=store.status, release=store.software_version
                )
            case "T":
                yield self._reply("T", result=codes.OK, total=store.open_total())
            case "C":
                yield from self._close()
            case "G":
                if store.last_result:
                    yield _Say(store.last_result.encode())
                else:
                    yield self._reply("E", size=71, result="01", reason="NESSUNA TRANSAZIONE")
            case "H":
                yield self._reply("E", size=71, result=codes.OK, pan=_masked(story), entry="ICC")
            case "S":
                yield from self._reverse(message)
            case "R":
                self._receipts_to_till = message.values["to_till"] == "1"
                yield from self._print(store.last_receipt)
            case "K":
                yield self._reply(
                    "K", result=codes.OK, more=0, number=1, length=len(_WALLET), xml=_WALLET
                )
            case _:
                yield from self._pay(message, story)

    def _pay(self, message: Message, story: Story) -> _Talk:
        if self._strikes("reboot"):
            yield _Reboot()
            return
        if self._strikes("drop_after_start"):
            yield _Drop()
        self._progress("INSERIRE O AVVICINARE CARTA")
        came = "card"
        if message.code in "PXp":
            came = yield _AwaitCard(story.card_after_s)
        glues = self._strikes("glued")
        result, reason = story.result, story.reason
        if came in {"red_key", "nobody"}:
            result, reason = ("01", "OPERAZIONE ANNULLATA")
            if came == "nobody":
                result, reason = ("05", "CARTA ASSENTE")
        else:
            for text, seconds in story.steps:
                self._progress(text)
                yield _Pause(0 if glues else seconds)
        payload, receipt = self._book(message, story, result, reason, came)
        if self._strikes("drop_before_result"):
            yield _Drop()
        yield _Say(payload, is_result=True)
        yield from self._print(receipt)
        if self._strikes("closes"):
            yield _Pause(0.5)
            yield _Drop()

    def _print(self, receipt: str) -> _Talk:
        wanted, self._receipts_to_till = self._receipts_to_till, False
        if not wanted or not receipt:
            return
        half = len(receipt) // 2
        for part in (receipt[:half], receipt[half:]):
            yield self._reply("S", receipt=part)

    def _book(
        self, message: Message, story: Story, result: str, reason: str, came: str
    ) -> tuple[bytes, str]:
        """Write the transaction down; its result as it is sent, and its receipt."""
        store, at = self.store, self._clock()
        is_ok = result == codes.OK
        kind = {"p": "preauthorization", "c": "booking", "i": "increase"}.get(
            message.code, "purchase"
        )
        original = None
        if message.code in "ic":
            original = next(
                (
                    one
                    for one in store.transactions
                    if one["state"] == "done"
                    and one["preauthorization"] == message.number("preauthorization")
                ),
                None,
            )
            if original is None:
                is_ok, result, reason = False, "01", "PREAUTORIZ. ASSENTE"
        store.stan += 1
        number = CARDS[story.card]
        entry = came if came in _CARD_ENTRIES.values() else story.entry
        amount = message.number("amount") or 0
        authorization = f"{(store.stan * 7919) % 1_000_000:06d}"
        if is_ok and original is not None:
            original["state"] = "used"
            amount += original["amount_minor"] if kind == "increase" else 0
        store.transactions.append(
            {
                "kind": "preauthorization" if kind == "increase" else kind,
                "state": "done" if is_ok else "failed",
                "receipt": store.stan,
                "trace": store.stan,
                "amount_minor": amount,
                "result": int(result),
                "date": f"{at:%m%d}",
                "time": f"{at:%H%M}00",
                "masked_pan": mask_pan(number),
                "preauthorization": original["preauthorization"]
                if original is not None
                else 100_000_000 + store.stan
                if kind == "preauthorization"
                else 0,
                "is_closed": False,
            }
        )
        pan = number if self._strikes("clear_pan") else mask_pan(number)
        code = {"p": "e", "i": "i", "c": "c"}.get(message.code, "E")
        if story.exchanged and code in "Ec":
            code = {"E": "V", "c": "v"}[code]
        values: dict[str, str | int] = {
            "result": result,
            "acquirer": "SIMBANK",
            "stan": store.stan,
            "online": store.stan,
        }
        if is_ok:
            values |= {
                "pan": pan,
                "entry": entry,
                "authorization": authorization,
                "time": f"{at:%j%H%M}",
            }
        else:
            values["reason"] = reason
        if code in "EVcv":
            values |= {"card_type": 2 if story.card != "maestro" else 1, "action": "000"}
        if code in "EV":
            values["amount"] = amount if code == "V" or message.code == "X" else 0
        if code in "Vv":
            values |= {
                "amount": amount,
                "exchanged": 1,
                "rate": 10850,
                "exchange_currency": "USD",
                "exchange_amount": amount * 1085 // 1000,
                "decimals": 2,
            }
        if code == "e" and is_ok:
            values |= {
                "amount": amount,
                "preauthorization": store.transactions[-1]["preauthorization"],
            }
        if code == "i" and not is_ok:
            values["reason"] = reason[:22]
        size = messages.RESULT_LENGTHS.get(message.code) if code == "E" else None
        payload = messages.response(code, store.terminal_id, size=size, **values)
        store.last_result = payload.decode()
        lines = [
            "OMNITILL SIMULATORE",
            f"TML {store.terminal_id}  STAN {store.stan:06d}",
            f"{at:%d/%m/%y %H:%M}",
            f"PAN {pan}",
            f"IMPORTO EUR {amount / 100:.2f}",
            f"AUT {authorization}" if is_ok else reason,
            "TRANSAZIONE OK" if is_ok else "TRANSAZIONE NEGATA",
        ]
        store.last_receipt = "\x7d".join(lines) + "\x7d" * 6 + messages.RECEIPT_END
        return payload, store.last_receipt

    def _reverse(self, message: Message) -> _Talk:
        store = self.store
        last = next(
            (one for one in reversed(store.transactions) if one["kind"] == "purchase"), None
        )
        wanted = message.number("stan") or 0
        self._progress("INSERIRE O AVVICINARE CARTA")
        came = yield _AwaitCard(1.0)
        fits = last is not None and last["state"] == "done" and wanted in {0, last["receipt"]}
        store.stan += 1
        values: dict[str, str | int] = {"card_type": 2, "acquirer": "SIMBANK", "stan": store.stan}
        if last is not None and fits and came not in {"red_key", "nobody"}:
            last["state"] = "reversed"
            store.transactions.append(
                {**last, "kind": "reversal", "state": "done", "receipt": store.stan, "result": 0}
            )
            values |= {
                "result": codes.OK,
                "pan": last["masked_pan"],
                "entry": "ICC",
                "time": f"{self._clock():%j%H%M}",
            }
        else:
            values |= {"result": "01", "reason": "STORNO NON POSSIBILE"}
        payload = messages.response("E", store.terminal_id, size=74, **values)
        store.last_result = payload.decode()
        yield _Say(payload, is_result=True)
        receipt = "STORNO\x7d" + "\x7d" * 5 + messages.RECEIPT_END
        yield from self._print(receipt)

    def _close(self) -> _Talk:
        store = self.store
        self._progress("CHIUSURA IN CORSO")
        yield _Pause(1.0)
        total = store.open_total()
        host = total + (100 if self._strikes("totals_differ") else 0)
        for one in store.transactions:
            one["is_closed"] = True
        yield self._reply("C", result=codes.OK, total=total, host_total=host)
        yield from self._print("CHIUSURA\x7d" + "\x7d" * 5 + messages.RECEIPT_END)

    def _reply(self, code: str, *, size: int | None = None, **values: str | int) -> _Say:
        return _Say(messages.response(code, self.store.terminal_id, size=size, **values))

    def _clock(self) -> datetime:
        return self._starts_at + timedelta(seconds=self._now)

    # --- running one ---

    def _run(self, came: str) -> None:
        """Go on with the conversation until it waits or ends."""
        self._waiting = None
        self._wake_at = None
        talk = self._talk
        is_first = not came
        while talk is not None and talk is self._talk:
            try:
                directive = next(talk) if is_first else talk.send(came)
            except StopIteration:
                self._talk = None
                return
            came, is_first = "", False
            match directive:
                case _Drop():
                    self._drop()
                case _Reboot():
                    self._restart()
                case _Say(payload) if self._is_connected:
                    self._waiting = directive
                    self._tries = 0
                    self._say(payload)
                    return
                case _Pause(seconds):
                    self._wait(directive, seconds * self._pace)
                    return
                case _AwaitCard(after_s):
                    self._wait(directive, _CARD_S if after_s is None else after_s * self._pace)
                    return

    def _wait(self, directive: _Directive, seconds: float) -> None:
        self._waiting = directive
        self._wake_at = self._now + seconds

    def _confirmed(self) -> None:
        waiting = self._waiting
        if not isinstance(waiting, _Say) or self._pieces:
            return
        if waiting.is_result and self._strikes("result_repeated"):
            return
        self._run("")

    def _say_again(self) -> None:
        waiting = self._waiting
        if not isinstance(waiting, _Say):
            return
        if self._tries >= _TRIES:
            self._run("")
            return
        self._say(waiting.payload)

    def _say(self, payload: bytes) -> None:
        waiting = self._waiting
        is_result = isinstance(waiting, _Say) and waiting.is_result
        self._tries += 1
        self._wake_at = self._now + _ACK_S
        frame = encode_frame(payload, self._mode)
        if self._strikes("bad_lrc"):
            frame = frame[:-1] + bytes((frame[-1] ^ 0x55,))
        if self._strikes("garbage"):
            frame = _NOISE + frame
        if self._strikes("truncated"):
            frame = frame[: len(frame) // 2]
        if is_result and self._strikes("split"):
            self._pieces = [frame[at : at + 16] for at in range(0, len(frame), 16)]
            self._send_piece()
            return
        self._send(frame)
        if is_result and self._strikes("drop_after_result"):
            self._drop()

    def _send_piece(self) -> None:
        self._send(self._pieces.pop(0))
        self._wake_at = self._now + (0.02 if self._pieces else _ACK_S)

    def _send(self, encoded: bytes) -> None:
        if self._is_connected:
            self._out += encoded

    def _signal(self, *, is_ack: bool) -> None:
        self._send(encode_signal(self._mode, is_ack=is_ack))

    def _progress(self, text: str) -> None:
        self._send(encode_progress(text))

    def _drop(self) -> None:
        self._is_connected = False
        self._wants_disconnect = True

    def _restart(self) -> None:
        if self._talk is not None:
            self._talk.close()
        self._talk = None
        self._waiting = None
        self._wake_at = None
        self._pieces.clear()
        self._hangs = False
        self._receipts_to_till = False
        self._drop()
        self._unreachable_until = self._now + self._reboot_s


def make_terminal(framing: str, settings: Mapping[str, Any]) -> Ecr17Terminal:
    """For the registry.

    ``settings``: ``snapshot``, ``faults``, ``script``, ``by_amount``, ``by_last_digits``, ``pace``, ``reboot_s``,
    ``starts_at``, ``roll``, ``lrc_mode``, and the identity: ``terminal_id``, ``serial_number``, ``model``,
    ``software_version``, ``status``. Raises CommandNotPossible for one that means nothing.
    """
    given = dict(settings)
    for name in ("password", "currency"):
        given.pop(name, None)
    snapshot = given.pop("snapshot", None)
    known = {one.name for one in fields(Store)}
    store = Store(**{name: value for name, value in (snapshot or {}).items() if name in known})
    for name in ("terminal_id", "serial_number", "model", "software_version", "status"):
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
    allowed = {"pace", "starts_at", "roll", "reboot_s", "lrc_mode"}
    if unknown := given.keys() - allowed:
        raise CommandNotPossible(
            "settings that the terminal does not have", names=", ".join(sorted(unknown))
        )
    return Ecr17Terminal(framing, store=store, playbook=playbook, faults=faults, **given)


def _story(text: str) -> tuple[Story, list[str]]:
    """A story and the faults behind its ``+``. Raises CommandNotPossible for a word that means nothing."""
    name, *faults = text.split("+")
    if name not in _STORIES:
        raise CommandNotPossible("no such story", given=name, known=", ".join(_STORIES))
    Faults(FAULTS, faults)
    return _STORIES[name], faults


def _masked(story: Story) -> str:
    return mask_pan(CARDS[story.card])
