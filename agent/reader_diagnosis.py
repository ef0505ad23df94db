"""What a reader's answer to the question how it is means for the shop, and what to do next. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from protocols.readers.protocol import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from protocols.readers.protocol import Finished, Identity


class Remark(NamedTuple):
    """One thing about a reader that somebody should know. ``subject`` is one word."""

    subject: str
    weight: Literal["warning", "bad"]
    words: str
    fix: str


_LOW_PERCENT: Final = 20
_CLOCK_MAY_DIFFER: Final = timedelta(minutes=5)
_TECHNICIAN: Final = "Call whoever rents it out or repairs it, and read this line to them."
_TAMPERED: Final = Remark(
    "tamper",
    "bad",
    "It says that somebody opened it.",
    "Take it out of use and send it in; it cannot be mended in the shop.",
)

#: What helps for a status of ZVT 05 01; any other than 00 needs a technician.
_ZVT_FIXES: Final[Mapping[int, str]] = {
    0x51: "Start the initialisation in its own menu.",
    0x62: "Set its clock, or let it call its host: diagnosis.",
    0x9C: "Wait some minutes: it is busy with itself.",
    0xB1: "Close its day; then its memory is free.",
    0xB2: "Close its day; if it stays, its journal is to be emptied by a technician.",
    0xBF: "Look at its paper and supplies.",
    0xC2: "Let it call its host: diagnosis.",
    0xC4: "Let it fetch its new software.",
    0xCC: "Look at its paper and the lid of its printer.",
    0xDC: "Take the card out of it.",
    0xE1: "Take the card out of it.",
    0xF0: "Close its day: an end of day is open.",
}
#: What helps for a status of ECR17 `s`.
_ECR17_FIXES: Final[Mapping[int, str]] = {
    0: "Have it configured by the bank; give it the till's address in its own menu.",
    1: "Start the data load (DLL) in its own menu.",
    3: "Start the data load (DLL) in its own menu.",
    4: "Its keys are damaged: have it exchanged.",
    5: "Wait until it has loaded its data; this starts by itself.",
}


def remarks(protocol: str, told: Finished, local: datetime) -> tuple[Remark, ...]:
    """What should be looked at; nothing when all is well. ``local``: the shop's wall time, without a zone."""
    return (*_OWN[protocol](told), *_measured(told.details), *_clock(told.details, local))


def support_line(protocol: str, identity: Identity, told: Finished | None) -> str:
    """What a support person wants to hear, on one line."""
    known = {
        "model": identity.model,
        "terminal": identity.terminal_id,
        "serial": identity.serial_number,
        "software": identity.software_version,
    }
    if told is not None:
        status = None if told.code is None else f"{told.code:02X}"
        known |= {"status": status, "says": told.text or told.outcome.value, **told.details}
    if protocol in _SEALING:
        # Neither protocol tells of keys without a card.
        known["keys"] = "shown by the first card's KSN"
    return " · ".join([protocol, *(f"{name} {text}" for name, text in known.items() if text)])


def _zvt(told: Finished) -> Iterator[Remark]:
    if told.outcome is not Outcome.DONE and told.code is not None:
        yield _status(told, _ZVT_FIXES)
    if locks := told.details.get("locks"):
        yield Remark(
            "locks", "bad", f"It has locked itself: {locks}.", "See what its display says."
        )


def _ecr17(told: Finished) -> Iterator[Remark]:
    if told.outcome is not Outcome.DONE and told.code is not None:
        yield _status(told, _ECR17_FIXES)
    if told.details.get("software_update"):
        yield Remark(
            "software",
            "warning",
            "New software waits on it; it will restart to take it in.",
            "Let it restart after the last customer.",
        )


def _concert(told: Finished) -> Iterator[Remark]:
    # Its link is all it tells of: neither serial number nor software has a message.
    if told.outcome is not Outcome.DONE:
        yield Remark(
            "link",
            "bad",
            f"Its link does not answer as it should: {told.text or told.outcome.value}.",
            "Switch the cash register link on in its menu (Concert or Caisse), then check the cable.",
        )


