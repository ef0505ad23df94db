"""The reader's side of a conversation: a simulated MagTek reader that behaves, and misbehaves, on cue.

``MmsTerminal`` is a ``TerminalMachine``. What it does is told by a ``Playbook`` of ``PaymentScript``s, what goes wrong
by ``FaultRule``s (``scripts``). It seals cards with a published test key, so that a sandbox can open them.

On USB an update makes it come back as its boot loader for a while: ``identity_now`` tells what the bus would show.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from protocols.errors import CommandNotPossible, MalformedMessage
from protocols.readers import dukpt, emv
from protocols.readers.emv import Tlv
from protocols.readers.ksn import counter, next_ksn
from protocols.readers.magtek_mms import codes, links, machine, sealed, tap
from protocols.readers.magtek_mms.message import (
    Message,
    Outgoing,
    decode_message,
    notification,
    response,
)
from protocols.readers.magtek_mms.scripts import (
    APPROVE,
    CARDS,
    DIGITS,
    FAULTS,
    SCRIPTS,
    FaultRule,
    Faults,
    MmsFault,
    PaymentScript,
    Playbook,
    script_named,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping

__all__ = ["CONTROLS", "DIGITS", "FAULTS", "SCRIPTS", "MmsTerminal", "make_terminal"]

TEST_KEYS: Final = {
    dukpt.TDES_SCHEME: bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"),
    dukpt.AES_SCHEME: bytes.fromhex("FEDCBA9876543210F1F1F1F1F1F1F1F1"),
}
"""The base keys of ANSI X9.24's own examples; no real reader has them."""
_FIRST_KSN: Final = {
    dukpt.TDES_SCHEME: bytes.fromhex("FFFF9876543210E00000"),
    dukpt.AES_SCHEME: bytes.fromhex("123456789012345600000000"),
}
_APPROVALS: Final = frozenset({b"00", b"08", b"10", b"11"})
_LONGEST_FILE: Final = (1 << 24) + 1024
#: What stands before the container in card data; no source explains the real ones.
_BEFORE: Final = b"\x01\x01\x84\x82"
_KEPT: Final = 100
_RESTARTS_AFTER_S: Final = 0.3
_FOR_EVER_S: Final = 3600
_SERIAL: Final = re.compile(r"[0-9A-F]{7}")

CONTROLS: Final[Mapping[str, str]] = {
    "tap": "hold a card to the reader (card=visa…)",
    "insert": "put a chip card in (card=visa…)",
    "swipe": "swipe a card (card=visa…)",
    "remove_card": "take the card out",
    "wrong_pin": "the next PIN is wrong",
    "decline_next": "the next card declines without its issuer",
    "red_key": "press the red key",
    "battery_low": "the battery is low (percent=12)",
    "battery_full": "the battery is full again",
    "tamper": "somebody opens the housing",
    "hang": "the reader says nothing any more, until it is rebooted",
    "reboot": "cut the power for a moment",
    "clear_mode": "the reader loses its keys and gives card data in the clear",
    "encrypt": "the reader gets its keys back",
}
_CONTROL_TECHNOLOGY: Final = {
    "tap": codes.CONTACTLESS,
    "insert": codes.CHIP,
    "swipe": codes.SWIPE,
}


@dataclass(frozen=True, slots=True)
class _Pause:
    """Go on after this; the pace of the simulation stretches it."""

    seconds: float


@dataclass(frozen=True, slots=True)
class _Await:
    """Go on with what comes (``card``, ``answer``, ``card_out``), or with None after this."""

    what: str
    seconds: float
    is_paced: bool = True


_Story = "Generator[_Pause | _Await, Any, None]"  # what comes is a card or an answer


@dataclass(slots=True)
class _Transaction:
    """The payment that runs."""

    request: tuple[Tlv, ...]
    script: PaymentScript
    amount_minor: int
    timeout_s: int
    is_quick: bool
    can_cancel: bool = True
    card: tuple[int, Any] | None = None
    has_key: bool = False
    """Whether a key of DUKPT was used up for it; all its data are sealed with that one."""


