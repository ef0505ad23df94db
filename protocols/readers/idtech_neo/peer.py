"""The reader's side of a NEO 2 conversation: a simulated reader that behaves, and misbehaves, on cue.

``NeoTerminal`` is a ``TerminalMachine``. What happens in a payment is told by a story (``SCRIPTS``), what goes wrong by
faults (``FAULTS``), and what people do at it by ``control`` (``CONTROLS``). It seals cards with a test key.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from protocols.errors import CommandNotPossible
from protocols.readers import dukpt, emv
from protocols.readers.emv import Tlv
from protocols.readers.idtech_neo import codes, sealed, tap
from protocols.readers.idtech_neo.frames import Frame, Line, Oddity, encode
from protocols.readers.idtech_neo.scripts import (
    AIDS,
    DIGITS,
    ENTRY,
    FAULTS,
    INSERT,
    KINDS,
    LABELS,
    NOBODY,
    SCRIPTS,
    SWIPE,
    TAP,
    Story,
    story_named,
)
from protocols.readers.idtech_neo.sealed import Attribution, Source
from protocols.readers.staging import CARDS, Faults, Playbook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["CONTROLS", "DIGITS", "FAULTS", "SCRIPTS", "NeoTerminal", "make_terminal"]

#: What somebody at the reader can do, and what it wants to know, in English.
CONTROLS: Final[Mapping[str, str]] = {
    "tap": "hold a card to a reader that waits for one (card: visa, mastercard, …)",
    "insert": "put a card into the slot (card)",
    "swipe": "pull a card through (card)",
    "remove_card": "take the card out of the slot",
    "tamper": "open the case: it stays out of service",
    "clear_mode": "switch its encryption off",
    "sealed_mode": "switch its encryption on",
    "hang": "stop answering until the power is cut",
    "reboot": "cut the power",
    "boot_notification": "let it say that it started",
    "boot_loader": "start the boot loader and install the next version, as the maker's tool does",
    "fault": "let something go wrong (name: see the faults)",
    "script": "choose what happens to the next payment (name: see the stories)",
}

#: Keys that ANSI X9.24 publishes for tests.
TEST_KEYS: Final[Mapping[str, bytes]] = {
    dukpt.TDES_SCHEME: bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"),
    dukpt.AES_SCHEME: bytes.fromhex("FEDCBA9876543210F1F1F1F1F1F1F1F1"),
}
_FIRST_KSN: Final[Mapping[str, bytes]] = {
    dukpt.TDES_SCHEME: bytes.fromhex("FFFF9876543210E00000"),
    dukpt.AES_SCHEME: bytes.fromhex("123456789012345600000000"),
}
_SOURCES: Final = {TAP: Source.CONTACTLESS, INSERT: Source.CONTACT, SWIPE: Source.SWIPE}
_NOISE: Final = b"\xff\x00ViVO\x55"
_ACTIVATIONS: Final = frozenset({codes.ACTIVATE, codes.ACTIVATE_WITH_CONTACT, codes.CONTACT_START})
_EXPIRY: Final = "3012"


class _Activation:
    """A payment that runs on the reader."""

    def __init__(self, number: int, story: Story, objects: tuple[Tlv, ...], ends_at: float) -> None:
        self.number = number
        self.story = story
        self.objects = objects
        self.ends_at = ends_at
        self.card_at: float | None = None


class NeoTerminal:
    """One simulated reader."""

    def __init__(
        self,
        framing: str,
        *,
        playbook: Playbook | None = None,
        faults: Iterable[str] = (),
        pace: float = 1.0,
        reboot_s: float = 20.0,
        starts_at: datetime = datetime(2026, 1, 2, 9, 0),  # noqa: DTZ001 - a reader shows local wall time
        roll: Callable[[], float] = lambda: 0.0,
        serial_number: str = "V0000001",
        model: str = "VP3300",
        software_version: str = "VP3300 FW v1.00.S",
        next_software_version: str = "VP3300 FW v1.01.S",
        encryption: str = dukpt.TDES_SCHEME,
        bdk: bytes | None = None,
        snapshot: Mapping[str, Any] | None = None,
    ) -> None:
        """``pace`` scales every pause (0 for none); ``roll`` gives the chance numbers in [0, 1).

        Raises CommandNotPossible for a framing, encryption or fault there is not.
        """
        if encryption not in TEST_KEYS:
            raise CommandNotPossible(
                "no such encryption", given=encryption, known=", ".join(TEST_KEYS)
            )
        self._line = Line(framing)
        self.playbook = playbook or Playbook(default=TAP)
        self._faults = Faults(FAULTS, faults, roll)
        self._story_faults: list[str] = []
        self._pace = pace
        self._reboot_s = reboot_s
        self._starts_at = starts_at
        self._bdk = bdk or TEST_KEYS[encryption]
        self._scheme = encryption
        self._model = model
        was = snapshot or {}
        self._serial = str(was.get("serial_number", serial_number))
        self.software_version = str(was.get("software_version", software_version))
        self._next_version = next_software_version
        self._ksn = bytes.fromhex(str(was.get("ksn", _FIRST_KSN[encryption].hex())))
        self.is_tampered = bool(was.get("is_tampered", False))
        self.is_sealing = bool(was.get("is_sealing", True))
        self.taps = int(was.get("taps", 0))
        """Cards that were read in all its life."""
        self._now = 0.0
        self._is_connected = False
        self._wants_disconnect = False
        self._unreachable_until: float | None = None
        self._activation: _Activation | None = None
        #: A chip card in the slot that waits for its issuer's answer.
        self._inserted: Story | None = None
        self._authenticating: _Activation | None = None
        self._later: list[tuple[float, bytes]] = []
        self._hangs = False
        self._says_boot = False

    # --- the driver's side ---

    def connected(self, now: float) -> None:
        """A host has connected."""
        self._now = now
        self._line.reset()
        self._is_connected = True
        self._wants_disconnect = False
        if self._says_boot:
            self._says_boot = False
            self._notify_boot()

    def disconnected(self, now: float) -> None:
        """The host is gone; an activation ends with it."""
        self._now = now
        self._is_connected = False
        self._wants_disconnect = False
        self._activation = None
        self._inserted = None
        self._later.clear()
        self._line.reset()

    def feed(self, received: bytes, now: float) -> None:
        """Take bytes as they come."""
        self._now = now
        for found in self._line.feed(received):
            if self._hangs or not self._is_connected:
                continue
            if isinstance(found, Oddity):
                if found.name == "bad_check_code":
                    self._answer(0, codes.WRONG_CHECK_CODE)
            else:
                self._receive(found)

    def expired(self, now: float) -> None:
        """The deadline has passed."""
        self._now = now
        if self._unreachable_until is not None and now >= self._unreachable_until:
            self._unreachable_until = None
        due = [later for later in self._later if later[0] <= now]
        self._later = [later for later in self._later if later[0] > now]
        for _, encoded in due:
            self._line.send_raw(encoded)
        active = self._activation
        if active is None or self._hangs:
            return
        if active.card_at is not None and now >= active.card_at:
            self._present(active)
        elif now >= active.ends_at:
            self._activation = None
            self._answer(active.number, codes.NO_CARD)

    def outgoing(self) -> bytes:
        """Bytes to send now; on a packet line one packet."""
        return self._line.outgoing() if self._is_connected else b""

    def deadline(self) -> float | None:
        """When ``expired`` wants to be called."""
        times = [self._unreachable_until, *(at for at, _ in self._later)]
        if self._activation is not None and not self._hangs:
            times += [self._activation.card_at, self._activation.ends_at]
        return min((at for at in times if at is not None), default=None)

    def wants_disconnect(self) -> bool:
        """True once when the line is to be dropped, after ``outgoing()`` was sent."""
        wanted, self._wants_disconnect = self._wants_disconnect, False
        return wanted

    def unreachable_until(self) -> float | None:
        """Until when no host may connect, because the reader restarts."""
        return self._unreachable_until

    def is_idle(self) -> bool:
        """True when no payment runs."""
        return self._activation is None and self._inserted is None

    def snapshot(self) -> dict[str, object]:
        """Everything that outlives a power cut, JSON-able."""
        return {
            "serial_number": self._serial,
            "software_version": self.software_version,
            "ksn": self._ksn.hex(),
            "is_tampered": self.is_tampered,
            "is_sealing": self.is_sealing,
            "taps": self.taps,
        }

    # --- people at the reader ---

    def control(self, action: str, now: float, **facts: str) -> str:
        """Do one of ``CONTROLS``; says in English what came of it. Raises CommandNotPossible for anything else."""
        self._now = now
        match action:
            case "tap" | "insert" | "swipe":
                return self._bring_card(action, facts.get("card", ""))
            case "remove_card":
                if self._inserted is None:
                    raise CommandNotPossible("no card is in the slot")
                self._inserted = None
                return "the card is out"
            case "tamper":
                self.is_tampered = True
                return "it is out of service for good"
            case "clear_mode" | "sealed_mode":
                self.is_sealing = action == "sealed_mode"
                return "it seals cards" if self.is_sealing else "it sends cards in the clear"
            case "hang":
                self._hangs = True
                return "it answers nothing until the power is cut"
            case "reboot":
                self._restart()
                return "it restarts"
            case "boot_notification":
                self._notify_boot()
                return "it says that it started"
            case "boot_loader":
                self._install()
                return f"it restarts with {self.software_version}"
            case "fault":
                self.arm(facts.get("name", ""))
                return FAULTS[facts["name"].partition(":")[0]]
            case "script":
                self.queue_script(facts.get("name", ""))
                return "the next payment goes like that"
            case _:
                raise CommandNotPossible("no such action", given=action, known=", ".join(CONTROLS))

    def arm(self, text: str) -> None:
        """One more fault may strike. Raises CommandNotPossible."""
        self._faults.arm(text)

    def queue_script(self, text: str) -> None:
        """The next payment goes as ``story_named(text)`` tells. Raises CommandNotPossible."""
        story_named(text)
        self.playbook.queue.append(text)

    def restart(self, now: float) -> None:
        """Somebody cuts the power."""
        self._now = now
        self._restart()

    # --- commands ---

    def _receive(self, frame: Frame) -> None:
        number = frame.command << 8 | frame.sub
        active = self._activation
        if number == codes.CANCEL:
            self._answer(number, codes.OK)
            self._stop()
            return
        if active is not None:
            # Only a cancel is allowed: anything else counts as one.
            self._stop()
            self._answer(number, codes.NOT_ALLOWED)
            return
        if self._strikes("crc_refused"):
            self._answer(number, codes.WRONG_CHECK_CODE)
        elif number in _ACTIVATIONS:
            self._activate(number, frame.data)
        elif number == codes.CONTACT_APPLY:
            self._apply(frame.data)
        elif number == codes.CONTACT_AUTHENTICATE:
            self._authenticate()
        elif number == codes.BOOT_LOADER:
            self._install()
        else:
            self._answer_plain(number, frame.data)

    def _answer_plain(self, number: int, data: bytes) -> None:
        if self._strikes("tamper"):
            self.is_tampered = True
        match number:
            case codes.PING:
                self._answer(number, codes.TAMPERED if self.is_tampered else codes.OK)
            case codes.VERSION:
                self._answer(number, codes.OK, self.software_version.encode("ascii", "replace"))
            case codes.SERIAL_NUMBER:
                serial = self._serial.encode("ascii", "replace")[:15].ljust(15, b"\0")
                self._answer(number, codes.OK, serial)
            case codes.PRODUCT_TYPE:
                known = {name: value for value, name in codes.PRODUCTS.items()}
                product = bytes.fromhex(known.get(self._model, "000000"))
                self._answer(number, codes.OK, emv.encode_tlv((Tlv(0xDF60, product),)))
            case codes.POLL_MODE:
                is_good = data in {b"\x00", b"\x01"}
                self._answer(number, codes.OK if is_good else 0x05)
            case codes.ENCRYPTION_STATE:
                self._answer(number, codes.OK, b"\x03" if self.is_sealing else b"\x00")
            case codes.SET_DATE | codes.SET_TIME:
                self._set_clock(number, data)
            case codes.BOOT_NOTIFICATION:
                self._answer(number, codes.OK)
            case _:
                known_command = any(one >> 8 == number >> 8 for one in codes.COMMANDS)
                self._answer(number, 0x03 if known_command else 0x02)

    def _set_clock(self, number: int, data: bytes) -> None:
        try:
            form = "%Y%m%d" if number == codes.SET_DATE else "%H%M"
            at = datetime.strptime(data.hex(), form)  # noqa: DTZ007 - local wall time
        except ValueError:
            self._answer(number, 0x05)
            return
        shown = self._clock()
        if number == codes.SET_DATE:
            set_to = shown.replace(year=at.year, month=at.month, day=at.day)
        else:
            set_to = shown.replace(hour=at.hour, minute=at.minute, second=0)
        self._starts_at += set_to - shown
        self._answer(number, codes.OK)

    def _clock(self) -> datetime:
        return self._starts_at + timedelta(seconds=self._now)

    # --- a payment ---

    def _activate(self, number: int, data: bytes) -> None:
        if self._strikes("tamper"):
            self.is_tampered = True
        if self.is_tampered:
            self._answer(number, codes.TAMPERED)
            return
        head = 5 if number == codes.CONTACT_START else 1
        objects, read = emv.parse_tlv(data[head:], padding=True)
        amount = emv.find(objects, 0x9F02)
        if len(data) < head or read != len(data) - head or amount is None:
            self._answer(number, 0x05)
            return
        timeout_s = int.from_bytes(data[1:3], "big") if head == 5 else data[0]
        digits = amount.value.hex()
        story = story_named(
            self.playbook.next_story(int(digits) if digits.isdecimal() and digits else 0)
        )
        self._story_faults = list(story.faults)
        if self._strikes("busy"):
            self._answer(number, codes.NOT_ALLOWED)
            return
        if self._strikes("never_answers"):
            return
        if self._strikes("drop_after_start"):
            self._drop()
            return
        if self._strikes("clear_mode"):
            self.is_sealing = False
        scale = self._pace * (5 if self._strikes("slow") else 1)
        active = _Activation(number, story, objects, self._now + timeout_s * min(1.0, scale))
        if self._strikes("reboot"):
            self._restart()
            return
        if story.after_s is not None and story.card_by != NOBODY:
            active.card_at = min(self._now + story.after_s * scale, active.ends_at)
        self._activation = active
        if number == codes.CONTACT_START:
            self._answer(number, codes.FIRST_RESPONSE)

    def _bring_card(self, how: str, card: str) -> str:
        active = self._activation
        if active is None:
            raise CommandNotPossible("the reader does not wait for a card now")
        if card and card not in CARDS:
            raise CommandNotPossible("no such card", given=card, known=", ".join(CARDS))
        base = story_named(how + (f"+{card}" if card else ""))
        active.story = base
        self._present(active)
        return f"{base.card} {how}"

    def _present(self, active: _Activation) -> None:
        """The card is there."""
        self._activation = None
        story = active.story
        number = active.number
        if self._strikes("drop_after_card"):
            self._drop()
            return
        if story.error is not None:
            failed = emv.encode_tlv((Tlv(sealed.ERROR, bytes((story.error, 0, 0, 0))),))
            self._answer(number, codes.FAILED, failed)
            return
        if number == codes.CONTACT_START:
            self._inserted = story
            self._authenticating = active
            self._answer(number, codes.OK)
            return
        how = story.card_by
        if how == INSERT and number == codes.ACTIVATE:
            # This one reads no chips: the customer holds the card to it instead.
            how = TAP
        if how == INSERT:
            self._inserted = story
            self._answer(number, codes.CONTACT)
        status = codes.OK if how == SWIPE else codes.ONLINE_WANTED
        self._answer(number, status, self._card(active, story, how))

    def _authenticate(self) -> None:
        if self._inserted is None or self._authenticating is None:
            self._answer(codes.CONTACT_AUTHENTICATE, codes.NOT_ALLOWED)
            return
        self._answer(codes.CONTACT_AUTHENTICATE, codes.FIRST_RESPONSE)
        card = self._card(self._authenticating, self._inserted, INSERT)
        self._answer(codes.CONTACT_AUTHENTICATE, codes.ONLINE_WANTED, card)

    def _apply(self, data: bytes) -> None:
        number = codes.CONTACT_APPLY
        story, self._inserted = self._inserted, None
        if story is None:
            self._answer(number, codes.NOT_ALLOWED)
            return
        self._answer(number, codes.FIRST_RESPONSE)
        objects, _ = emv.parse_tlv(data[2:])
        code = emv.find(objects, 0x8A)
        is_approved = code is not None and code.value == b"00" and story.agrees
        kind = Tlv(0x9F27, b"\x40" if is_approved else b"\x00")
        self._answer(number, codes.OK, emv.encode_tlv((kind,)))

    def _card(self, active: _Activation, story: Story, how: str) -> bytes:
        if not self._strikes("ksn_repeat") or dukpt.counter(self._ksn) == 0:
            self._ksn = dukpt.next_ksn(self._ksn)
        self.taps += 1
        clear = self._objects_of(active, story, how)
        attribution = Attribution(_SOURCES[how], self._scheme, self.is_sealing)
        if not self.is_sealing:
            return bytes((attribution.byte(),)) + emv.encode_tlv(clear)
        return bytes((attribution.byte(),)) + tap.build(
            clear,
            bdk=self._bdk,
            ksn=self._ksn,
            scheme=self._scheme,
            serial=self._serial.encode("ascii", "replace"),
        )

    def _objects_of(self, active: _Activation, story: Story, how: str) -> list[Tlv]:
        number = CARDS[story.card]
        service = f"{number}={_EXPIRY}201123456789"
        entry = [
            Tlv(0x9F39, bytes((ENTRY[how],))),
            Tlv(0xFFEE01, children=(Tlv(0xDF30, bytes((KINDS[how],))),)),
            Tlv(sealed.ENCRYPTION, b"\xe1\x00"),
        ]
        if how == SWIPE:
            name = f"%B{number}^TEST/CARDHOLDER^{_EXPIRY}201123456789?"
            return [
                Tlv(tap.TRACK_1, name.encode()),
                Tlv(tap.TRACK_2, f";{service}?".encode()),
                *entry,
            ]
        track = service.replace("=", "D")
        track += "F" * (len(track) % 2)
        shown = self._clock()
        asked = {item.tag: item for item in active.objects}
        return [
            Tlv(0x4F, bytes.fromhex(AIDS[story.card])),
            Tlv(0x50, LABELS[story.card].encode()),
            Tlv(0x57, bytes.fromhex(track)),
            Tlv(0x5A, bytes.fromhex(number + "F" * (len(number) % 2))),
            Tlv(0x5F20, b"TEST/CARDHOLDER"),
            Tlv(0x5F24, bytes.fromhex(f"{_EXPIRY}31")),
            *(asked[tag] for tag in (0x5F2A, 0x9C, 0x9F02) if tag in asked),
            Tlv(0x5F34, b"\x01"),
            Tlv(0x82, b"\x20\x00"),
            Tlv(0x95, bytes(5)),
            Tlv(0x9A, bytes.fromhex(f"{shown:%y%m%d}")),
            Tlv(0x9F06, bytes.fromhex(AIDS[story.card])),
            Tlv(0x9F10, bytes.fromhex("06010A03A00000")),
            Tlv(0x9F1A, b"\x09\x78"),
            Tlv(0x9F21, bytes.fromhex(f"{shown:%H%M%S}")),
            Tlv(0x9F26, self.taps.to_bytes(8, "big")),
            Tlv(0x9F27, bytes((story.cryptogram,))),
            Tlv(0x9F34, b"\x1f\x03\x02" if how == TAP else b"\x44\x03\x02"),
            Tlv(0x9F36, (self.taps & 0xFFFF).to_bytes(2, "big")),
            Tlv(0x9F37, (self.taps * 7919 & 0xFFFFFFFF).to_bytes(4, "big")),
            *entry,
        ]

    def _stop(self) -> None:
        active, self._activation = self._activation, None
        if active is not None:
            self._answer(active.number, codes.FAILED)

    # --- the line ---

    def _answer(self, number: int, status: int, data: bytes = b"") -> None:
        if not self._is_connected or self._hangs:
            return
        if self._strikes("boot_notification"):
            self._notify_boot()
        encoded = encode(Frame(number >> 8, status, data, is_high_first=True))
        if self._strikes("garbage"):
            self._line.send_raw(_NOISE)
        if self._strikes("bad_crc"):
            encoded = encoded[:-1] + bytes((encoded[-1] ^ 0xFF,))
        if self._strikes("truncated"):
            encoded = encoded[: len(encoded) // 2]
        self._line.send_raw(encoded)
        if self._strikes("duplicate_frame"):
            self._line.send_raw(encoded)

    def _notify_boot(self) -> None:
        said = self.software_version.encode("ascii", "replace")[:14].ljust(14, b"\0")
        if self._is_connected and not self._hangs:
            self._line.send(Frame(0x14, 0x01, said, is_high_first=True))

    def _strikes(self, fault: str) -> bool:
        if fault in self._story_faults:
            self._story_faults.remove(fault)
            return True
        return self._faults.strikes(fault)

    def _drop(self) -> None:
        self._activation = None
        self._is_connected = False
        self._wants_disconnect = True

    def _install(self) -> None:
        self.software_version, self._next_version = self._next_version, self.software_version
        self._restart()

    def _restart(self) -> None:
        self._drop()
        self._inserted = None
        self._hangs = False
        self.is_sealing = True
        self._says_boot = True
        self._unreachable_until = self._now + self._reboot_s


def make_terminal(framing: str, settings: Mapping[str, Any]) -> NeoTerminal:
    """For the registry.

    ``settings``: ``snapshot`` (of an earlier life), ``faults``, ``script``, ``by_amount`` and ``by_last_digits`` (minor
    units to story), ``pace``, ``reboot_s``, ``starts_at``, ``roll``, ``bdk``, ``encryption``, and the identity:
    ``serial_number``, ``model``, ``software_version``, ``next_software_version``; ``terminal_id`` is taken and means
    nothing here. Raises CommandNotPossible for one that means nothing.
    """
    given = dict(settings)
    given.pop("terminal_id", None)
    stories = {
        name: {int(key): text for key, text in given.pop(name, {}).items()}
        for name in ("by_amount", "by_last_digits")
    }
    playbook = Playbook(
        default=given.pop("script", TAP),
        by_amount=stories["by_amount"],
        by_last_digits=stories["by_last_digits"],
    )
    for text in (
        playbook.default,
        *stories["by_amount"].values(),
        *stories["by_last_digits"].values(),
    ):
        story_named(text)
    unknown = given.keys() - {
        "bdk",
        "encryption",
        "faults",
        "model",
        "next_software_version",
        "pace",
        "reboot_s",
        "roll",
        "serial_number",
        "snapshot",
        "software_version",
        "starts_at",
    }
    if unknown:
        raise CommandNotPossible(
            "settings that this reader does not have", names=", ".join(sorted(unknown))
        )
    return NeoTerminal(framing, playbook=playbook, **given)
