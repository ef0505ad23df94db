"""The terminal's side of a ZVT conversation: a simulated terminal that behaves, and misbehaves, on cue.

``ZvtTerminal`` is a ``TerminalMachine``. It is driven like any machine: feed bytes and the time, send ``outgoing()``,
wake it at ``deadline()``; besides, look at ``wants_disconnect()`` and ``unreachable_until()``. Keep ``snapshot()``
before sending what follows from it, and a terminal made from the snapshot goes on after a power cut.

What it does is told by a ``Playbook`` of ``PaymentScript``s, what goes wrong by ``FaultRule``s (``scripts``), and what
it knows is in its ``store``; what it does when it is asked is in ``sequences``.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from protocols.errors import CommandNotPossible, MalformedMessage
from protocols.readers.zvt import bitmaps, codes, messages
from protocols.readers.zvt.apdu import Apdu
from protocols.readers.zvt.link import Arrived, Link, LinkEvent, TcpLink
from protocols.readers.zvt.messages import Message
from protocols.readers.zvt.scripts import (
    APPROVE,
    CARDS,
    DIGITS,
    FAULTS,
    GIROCARD,
    SCRIPTS,
    VISA,
    FaultRule,
    Faults,
    PaymentScript,
    Playbook,
    ZvtFault,
    script_named,
)
from protocols.readers.zvt.sequences import (
    COMMANDS,
    FOR_STRANGERS,
    PAYMENTS,
    RECOVERIES,
    UNLOCKED,
    Desk,
    Drop,
    Hand,
    Pause,
    Reply,
    Restart,
    Say,
    Talk,
    payment,
    refuse,
)
from protocols.readers.zvt.serial_link import SerialLink, encode_frame
from protocols.readers.zvt.store import UNREGISTERED_CONFIG, TerminalStore
from protocols.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["CONTROLS", "DIGITS", "FAULTS", "SCRIPTS", "ZvtTerminal", "make_terminal"]

#: What somebody at the terminal can do, and what it wants to know, in English.
CONTROLS: Final[Mapping[str, str]] = {
    "tap": "hold a card to a terminal that waits for one (card: visa, mastercard, …)",
    "insert": "put a card into the slot and enter the PIN (card)",
    "swipe": "pull a card through (card)",
    "remove_card": "take the card out of the slot",
    "wrong_pin": "the next PIN is wrong, then right",
    "decline_next": "the bank declines the next payment (code: two hexadecimal digits)",
    "red_key": "press the red key",
    "hang": "stop answering until the power is cut",
    "reboot": "cut the power",
    "lock": "let the terminal ask for service (status: two hexadecimal digits)",
    "unlock": "let the terminal work again",
    "fault": "let something go wrong (name: see the faults)",
    "script": "choose what happens to the next payment (name: see the stories)",
}

_NOISE: Final = b"\xff\x00\x55\x15\x00"


class ZvtTerminal:
    """One simulated terminal. ``store`` may be looked at and changed between calls."""

    def __init__(
        self,
        framing: str,
        *,
        store: TerminalStore | None = None,
        playbook: Playbook | None = None,
        faults: Iterable[FaultRule] = (),
        pace: float = 1.0,
        answer_wait_s: float = 5.0,
        reboot_s: float = 20.0,
        update_polls: int = 3,
        starts_at: datetime = datetime(2026, 1, 2, 9, 0),  # noqa: DTZ001 - a terminal shows local wall time
        roll: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """``pace`` scales every pause of the scripts (0 for none); ``roll`` gives the chance numbers in [0, 1)."""
        if framing not in {"serial", "tcp"}:
            raise CommandNotPossible(
                "ZVT has no such framing", framing=framing, known="serial, tcp"
            )
        self.store = store or TerminalStore()
        self.playbook = playbook or Playbook()
        self._desk = Desk(self.store, self.playbook, Faults(faults, roll), update_polls, starts_at)
        self._pace = pace
        self._answer_wait_s = answer_wait_s
        self._reboot_s = reboot_s
        self._is_tcp = framing == "tcp"
        self._link: Link = _BadStream(self) if self._is_tcp else _BadLine(self)
        self._is_connected = False
        self._wants_disconnect = False
        self._unreachable_until: float | None = None
        self._sequence: Talk | None = None
        self._waiting: Say | Pause | None = None
        self._wake_at: float | None = None
        self._is_orphaned = False
        self._is_doubled = False
        self._ignores_answer = False
        self._chosen: tuple[bytes, PaymentScript] | None = None
        self._declines_with: int | None = None
        self._has_wrong_pin = False
        self._hangs = False

    # --- the driver's side ---

    def connected(self, now: float) -> None:
        """A till has connected."""
        self._desk.now = now
        self._link.reset()
        self._is_connected = True
        self._wants_disconnect = False
        self._is_doubled = self._ignores_answer = False

    def disconnected(self, now: float) -> None:
        """The till is gone. On TCP that ends what may be said of the running command; on a line nobody notices."""
        self._desk.now = now
        self._is_connected = False
        self._wants_disconnect = False
        self._link.reset()
        if self._is_tcp and self._sequence is not None:
            self._is_orphaned = True
            if isinstance(self._waiting, Say):
                self._run(None)

    def feed(self, received: bytes, now: float) -> None:
        """Take bytes as they come."""
        self._desk.now = now
        if not self._hangs:
            self._handle(self._link.feed(received, now))

    def expired(self, now: float) -> None:
        """The deadline has passed."""
        self._desk.now = now
        if not self._hangs:
            self._handle(self._link.expired(now))
        if self._unreachable_until is not None and now >= self._unreachable_until:
            self._unreachable_until = None
        if not self._hangs and self._wake_at is not None and now >= self._wake_at:
            self._run(None)

    def outgoing(self) -> bytes:
        """Bytes to send now; they are handed out once."""
        return self._link.outgoing()

    def deadline(self) -> float | None:
        """When ``expired`` wants to be called."""
        times = (
            (self._wake_at, self._link.deadline(), self._unreachable_until)
            if not self._hangs
            else (self._unreachable_until,)
        )
        return min((at for at in times if at is not None), default=None)

    def wants_disconnect(self) -> bool:
        """True once when the line is to be dropped, after ``outgoing()`` was sent."""
        wanted, self._wants_disconnect = self._wants_disconnect, False
        return wanted

    def unreachable_until(self) -> float | None:
        """Until when no till may connect, because the terminal restarts."""
        return self._unreachable_until

    def is_idle(self) -> bool:
        """True when no command runs."""
        return self._sequence is None

    def snapshot(self) -> dict[str, object]:
        """Everything that outlives a power cut, JSON-able."""
        return self.store.snapshot()

    # --- people at the terminal ---

    def press_stop(self, now: float) -> None:
        """The customer presses the red key."""
        self._desk.now = now
        self._stop()

    def queue_script(self, text: str) -> None:
        """The next payment goes as ``script_named(text)`` tells. Raises CommandNotPossible."""
        self.playbook.queue.append(script_named(text))

    def arm(self, text: str) -> None:
        """One more fault may strike, as ``FaultRule.parse(text)`` tells. Raises CommandNotPossible."""
        self._desk.faults.add(FaultRule.parse(text))

    def restart(self, now: float) -> None:
        """Somebody cuts the power: the line drops, what was not confirmed is settled, and the till must register."""
        self._desk.now = now
        self._restart()

    def control(self, action: str, now: float, **facts: str) -> str:
        """Do one of ``CONTROLS``; says in English what came of it. Raises CommandNotPossible for anything else."""
        self._desk.now = now
        hand = self._desk.hand
        match action:
            case "tap" | "insert" | "swipe":
                return self._present_card(action, facts.get("card", ""))
            case "remove_card":
                if not hand.is_inside:
                    raise CommandNotPossible("no card is in the slot")
                hand.is_inside = False
                self._wake()
                return "the card is out"
            case "wrong_pin":
                self._has_wrong_pin = True
                return "the next PIN is wrong"
            case "decline_next":
                self._declines_with = _hex_byte(facts.get("code", "05"))
                return f"the next payment is declined with {self._declines_with:02X}"
            case "red_key":
                return "the payment ends" if self._stop() else "nothing runs that can be stopped"
            case "hang":
                self._hangs = True
                return "it answers nothing until the power is cut"
            case "reboot":
                self._restart()
                return "it restarts"
            case "lock" | "unlock":
                status = _hex_byte(facts.get("status", "E0"))
                self.store.lock = status if action == "lock" else None
                return codes.terminal_status_text(self.store.lock or 0)
            case "fault":
                self.arm(facts.get("name", ""))
                return FAULTS[facts["name"].partition(":")[0]]
            case "script":
                self.queue_script(facts.get("name", ""))
                return "the next payment goes like that"
            case _:
                raise CommandNotPossible("no such action", given=action, known=", ".join(CONTROLS))

    def _present_card(self, action: str, card_name: str) -> str:
        hand = self._desk.hand
        if not hand.is_wanted or hand.script is not None:
            raise CommandNotPossible("the terminal does not wait for a card now")
        if card_name and card_name not in CARDS:
            raise CommandNotPossible("no such card", given=card_name, known=", ".join(CARDS))
        script = script_named(_HANDS[action])
        if action == "insert" and self._has_wrong_pin:
            script, self._has_wrong_pin = script_named("wrong_pin"), False
        waited = script.steps[1:]  # the card is there
        card = CARDS[card_name] if card_name else (GIROCARD if action == "insert" else VISA)
        hand.script = replace(
            script, steps=waited, card=card, result=self._result_of_next(script.result)
        )
        hand.is_inside = action == "insert"
        self._wake()
        return f"{card.name}: {action}"

    def _result_of_next(self, result: int) -> int:
        declined, self._declines_with = self._declines_with, None
        return result if declined is None else declined

    def _wake(self) -> None:
        """End the pause in which somebody was waited for."""
        if isinstance(self._waiting, Pause):
            self._run(None)

    # --- what the till sends ---

    def _handle(self, link_events: Iterable[LinkEvent]) -> None:
        for event in link_events:
            if isinstance(event, Arrived):
                if event.apdu is None:
                    self._send(messages.negative(codes.PROTOCOL_ERROR))
                else:
                    self._receive(event.apdu)

    def _receive(self, apdu: Apdu) -> None:
        message = messages.decode_message(apdu)
        if apdu.is_answer:
            if self._ignores_answer:
                self._ignores_answer = False
            elif isinstance(self._waiting, Say):
                self._ignores_answer, self._is_doubled = self._is_doubled, False
                self._desk.block = messages.block_of(apdu)
                self._run(message)
        elif apdu.control == messages.ABORT:
            self._send(
                messages.positive() if self._stop() else messages.negative(codes.NOT_POSSIBLE)
            )
        elif self._sequence is not None:
            self._send(messages.negative(codes.WAIT))
        else:
            self._begin(message, apdu)

    def _begin(self, message: Message, apdu: Apdu) -> None:
        sequence = self._sequence_for(message, apdu)
        if sequence is None:
            return
        self._sequence = sequence
        self._is_orphaned = False
        self._desk.stop_wanted = False
        self._run(None)

    def _sequence_for(self, message: Message, apdu: Apdu) -> Talk | None:
        control = message.control
        begin = COMMANDS.get(control)
        if (begin is None and control not in PAYMENTS) or message.opaque is not None:
            self._send(messages.negative(codes.NOT_POSSIBLE))
            return None
        store = self.store
        if store.lock is not None and control not in UNLOCKED | RECOVERIES.get(
            store.lock, frozenset()
        ):
            return refuse(
                self._desk, store.lock if store.lock in codes.RESULTS else codes.SYSTEM_ERROR
            )
        if not store.is_registered and control not in FOR_STRANGERS:
            self._send(messages.negative(codes.NOT_REGISTERED))
            return None
        if message.password is not None and message.password != Secret(store.password):
            return refuse(self._desk, codes.SYSTEM_ERROR, "wrong password")
        if control in PAYMENTS:
            script = self._script_of(apdu.encode(), message)
            self._chosen = None
            if self._desk.strikes(ZvtFault.BUSY):
                self._send(messages.negative(codes.WAIT))
                return None
            if self._desk.strikes(ZvtFault.NEVER_ANSWERS):
                return None
            return payment(self._desk, message, script)
        return begin(self._desk, message) if begin else None

    def _script_of(self, encoded: bytes, message: Message) -> PaymentScript:
        """The story of this payment; chosen once, when the first frame of it comes, which may be refused."""
        if self._chosen is None or self._chosen[0] != encoded:
            script = self.playbook.next_script(message.fields.number(bitmaps.AMOUNT) or 0)
            if not script.waits_for_hand:
                if self._has_wrong_pin:
                    script, self._has_wrong_pin = script_named("wrong_pin"), False
                script = replace(script, result=self._result_of_next(script.result))
            self._chosen = (encoded, script)
            self._desk.script_faults = Faults(FaultRule(fault) for fault in script.faults)
        return self._chosen[1]

    def strikes_on_frame(self, fault: ZvtFault, encoded: bytes) -> bool:
        """For the line: whether a fault strikes the frame with this message."""
        if (
            len(encoded) > 2
            and self._sequence is None
            and int.from_bytes(encoded[:2], "big") in PAYMENTS
        ):
            try:
                apdu = Apdu.decode(encoded)
            except MalformedMessage:
                return False
            self._script_of(encoded, messages.decode_message(apdu))
        return self._desk.strikes(fault)

    def cut_off(self) -> None:
        """For the line: it broke in the middle of a message, and nothing more gets through."""
        self._drop()

    def expect_second_answer(self, message: bytes) -> None:
        """For the line: this message goes out twice, so the till may answer twice."""
        self._is_doubled = message[0] not in {0x80, 0x84}

    # --- running a sequence ---

    def _run(self, answer: Message | None) -> None:
        """Go on with the sequence until it waits or ends."""
        sequence = self._sequence
        self._waiting = None
        self._wake_at = None
        while sequence is not None and sequence is self._sequence:
            try:
                directive = sequence.send(answer)
            except StopIteration:
                self._sequence = None
                self._desk.may_stop = False
                return
            answer = None
            match directive:
                case Reply(message):
                    self._send(message)
                case Drop():
                    self._drop()
                case Restart():
                    self._restart()
                    return
                case Say(message, then_drop):
                    if self._is_orphaned:
                        continue
                    self._send(message)
                    if then_drop:
                        self._drop()
                    self._wait(directive, self._answer_wait_s)
                    return
                case Pause(seconds, is_scaled):
                    self._wait(directive, seconds * (self._pace if is_scaled else 1.0))
                    return

    def _wait(self, directive: Say | Pause, seconds: float) -> None:
        self._waiting = directive
        self._wake_at = self._desk.now + seconds

    def _send(self, message: Message) -> None:
        if self._is_connected:
            self._link.send(message.encode(), self._desk.now)

    def _drop(self) -> None:
        self._is_connected = False
        self._wants_disconnect = True

    def _restart(self) -> None:
        if self._sequence is not None:
            self._sequence.close()
            self._sequence = None
        self._waiting = None
        self._wake_at = None
        self._desk.may_stop = self._hangs = False
        self._desk.hand = Hand()
        self._drop()
        self._unreachable_until = self._desk.now + self._reboot_s
        self.store.settle_pending()
        self.store.is_registered = False
        self.store.config_byte = UNREGISTERED_CONFIG
        self.store.allows_tlv = self.store.wants_blocks = False
        self.store.restarts += 1

    def _stop(self) -> bool:
        """Somebody wants to stop; whether that is still possible."""
        if self._sequence is None or not self._desk.may_stop:
            return False
        self._desk.stop_wanted = True
        if isinstance(self._waiting, Pause):
            self._run(None)
        return True


#: What a card does that somebody holds there: its story from the moment on when it is seen.
_HANDS: Final[Mapping[str, str]] = {"tap": "approve", "insert": "pin", "swipe": "signature"}


def _hex_byte(text: str) -> int:
    try:
        return bytes.fromhex(text.zfill(2))[0]
    except ValueError as error:
        raise CommandNotPossible("a code is two hexadecimal digits", given=text) from error


def make_terminal(framing: str, settings: Mapping[str, Any]) -> ZvtTerminal:
    """For the registry.

    ``settings``: ``snapshot`` (of an earlier life), ``faults`` (texts of ``FaultRule.parse``), ``script`` (of
    ``script_named``), ``by_amount`` and ``by_last_digits`` (minor units to script), ``pace``, ``starts_at`` (datetime),
    ``roll``, and the identity: ``terminal_id``, ``serial_number``, ``model``, ``software_version``, ``password``,
    ``currency`` (number). Raises CommandNotPossible for one that means nothing.
    """
    given = dict(settings)
    snapshot = given.pop("snapshot", None)
    store = TerminalStore.restore(snapshot) if snapshot else TerminalStore()
    for name in (
        "terminal_id",
        "serial_number",
        "model",
        "software_version",
        "next_software_version",
    ):
        if name in given and not snapshot:
            setattr(store, name, given[name])
        given.pop(name, None)
    password = given.pop("password", None)
    if password is not None:
        store.password = password.reveal() if isinstance(password, Secret) else str(password)
    if "currency" in given:
        store.currency = given.pop("currency")
    playbook = Playbook(
        default=script_named(given.pop("script")) if "script" in given else APPROVE,
        by_amount={
            int(amount): script_named(text) for amount, text in given.pop("by_amount", {}).items()
        },
        by_last_digits={
            int(digits): script_named(text)
            for digits, text in given.pop("by_last_digits", {}).items()
        },
    )
    faults = [FaultRule.parse(text) for text in given.pop("faults", ())]
    unknown = given.keys() - {
        "pace",
        "starts_at",
        "roll",
        "reboot_s",
        "update_polls",
        "answer_wait_s",
    }
    if unknown:
        raise CommandNotPossible(
            "settings that the terminal does not have", names=", ".join(sorted(unknown))
        )
    return ZvtTerminal(framing, store=store, playbook=playbook, faults=faults, **given)


# --- lines that damage what they carry -------------------------------------------------------------------------


class _BadLine(SerialLink):
    """A serial line on which the faults of its terminal strike."""

    def __init__(self, terminal: ZvtTerminal) -> None:
        super().__init__()
        self._terminal = terminal

    def frame(self, message: bytes) -> bytes:
        frame = encode_frame(message)
        strikes = self._terminal.strikes_on_frame
        if strikes(ZvtFault.BAD_CRC, b""):
            frame = frame[:-1] + bytes((frame[-1] ^ 0x55,))
        if strikes(ZvtFault.TRUNCATED, b""):
            frame = frame[: len(frame) // 2]
        if strikes(ZvtFault.DUPLICATE_FRAME, b""):
            frame *= 2
        if strikes(ZvtFault.GARBAGE, b""):
            frame = _NOISE + frame
        return frame

    def signal(self, apdu: bytes) -> bytes:
        if self._terminal.strikes_on_frame(ZvtFault.NAK, apdu):
            return b"\x15"
        return b"" if self._terminal.strikes_on_frame(ZvtFault.LOST_ACK, apdu) else b"\x06"


class _BadStream(TcpLink):
    """A TCP connection on which the faults of its terminal strike."""

    def __init__(self, terminal: ZvtTerminal) -> None:
        super().__init__()
        self._terminal = terminal

    def send(self, message: bytes, now: float) -> Sequence[LinkEvent]:
        strikes = self._terminal.strikes_on_frame
        if strikes(ZvtFault.TRUNCATED, b""):
            message = message[: max(1, len(message) // 2)]
            self._terminal.cut_off()
        if strikes(ZvtFault.DUPLICATE_FRAME, b""):
            self._terminal.expect_second_answer(message)
            message *= 2
        if strikes(ZvtFault.GARBAGE, b""):
            message = _NOISE + message
        return super().send(message, now)
