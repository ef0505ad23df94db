"""From a profile and an address to a reader that can be run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from agent.errors import AddressUnreadable
from agent.readers.reader import Reader, Timing
from agent.transports import transport_for
from protocols.readers import registry
from protocols.secret import Secret

if TYPE_CHECKING:
    from agent.clock import Clock
    from firmware_profiles import ReaderProfile
    from protocols.readers.protocol import ReaderMachine

#: A restart is the last resort: only when nothing was heard for longer than the longest silence that is allowed.
_AFTER_SILENCE_S = 60
#: How messages are cut on a line, unless the profile says otherwise.
_FRAMINGS: Final = {"serial": "serial", "tcp": "tcp", "usb": "usb_hid", "ble": "ble_gatt"}


def reader_for(
    profile: ReaderProfile,
    address: str,
    *,
    currency: str,
    password: Secret[str] | None = None,
    clock: Clock | None = None,
) -> Reader:
    """A reader that is not running yet: give its `run()` to a task.

    `currency`: ISO 4217 letters, which some protocols register with. `password`: the reader's own, where it has one;
    without it the profile's default. Raises AddressUnreadable, or CommandNotPossible for a profile that its protocol
    does not understand.
    """
    framing = framing_for(profile, address)
    line = _line(profile, address, framing)
    idle_close_s = line.get("idle_close_s", 0)
    timing = Timing(
        heartbeat_s=profile.health.heartbeat_s,
        idle_close_s=float(str(idle_close_s)),
        restart_after_s=profile.timeout_s("t4", 180) + _AFTER_SILENCE_S,
    )
    confirm = profile.match.confirm
    return Reader(
        transport_for(address, line),
        machine_for(profile, currency=currency, password=password, framing=framing),
        timing=timing,
        clock=clock,
        expects=(confirm.answer or confirm.contains) if confirm else None,
        can_restart=profile.can("remote_reboot"),
    )


def framing_for(profile: ReaderProfile, address: str) -> str:
    """How messages are cut on the line of an address: as its scheme has it, unless the profile says otherwise.

    `serial` on USB is a reader whose bulk endpoints carry a plain stream.
    """
    own = profile.protocol.framing
    scheme = address.partition("://")[0].lower()
    usual = _FRAMINGS.get(scheme, own or "")
    return "serial" if scheme == "usb" and own == "serial" else usual


def machine_for(
    profile: ReaderProfile,
    *,
    currency: str,
    password: Secret[str] | None = None,
    framing: str | None = None,
) -> ReaderMachine:
    """The protocol machine that a profile asks for. Raises CommandNotPossible."""
    settings: dict[str, Any] = {  # each protocol reads its own
        **profile.machine_settings(),
        "currency": currency,
    }
    default = profile.settings.get("password")
    if password is not None:
        settings["password"] = password
    elif default is not None and default.default is not None:
        settings["password"] = Secret(str(default.default))
    protocol = profile.protocol
    return registry.host_machine(protocol.name, framing or protocol.framing or "", settings)


def _line(profile: ReaderProfile, address: str, framing: str) -> dict[str, object]:
    """What the profile says of the line. Raises AddressUnreadable for a scheme that it is not made for."""
    scheme = address.partition("://")[0].lower()
    if scheme not in _FRAMINGS:
        return {}
    protocol = profile.protocol
    tables: dict[str, Any] = {  # a table of each kind of line
        "serial": None if protocol.framing == "tcp" else protocol.serial,
        "tcp": protocol.tcp,
        "usb_hid": protocol.usb_hid,
        "ble_gatt": protocol.ble_gatt,
    }
    table = tables[framing]
    if table is None:
        raise AddressUnreadable(
            f"{address!r} does not suit {profile.id}, which is not made for {scheme}:// addresses",
            address=address,
        )
    line = {name: getattr(table, name) for name in table.__struct_fields__}
    return (
        {**line, "transfer": "bulk" if framing == "serial" else "interrupt"}
        if scheme == "usb"
        else line
    )