@dataclass(slots=True)
class MmsMemory:
    """What a reader keeps through a power cut."""

    serial_number: str = "B5A1C3D"
    """Seven hexadecimal digits, as on the label; other texts are told as they are."""
    software_version: str = "1000009373-A1-PCI"
    next_software_version: str | None = None
    """What an update installs; None: the version that is written into the file, else one more at the end."""
    model: str = "DynaFlex II Go"
    ksn: bytes = b""
    is_tampered: bool = False
    is_sealing: bool = True
    battery_percent: int = 80
    restarts: int = 0
    payments: list[dict[str, Any]] = field(default_factory=list)  # JSON

    @property
    def serial(self) -> bytes:
        """The serial number as the reader writes it."""
        if _SERIAL.fullmatch(self.serial_number):
            return bytes.fromhex(f"{self.serial_number}0")
        return self.serial_number.encode() + b"\x00"

    def snapshot(self) -> dict[str, object]:
        """As JSON."""
        return {
            name: getattr(self, name) if name != "ksn" else self.ksn.hex()
            for name in self.__dataclass_fields__
        }

    @classmethod
    def restore(cls, snapshot: Mapping[str, Any]) -> MmsMemory:
        """From ``snapshot``. Raises CommandNotPossible for another reader's."""
        try:
            return cls(
                **{**snapshot, "ksn": bytes.fromhex(snapshot["ksn"])}
                | {"payments": [dict(payment) for payment in snapshot["payments"]]}
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CommandNotPossible("not the memory of a MagTek reader") from error


class MmsTerminal:
    """One simulated reader. ``memory`` may be looked at and changed between calls."""

    def __init__(
        self,
        framing: str,
        *,
        memory: MmsMemory | None = None,
        playbook: Playbook | None = None,
        faults: Iterable[FaultRule] = (),
        bdk: bytes | None = None,
        encryption: str = dukpt.TDES_SCHEME,
        pace: float = 1.0,
        answer_wait_s: float | None = None,
        reboot_s: float = 20.0,
        starts_at: datetime = datetime(2026, 1, 2, 9, 0),  # noqa: DTZ001 - a reader shows local wall time
        roll: Callable[[], float] = lambda: 0.0,
        report_len: int = 64,
        pdu_max: int = 244,
    ) -> None:
        """``pace`` scales every pause of the scripts (0 for none); ``roll`` gives the chance numbers in [0, 1).

        ``answer_wait_s``: how long it waits for the issuer's answer, a setting of real readers; without, as long as for
        a card. Without ``bdk`` it has a published test key.
        """
        if encryption not in _FIRST_KSN:
            raise CommandNotPossible(
                "no such encryption", given=encryption, known=", ".join(_FIRST_KSN)
            )
        self.memory = memory or MmsMemory()
        if not self.memory.ksn:
            self.memory.ksn = _FIRST_KSN[encryption]
        self.playbook = playbook or Playbook()
        self._framing = framing
        self._sizes = {"report_len": report_len, "pdu_max": pdu_max}
        self._link = links.make_link(framing, longest=_LONGEST_FILE, **self._sizes)
        self._packets: deque[bytes] = deque()
        self._faults = Faults(faults, roll)
        self._script_faults = Faults(())
        self._bdk, self._scheme = bdk or TEST_KEYS[encryption], encryption
        self._pace = pace
        self._answer_wait_s = answer_wait_s
        self._reboot_s = reboot_s
        self._starts_at = starts_at
        self._now = 0.0
        self._is_connected = False
        self._wants_disconnect = False
        self._unreachable_until: float | None = None
        self._has_restarted = False
        self._is_hanging = False
        #: When the boot loader shows up and when it goes again, during an update.
        self._boot_loader: tuple[float, float] | None = None
        #: When it restarts, and whether through its boot loader; what it said before still goes out.
        self._restart_at: tuple[float, bool] | None = None
        self._transaction: _Transaction | None = None
        self._story: Any = None  # _Story
        self._waiting: _Pause | _Await | None = None
        self._wake_at: float | None = None
        self._loaded: tuple[bytes, int, bytes] | None = None
        self._update_packets = 0
        self._next_pin_is_wrong = self._next_card_declines = False

    # --- the driver's side ---

    def connected(self, now: float) -> None:
        """A till has connected."""
        self._now = now
        self._link.reset()
        self._packets.clear()
        self._is_connected = True
        self._wants_disconnect = False
        self._update_packets = 0
        if self._has_restarted and not self._is_boot_loader():
            self._has_restarted = False
            self._notify(codes.DEVICE, 0x00, 0x000000, b"")

    def disconnected(self, now: float) -> None:
        """The till is gone; what was begun goes on, and nobody hears of it."""
        self._now = now
        self._is_connected = False
        self._wants_disconnect = False
        self._link.reset()
        self._packets.clear()

    def feed(self, received: bytes, now: float) -> None:
        """Take one packet, or bytes of the stream."""
        self._now = now
        if self._is_hanging or self._is_boot_loader():
            return
        self._update_packets += len(received) > 60
        if self._update_packets > 100 and self._strikes(MmsFault.DROP_IN_UPDATE):
            self._drop()
            return
        for event in self._link.feed(received):
            if isinstance(event, links.Oddity):
                continue
            try:
                message = decode_message(event.message)
            except MalformedMessage:
                continue
            if message.kind == codes.REQUEST:
                self._receive(message)

    def expired(self, now: float) -> None:
        """The deadline has passed."""
        self._now = now
        if self._restart_at is not None and now >= self._restart_at[0]:
            self._restart(through_boot_loader=self._restart_at[1])
        if self._boot_loader is not None:
            self._mind_the_boot_loader(now)
        if self._unreachable_until is not None and now >= self._unreachable_until:
            self._unreachable_until = None
        if self._wake_at is not None and now >= self._wake_at:
            self._run(None)

    def outgoing(self) -> bytes:
        """The next packet, or piece of the stream; handed out once."""
        return self._packets.popleft() if self._packets else b""

    def deadline(self) -> float | None:
        """When ``expired`` wants to be called."""
        leaves = self._boot_loader[1] if self._boot_loader else None
        restarts = self._restart_at[0] if self._restart_at else None
        times = (self._wake_at, self._unreachable_until, leaves, restarts)
        return min((at for at in times if at is not None), default=None)

    def wants_disconnect(self) -> bool:
        """True once when the line is to be dropped, after ``outgoing()`` was sent."""
        wanted, self._wants_disconnect = self._wants_disconnect, False
        return wanted

    def unreachable_until(self) -> float | None:
        """Until when no till may connect, because the reader restarts."""
        return self._unreachable_until

    def identity_now(self) -> dict[str, object]:
        """What a USB bus shows of it at this moment; its boot loader has another number and tells no serial number."""
        if self._is_boot_loader():
            return {
                "vid": 0x0801,
                "pid": 0x2021,
                "product": "DynaFlex Boot Loader",
                "boot_loader": True,
            }
        return {
            "vid": 0x0801,
            "pid": 0x2020,
            "product": self.memory.model,
            "serial_number": self.memory.serial_number,
        }

    def is_idle(self) -> bool:
        """True when no payment runs."""
        return self._story is None

    def snapshot(self) -> dict[str, object]:
        """Everything that outlives a power cut, JSON-able."""
        return self.memory.snapshot()

    # --- people at the reader ---

    def control(self, action: str, now: float, **facts: Any) -> str:
        """Do one of ``CONTROLS``; what happened, in English. Raises CommandNotPossible for anything else."""
        self._now = now
        if action in _CONTROL_TECHNOLOGY:
            name = str(facts.get("card", "visa"))
            if name not in CARDS:
                raise CommandNotPossible("no such card", given=name, known=", ".join(CARDS))
            card = _CONTROL_TECHNOLOGY[action], CARDS[name]
            if not self._give("card", card):
                raise CommandNotPossible("the reader does not wait for a card")
            return f"{name} card: {CONTROLS[action].partition(' (')[0]}"
        match action:
            case "remove_card":
                return "taken out" if self._give("card_out", True) else "there is no card in it"
            case "wrong_pin":
                self._next_pin_is_wrong = True
            case "decline_next":
                self._next_card_declines = True
            case "red_key":
                if not self._end_early(0x00, 0x030200):
                    raise CommandNotPossible("nothing runs that could be cancelled")
            case "battery_low":
                self._lower_battery(int(facts.get("percent", 12)))
            case "battery_full":
                self.memory.battery_percent = 100
                self._notify(codes.DEVICE, 0x00, 0x020200)
            case "tamper":
                self.memory.is_tampered = True
            case "hang":
                self._is_hanging = True
                self._stop_story()
            case "reboot":
                self._restart()
            case "clear_mode" | "encrypt":
                self.memory.is_sealing = action == "encrypt"
            case _:
                raise CommandNotPossible(
                    "the reader has no such control", given=action, known=", ".join(CONTROLS)
                )
        return CONTROLS[action].partition(" (")[0]

    def press_stop(self, now: float) -> None:
        """The customer presses the red key; nothing happens when it is too late."""
        self._now = now
        self._end_early(0x00, 0x030200)

    def queue_script(self, text: str) -> None:
        """The next payment goes as ``script_named(text)`` tells. Raises CommandNotPossible."""
        self.playbook.queue.append(script_named(text))

    def arm(self, text: str) -> None:
        """One more fault may strike, as ``FaultRule.parse(text)`` tells. Raises CommandNotPossible."""
        self._faults.add(FaultRule.parse(text))

    def restart(self, now: float) -> None:
        """Somebody cuts the power."""
        self._now = now
        self._restart()

    # --- what the till asks ---

    def _receive(self, asked: Message) -> None:
        match asked.number:
            case codes.START:
                self._start(asked)
            case codes.RESUME:
                self._take_answer(asked)
            case codes.CANCEL:
                self._cancel(asked)
            case codes.TRANSACTION_STATUS:
                runs = self._story is not None
                self._say(
                    response(asked, 0x81, codes.IN_PROGRESS if runs else codes.NO_TRANSACTION)
                )
            case codes.GET_PROPERTY:
                self._tell_property(asked)
            case codes.SHOW:
                self._say(response(asked, 0x00, 0, b""))
            case codes.ECHO:
                self._say(response(asked, 0x00, 0, asked.parameters))
            case codes.RESET:
                self._say(response(asked))
                self._restart_soon()
            case codes.LOAD_FIRMWARE:
                self._load(asked)
            case codes.COMMIT_FIRMWARE:
                self._commit(asked)
            case _:
                self._say(response(asked, 0x80, codes.FEATURE_ABSENT))

    def _tell_property(self, asked: Message) -> None:
        objects, _ = emv.parse_tlv(asked.parameters)
        path = next((item.value for item in objects if item.tag == 0x89), b"")
        told = {
            machine.SERIAL_NUMBER: self.memory.serial,
            machine.FIRMWARE: self.memory.software_version.encode() + b"\x00",
        }.get(path)
        if told is None:
            self._say(response(asked, 0x80, 0x020102))
            return
        asked_for, _ = emv.parse_tlv(path)
        answer = emv.encode_tlv(_filled(asked_for, told))
        others = [item for item in objects if item.tag != 0x89]
        self._say(response(asked, 0, 0, emv.encode_tlv((*others, Tlv(0x89, answer)))))

    def _start(self, asked: Message) -> None:
        request, _ = emv.parse_tlv(asked.parameters)
        payment, _ = emv.parse_tlv(_value(request, 0x86))
        amount = _value(payment, 0x9F02).hex()
        if not amount.isdecimal() or int(amount) == 0:
            self._say(response(asked, 0x80, 0x020102))
            return
        if self._story is not None:
            self._say(response(asked, 0x81, codes.IN_PROGRESS))
            return
        script = self.playbook.next_script(int(amount))
        self._script_faults = Faults(FaultRule(fault) for fault in script.faults)
        if self._strikes(MmsFault.TAMPER):
            self.memory.is_tampered = True
        if self.memory.is_tampered:
            self._say(response(asked, 0x80, codes.TAMPERED))
            return
        for fault, status, detail in _REFUSALS:
            if self._strikes(fault):
                self._say(response(asked, status, detail))
                return
        if self._strikes(MmsFault.NEVER_ANSWERS):
            return
        if self._strikes(MmsFault.BATTERY_LOW):
            self._lower_battery(12)
        timeout = _value(request, 0x82)
        options = _value(request, 0x84)
        self._transaction = transaction = _Transaction(
            payment,
            script,
            int(amount),
            (timeout[0] or _FOR_EVER_S) if timeout else 60,
            is_quick=bool(options[1:2] and options[1] & 0x01),
        )
        self._say(response(asked, 0x01, 0, b""))
        if self._strikes(MmsFault.REBOOT):
            self._restart_soon()
            return
        if self._strikes(MmsFault.DROP_AFTER_START):
            self._drop()
        self._story = self._payment(transaction)
        self._run(None)

    def _take_answer(self, asked: Message) -> None:
        objects, _ = emv.parse_tlv(asked.parameters)
        inside, _ = emv.parse_tlv(_value(objects, 0x84))
        code = emv.find(inside, 0x8A)
        wanted = isinstance(self._waiting, _Await) and self._waiting.what == "answer"
        if not wanted or self._strikes(MmsFault.REFUSES_ANSWER):
            self._say(response(asked, 0x81, 0x02030D if self._story else codes.NO_TRANSACTION))
            return
        self._say(response(asked, 0x00, 0, b""))
        if self._strikes(MmsFault.SILENT_AFTER_ANSWER):
            self._stop_story()
            return
        if self._strikes(MmsFault.DROP_BEFORE_RESULT):
            self._drop()
        self._give("answer", code.value if code else b"")

    def _cancel(self, asked: Message) -> None:
        transaction = self._transaction
        if self._story is None or transaction is None:
            self._say(response(asked, 0x81, codes.NO_TRANSACTION))
        elif not transaction.can_cancel:
            self._say(response(asked, 0x81, codes.CANNOT_CANCEL))
        else:
            self._say(response(asked))
            self._end_early(0x00, 0x030100)

    # --- a payment ---

    def _payment(self, transaction: _Transaction) -> Generator[_Pause | _Await, Any, None]:
        script = transaction.script
        after = transaction.timeout_s if script.is_manual else script.card_after_s
        pause = float(transaction.timeout_s if after is None else after)
        card = yield _Await("card", pause, is_paced=not script.is_manual)
        if script.ends is not None:
            technology, detail = script.ends
            if technology:
                self._notify(codes.PROGRESS, technology, _PRESENTED[technology])
                yield _Pause(script.reading_s)
            self._complete(transaction, technology, detail)
            return
        if card is None:
            if after is None or script.is_manual:
                self._complete(transaction, 0x00, 0x010000)
                return
            card = (script.technology, script.card)
        transaction.card = card
        technology = card[0]
        self._notify(codes.PROGRESS, technology, _PRESENTED[technology])
        yield _Pause(script.reading_s)
        if script.has_pin and technology == codes.CHIP:
            wrong = script.wrong_pins + self._next_pin_is_wrong
            self._next_pin_is_wrong = False
            for attempt in range(wrong + 1):
                self._show("ENTER PIN" if attempt == 0 else "WRONG PIN - ENTER PIN")
                yield _Pause(2.0)
        says = 0x00 if self._next_card_declines else script.card_says
        self._next_card_declines = False
        if says != 0x80:
            self._batch(transaction, says)
            self._complete(transaction, technology, 0x020200 if says else 0x020300)
            return
        transaction.can_cancel = False
        if self._strikes(MmsFault.DROP_BEFORE_DATA):
            self._drop()
        self._notify(
            codes.PROGRESS, technology, codes.ONLINE_DATA, self._card_data(transaction, 0x80)
        )
        if self._strikes(MmsFault.DROP_AFTER_DATA):
            self._drop()
        if transaction.is_quick:
            self._batch(transaction, 0x80)
            self._complete(transaction, technology, 0x020700)
            return
        self._show("AUTHORIZING PLEASE WAIT")
        wait_s = self._answer_wait_s
        if wait_s is None:
            wait_s = transaction.timeout_s
        code = yield _Await("answer", wait_s, is_paced=False)
        yield _Pause(0.3)
        approved = code in _APPROVALS and script.card_accepts
        self._batch(transaction, 0x40 if approved else 0x00)
        self._complete(transaction, technology, 0x020600 if approved else 0x028000)
        if technology == codes.CHIP:
            self._show("REMOVE CARD")
            if script.stays_s:
                yield _Await("card_out", script.stays_s)
            self._notify(codes.PROGRESS, technology, 0x010300)

    def _batch(self, transaction: _Transaction, says: int) -> None:
        technology = transaction.card[0] if transaction.card else 0
        self._notify(
            codes.PROGRESS, technology, codes.BATCH_DATA, self._card_data(transaction, says)
        )

    def _complete(self, transaction: _Transaction, technology: int, detail: int) -> None:
        _, text = codes.end_of(detail)
        kept = {
            "amount_minor": transaction.amount_minor,
            "ksn": self.memory.ksn.hex(),
            "detail": f"{detail:06x}",
            "text": text,
        }
        self.memory.payments = [*self.memory.payments[1 - _KEPT :], kept]
        transaction.can_cancel = False
        self._notify(codes.COMPLETE, technology, detail)

    def _end_early(self, technology: int, detail: int) -> bool:
        """End the payment that runs, if that is still possible."""
        transaction = self._transaction
        if self._story is None or transaction is None or not transaction.can_cancel:
            return False
        self._stop_story()
        self._complete(transaction, technology, detail)
        return True

    def _card_data(self, transaction: _Transaction, says: int) -> bytes:
        technology, card = transaction.card or (0, CARDS["visa"])
        if not transaction.has_key:
            self.memory.ksn = next_ksn(self.memory.ksn)
            transaction.has_key = True
        shown = (
            Tlv(0xDFDF53, b"\x00"),
            Tlv(
                sealed.MASKED_TRACK if technology == codes.SWIPE else sealed.MASKED_CHIP_TRACK,
                card.masked_track2,
            ),
            Tlv(sealed.CARD_TYPE, bytes((_CARD_TYPES.get(technology, 0),))),
            Tlv(0x9F27, bytes((says,))),
            Tlv(0x9F39, bytes((_ENTRY.get(technology, 0),))),
            Tlv(0x4F, bytes.fromhex(card.aid)),
            Tlv(0x50, card.label.encode()),
        )
        clear = self._clear_objects(transaction, technology, card, says)
        serial = self.memory.serial
        if self.memory.is_sealing and not self._strikes(MmsFault.CLEAR_PAN):
            data = tap.build(
                clear,
                bdk=self._bdk,
                ksn=self.memory.ksn,
                scheme=self._scheme,
                serial=serial,
                shown=shown,
            )
        else:
            data = tap.around(
                (*shown, *clear), serial=serial, ksn=self.memory.ksn, scheme=self._scheme
            )
        return _BEFORE + len(data).to_bytes(2, "big") + data

    def _clear_objects(
        self, transaction: _Transaction, technology: int, card: Any, says: int
    ) -> tuple[Tlv, ...]:
        """What a processor needs. A stripe gives its tracks; 57 stands in for them, so that one rule reads them all."""
        clock = self._starts_at + timedelta(seconds=self._now)
        uses = counter(self.memory.ksn)
        chance = sha256(
            self.memory.ksn + transaction.amount_minor.to_bytes(6, "big") + bytes((says,))
        ).digest()
        common = (
            Tlv(0x57, card.track2),
            Tlv(0x5F24, bytes.fromhex(f"{card.expiry_yymm}31")),
            *(item for item in transaction.request if item.tag in _FROM_REQUEST),
            Tlv(0x9A, bytes.fromhex(f"{clock:%y%m%d}")),
            Tlv(0x9F21, bytes.fromhex(f"{clock:%H%M%S}")),
            Tlv(0x9F1A, b"\x02\x76"),
            Tlv(0x9F39, bytes((_ENTRY.get(technology, 0),))),
        )
        if technology == codes.SWIPE:
            track = f";{card.number}={card.expiry_yymm}{card.service_code}12345?".encode()
            return (*common, Tlv(0xF4, children=(Tlv(0xDFDF39, track),)))
        return (
            *common,
            Tlv(0x5A, bytes.fromhex(card.number + "f" * (len(card.number) % 2))),
            Tlv(0x4F, bytes.fromhex(card.aid)),
            Tlv(0x50, card.label.encode()),
            Tlv(0x5F34, b"\x01"),
            Tlv(0x82, b"\x19\x80"),
            Tlv(0x84, bytes.fromhex(card.aid)),
            Tlv(0x95, bytes(5)),
            Tlv(0x9B, b"\xe8\x00"),
            Tlv(0x9F10, bytes.fromhex("06010A03A00000")),
            Tlv(0x9F26, chance[:8]),
            Tlv(0x9F27, bytes((says,))),
            Tlv(0x9F33, bytes.fromhex("E0F8C8")),
            Tlv(0x9F34, b"\x02\x03\x00" if transaction.script.has_pin else b"\x1f\x03\x02"),
            Tlv(0x9F35, b"\x22"),
            Tlv(0x9F36, (uses & 0xFFFF).to_bytes(2, "big")),
            Tlv(0x9F37, chance[8:12]),
        )

    # --- an update ---

    def _load(self, asked: Message) -> None:
        objects, _ = emv.parse_tlv(asked.parameters)
        image_type, digest, file = (_value(objects, tag) for tag in (0x85, 0x86, 0x87))
        if self.memory.battery_percent <= 5:
            self._say(response(asked, 0x80, codes.LOW_BATTERY))
        elif sha256(file).digest() != digest or len(image_type) != 2:
            self._say(response(asked, 0x81, 0x02010A))
        else:
            self._loaded = digest, int.from_bytes(image_type, "big"), file[:64]
            self._say(response(asked))

    def _commit(self, asked: Message) -> None:
        objects, _ = emv.parse_tlv(asked.parameters)
        loaded, self._loaded = self._loaded, None
        if loaded is None or _value(objects, 0x86) != loaded[0]:
            self._say(response(asked, 0x81, 0x02010A))
            return
        self._say(response(asked))
        if self._strikes(MmsFault.FIRMWARE_FAILS):
            self._notify(codes.FIRMWARE_FAILED, 0x08, loaded[1] << 8)
        elif self._strikes(MmsFault.FIRMWARE_CURRENT):
            self._notify(codes.FIRMWARE_CURRENT, 0x08, loaded[1] << 8)
            return
        else:
            self.memory.software_version = self._version_in(loaded[2])
            if not self._strikes(MmsFault.FIRMWARE_SILENT):
                self._notify(codes.FIRMWARE_OK, 0x08, loaded[1] << 8)
        self._restart_soon(through_boot_loader=self._framing == "usb_hid")

    def _version_in(self, head: bytes) -> str:
        if self.memory.next_software_version:
            return self.memory.next_software_version
        written = head.partition(b"\x00")[0].decode("ascii", "replace")
        if written.startswith("version "):
            return written.removeprefix("version ").strip()
        return f"{self.memory.software_version}+"

    def _is_boot_loader(self) -> bool:
        return self._boot_loader is not None and self._boot_loader[0] <= self._now

    def _mind_the_boot_loader(self, now: float) -> None:
        if self._boot_loader is not None and now >= self._boot_loader[1]:
            self._boot_loader = None
            self._drop()
            self._unreachable_until = now + self._reboot_s / 4

    # --- running a story ---

    def _run(self, given: Any) -> None:
        """Go on with the payment until it waits or ends."""
        story = self._story
        self._waiting = None
        self._wake_at = None
        if story is None:
            return
        try:
            waiting = story.send(given)
        except StopIteration:
            if self._story is story:
                self._story = self._transaction = None
            return
        if self._story is not story:
            return
        self._waiting = waiting
        is_paced = not isinstance(waiting, _Await) or waiting.is_paced
        pace = self._pace * (5 if self._strikes(MmsFault.SLOW) else 1) if is_paced else 1
        self._wake_at = self._now + waiting.seconds * pace

    def _give(self, what: str, thing: Any) -> bool:
        """What the payment waits for has come; False when it waits for something else."""
        if not isinstance(self._waiting, _Await) or self._waiting.what != what:
            return False
        self._run(thing)
        return True

    def _stop_story(self) -> None:
        self._story = self._transaction = None
        self._waiting = None
        self._wake_at = None

    def _restart_soon(self, *, through_boot_loader: bool = False) -> None:
        self._stop_story()
        self._restart_at = self._now + _RESTARTS_AFTER_S, through_boot_loader

    def _restart(self, *, through_boot_loader: bool = False) -> None:
        self._stop_story()
        self._restart_at = None
        self._is_hanging = False
        self._loaded = None
        self._has_restarted = True
        self.memory.restarts += 1
        self._drop()
        if through_boot_loader:
            appears = self._now + self._reboot_s / 4
            self._boot_loader = appears, appears + self._reboot_s / 2
            self._unreachable_until = appears
        else:
            self._unreachable_until = self._now + self._reboot_s

    def _drop(self) -> None:
        self._is_connected = False
        self._wants_disconnect = True

    def _lower_battery(self, percent: int) -> None:
        self.memory.battery_percent = percent
        self._notify(codes.DEVICE, 0x00, 0x020000 | percent)

    # --- saying something ---

    def _show(self, text: str) -> None:
        self._notify(codes.UI_TEXT, 0x02, 0x010002, b"\x81" + bytes(13) + text.encode())

    def _notify(self, number: int, first: int, detail: int, payload: bytes | None = None) -> None:
        self._say(notification(number, first, detail, payload))

    def _say(self, message: Message) -> None:
        if not self._is_connected or self._is_hanging:
            return
        packets = self._packets_of(message.encode())
        if self._framing == "ble_gatt" and self._strikes(MmsFault.COUNTER_JUMP):
            packets = self._packets_of(message.encode())
        if len(packets) > 1 and self._strikes(MmsFault.LOST_PACKET):
            del packets[len(packets) // 2]
        if self._strikes(MmsFault.CANCELLED_PACKET):
            packets = [*self._given_up(message.encode()), *packets]
        if self._strikes(MmsFault.DUPLICATE):
            packets *= 2
        if self._strikes(MmsFault.GARBAGE):
            packets = [_NOISE[self._framing], *packets]
        if self._packets and self._framing != "usb_hid" and self._strikes(MmsFault.GLUED):
            packets[0] = self._packets.pop() + packets[0]
        self._packets += packets

    def _packets_of(self, encoded: bytes) -> list[bytes]:
        self._link.send(Outgoing(encoded))
        packets: list[bytes] = []
        while packet := self._link.outgoing():
            packets.append(packet)
        return packets

    def _given_up(self, encoded: bytes) -> list[bytes]:
        """The beginning of a message that is not completed."""
        if self._framing == "serial":
            return [links.frame(encoded)[:-4]]
        if self._framing == "ble_gatt":
            return []
        head = bytes((links.HEAD,)) + (600).to_bytes(4, "big") + encoded.ljust(59, b"\x00")[:59]
        return [head, bytes((links.CANCEL,)).ljust(64, b"\x00")]

    def _strikes(self, fault: MmsFault) -> bool:
        return self._script_faults.strikes(fault) or self._faults.strikes(fault)


_NOISE: Final[Mapping[str, bytes]] = {
    "usb_hid": b"\x55" * 64,
    "ble_gatt": b"\x09\x05\xff",
    "serial": b"\xff\x00\x55\xc0",
}
_REFUSALS: Final = (
    (MmsFault.BUSY, 0x81, codes.IN_PROGRESS),
    (MmsFault.CLOCK_NOT_SET, 0x80, codes.CLOCK_NOT_SET),
    (MmsFault.BATTERY_EMPTY, 0x80, codes.LOW_BATTERY),
)
_PRESENTED: Final[Mapping[int, int]] = {
    codes.SWIPE: 0x010100,
    codes.CHIP: 0x010200,
    codes.CONTACTLESS: 0x010400,
}
_CARD_TYPES: Final = {codes.SWIPE: 0x01, codes.CHIP: 0x05, codes.CONTACTLESS: 0x06}
_ENTRY: Final = {codes.SWIPE: 0x90, codes.CHIP: 0x05, codes.CONTACTLESS: 0x07}
_FROM_REQUEST: Final = frozenset({0x9C, 0x9F02, 0x9F03, 0x5F2A, 0x5F36})


def _value(objects: Iterable[Tlv], tag: int) -> bytes:
    """The content of the first object with this tag, at the top; constructed ones as they were written."""
    found = next((item for item in objects if item.tag == tag), None)
    if found is None:
        return b""
    return emv.encode_tlv(found.children) if found.children else found.value


def _filled(path: tuple[Tlv, ...], told: bytes) -> tuple[Tlv, ...]:
    """A path with the value at its end."""
    return tuple(
        Tlv(item.tag, children=_filled(item.children, told))
        if item.children
        else Tlv(item.tag, told)
        for item in path
    )


def make_terminal(framing: str, settings: Mapping[str, Any]) -> MmsTerminal:
    """For the registry.

    ``settings``: ``snapshot`` (of an earlier life), ``faults`` (texts of ``FaultRule.parse``), ``script`` (of
    ``script_named``), ``by_amount`` and ``by_last_digits`` (minor units to script), ``bdk``, ``encryption``, ``pace``,
    ``starts_at``, ``roll``, ``reboot_s``, ``answer_wait_s``, ``report_len``, ``pdu_max``, and the identity:
    ``serial_number``, ``software_version``, ``next_software_version``, ``model``. ``terminal_id``,
    ``password`` and ``currency`` are taken and mean nothing here. Raises CommandNotPossible for anything else.
    """
    given = dict(settings)
    snapshot = given.pop("snapshot", None)
    memory = MmsMemory.restore(snapshot) if snapshot else MmsMemory()
    for name in ("serial_number", "software_version", "next_software_version", "model"):
        value = given.pop(name, None)
        if value is not None and not snapshot:
            setattr(memory, name, value)
    for name in ("terminal_id", "password", "currency"):
        given.pop(name, None)
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
        "bdk",
        "encryption",
        "pace",
        "answer_wait_s",
        "reboot_s",
        "starts_at",
        "roll",
        "report_len",
        "pdu_max",
    }
    if unknown:
        raise CommandNotPossible(
            "settings that the reader does not have", names=", ".join(sorted(unknown))
        )
    return MmsTerminal(framing, memory=memory, playbook=playbook, faults=faults, **given)