def _magtek(told: Finished) -> Iterator[Remark]:
    yield from _encrypting(told)
    if told.details.get("transaction") == "running":
        yield Remark(
            "transaction",
            "warning",
            "A transaction of somebody else runs on it.",
            "Wait a minute, or switch it off and on.",
        )
    if refused := told.details.get("refused"):
        yield Remark(
            "identity",
            "warning",
            f"It did not tell all about itself: {refused}.",
            "Set property_class in its profile's overlay to 1, and ask again.",
        )


def _idtech(told: Finished) -> Iterator[Remark]:
    yield from _encrypting(told)
    if told.identity is not None and told.identity.software_version is None:
        yield Remark("identity", "warning", "It did not tell its firmware.", _TECHNICIAN)


def _encrypting(told: Finished) -> Iterator[Remark]:
    if told.details.get("tamper") == "yes":
        yield _TAMPERED
    elif told.outcome is Outcome.FAILED:
        yield Remark(
            "state",
            "bad",
            f"It takes no payments: {told.text}.",
            "Have it loaded with keys, and its encryption switched on, by its supplier.",
        )


def _status(told: Finished, fixes: Mapping[int, str]) -> Remark:
    weight: Literal["warning", "bad"] = "warning" if told.outcome is Outcome.BUSY else "bad"
    fix = fixes.get(told.code or 0, _TECHNICIAN)
    return Remark("status", weight, f"It takes no payments now: {told.text}.", fix)


def _measured(details: Mapping[str, str]) -> Iterator[Remark]:
    percent = details.get("battery_percent", "")
    if (
        percent.isdecimal()
        and int(percent) <= _LOW_PERCENT
        and (details.get("external_power") != "yes")
    ):
        yield Remark("battery", "warning", f"Its battery has {percent} % left.", "Charge it.")


def _clock(details: Mapping[str, str], local: datetime) -> Iterator[Remark]:
    try:
        shown = datetime.strptime(  # noqa: DTZ007 (a reader shows local wall time)
            details.get("reader_clock", ""), "%Y%m%d %H%M%S"
        )
    except ValueError:
        return
    if abs(shown - local) > _CLOCK_MAY_DIFFER:
        yield Remark(
            "clock",
            "warning",
            f"Its clock shows {shown:%Y-%m-%d %H:%M}, and it is {local:%Y-%m-%d %H:%M} here.",
            "Set it in its menu, or let it call its host; its receipts bear that time.",
        )


_OWN: Final[Mapping[str, Callable[[Finished], Iterator[Remark]]]] = {
    "zvt": _zvt,
    "ecr17": _ecr17,
    "concert": _concert,
    "magtek_mms": _magtek,
    "idtech_neo": _idtech,
}
_SEALING: Final = frozenset({"magtek_mms", "idtech_neo"})


def silence_fix(address: str, profile_id: str, *, heard: bool) -> str:
    """What to do when a reader was not understood. ``heard``: something came that is not of its protocol."""
    scheme = address.partition("://")[0].lower()
    if heard:
        speed = "the speed (?baud=… in its address) and " if scheme == "serial" else ""
        return f"Something answers, but not as {profile_id} should: check {speed}the profile."
    return _SILENT.get(scheme, "Check its power, its cable and the address in the configuration.")


_SILENT: Final[Mapping[str, str]] = {
    "serial": "Check its power and cable, then the speed (?baud=… in its address) and the profile: "
    "at a wrong speed a reader stays silent.",
    "tcp": "Check its power and network, the address in the configuration, and that its own menu has a till on the"
    " network.",
    "usb": "Check its cable; omnitill-agent doctor --udev-rules prints the rule that lets this user open it.",
    "ble": "Check that it is on and near, and that Bluetooth is on: bluetoothctl power on.",
}
