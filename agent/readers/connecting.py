"""From a profile and an address to a reader that can be run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    line: dict[str, object] = {}
    scheme = address.partition("://")[0].lower()
    if scheme in {"serial", "tcp"}:
        settings = profile.protocol.serial if scheme == "serial" else profile.protocol.tcp
        if settings is None or (scheme == "serial" and profile.protocol.framing == "tcp"):
            raise AddressUnreadable(
                f"{address!r} does not suit {profile.id}, which is not made for {scheme}:// addresses",
                address=address,
            )
        line = {name: getattr(settings, name) for name in settings.__struct_fields__}
    idle_close_s = line.get("idle_close_s", 0)
    timing = Timing(
        heartbeat_s=profile.health.heartbeat_s,
        idle_close_s=float(str(idle_close_s)),
        restart_after_s=profile.timeout_s("t4", 180) + _AFTER_SILENCE_S,
    )
    confirm = profile.match.confirm
    return Reader(
        transport_for(address, line),
        machine_for(profile, currency=currency, password=password),
        timing=timing,
        clock=clock,
        expects=confirm.answer if confirm else None,
        can_restart=profile.can("remote_reboot"),
    )


def machine_for(
    profile: ReaderProfile, *, currency: str, password: Secret[str] | None = None
) -> ReaderMachine:
    """The protocol machine that a profile asks for. Raises CommandNotPossible."""

    protocol = profile.protocol
    settings: dict[str, Any] = {  # each protocol reads its own
        **protocol.options,
        "currency": currency,
        "timeouts_ms": protocol.timeouts_ms,
        "retries": protocol.retries,
    }
    default = profile.settings.get("password")
    if password is not None:
        settings["password"] = password
    elif default is not None and default.default is not None:
        settings["password"] = Secret(str(default.default))
    return registry.host_machine(protocol.name, protocol.framing or "", settings)
