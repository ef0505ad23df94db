"""What a reader profile says: one TOML file per model, read strictly. A key that is not named here is refused.

The tables and their meaning: `match` how the model is recognised, `protocol` how to talk to it, `capabilities` what
the console may offer, `settings` what a shop may set, `firmware` how it is updated, `quirks` what one model does
differently, `health` when to worry, `redaction` what never leaves the agent. `profile.verified` names the source of a
fact; what is not listed there counts as unverified and is shown as such.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from firmware_profiles.errors import ProfileUnreadable

if TYPE_CHECKING:
    from collections.abc import Mapping

UsbNumber = Annotated[int, Meta(ge=0, le=0xFFFF)]
TcpPort = Annotated[int, Meta(ge=1, le=65535)]
Positive = Annotated[int, Meta(gt=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
KebabCase = Annotated[str, Meta(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Uuid = Annotated[
    str,
    Meta(pattern=r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"),
]
Text = Annotated[str, Meta(min_length=1)]


class _Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every table is strict."""


class About(_Table, frozen=True):
    """Which model this is. `verified` maps the path of a fact to the source it was read in."""

    id: KebabCase
    revision: Positive
    vendor: Text
    model: Text
    kind: Literal["card_reader", "payment_terminal", "cloud_reader"]
    """A `cloud_reader` is driven by its maker's cloud, not by the agent: it has no line here."""
    family: KebabCase
    inherits: KebabCase | None = None
    looks: str = ""
    """One English sentence by which a person recognises it on the counter."""
    verified: dict[str, Text] = {}


class UsbMatch(_Table, frozen=True):
    """A USB device; the texts are regular expressions on its descriptors."""

    vid: UsbNumber
    pid: UsbNumber | None = None
    product: str | None = None
    manufacturer: str | None = None
    serial: str | None = None
    interface_class: Annotated[int, Meta(ge=0, le=0xFF)] | None = None
    enabled: bool = True


class BleMatch(_Table, frozen=True):
    """A Bluetooth LE device."""

    service: str | None = None
    name: str | None = None
    manufacturer_id: UsbNumber | None = None
    enabled: bool = True


class UsbId(_Table, frozen=True):
    """A vendor and product number."""

    vid: UsbNumber
    pid: UsbNumber


class SerialMatch(_Table, frozen=True):
    """A serial port; `usb` are the numbers of bridge chips, which alone never bind a profile."""

    usb: list[UsbId] = []
    baud: list[Positive] = []
    parity: Literal["N", "E", "O"] = "N"
    stopbits: Literal[1, 2] = 1
    enabled: bool = True


class TcpMatch(_Table, frozen=True):
    """A network reader; `oui` are the first three bytes of its hardware address, such as `00:11:22`."""

    port: TcpPort
    oui: list[str] = []
    enabled: bool = True


class CloudMatch(_Table, frozen=True):
    """A reader in its maker's cloud, by the name of the model there."""

    device_type: Text


class Confirm(_Table, frozen=True):
    """A read-only question that must be answered as expected before the profile is bound to a device."""

    probe: Text
    answer: str | None = None
    contains: str | None = None
    serial_from: str | None = None


class Match(_Table, frozen=True):
    """How a device of this model is recognised."""

    usb: list[UsbMatch] = []
    ble: list[BleMatch] = []
    serial: list[SerialMatch] = []
    tcp: list[TcpMatch] = []
    cloud: list[CloudMatch] = []
    confirm: Confirm | None = None


class Bootloader(_Table, frozen=True):
    """The same unit under other numbers while it takes new firmware, for at most `max_s`."""

    usb: list[UsbId] = []
    ble: list[BleMatch] = []
    max_s: Positive = 600


class SerialLine(_Table, frozen=True):
    """How the wire is set when the address does not say otherwise."""

    baud: Positive = 9600
    bytesize: Literal[7, 8] = 8
    parity: Literal["N", "E", "O"] = "N"
    stopbits: Literal[1, 2] = 1
    write_timeout_s: Positive = 5


class TcpLine(_Table, frozen=True):
    """How the connection is made when the address does not say otherwise."""

    port: TcpPort
    connect_timeout_s: Positive = 5
    silence_s: Positive = 20
    """A peer that vanished without a word is noticed within this."""
    write_timeout_s: Positive = 10
    idle_close_s: Annotated[int, Meta(ge=0)] = 0
    """Close a connection that was idle for this long, so that others may use the reader; 0 keeps it open."""


class UsbHidLine(_Table, frozen=True):
    """How reports are cut. `report_id` 0: the reports have none."""

    report_len: Positive = 64
    report_id: Annotated[int, Meta(ge=0, le=255)] = 0


class BleLine(_Table, frozen=True):
    """Which characteristics carry the conversation: `write` to the reader, `notify` from it."""

    write: Uuid
    notify: Uuid
    write_with_response: bool = True
    pdu_max: Annotated[int, Meta(ge=20, le=512)] = 244
    settle_ms: Annotated[int, Meta(ge=0, le=60_000)] = 500
    """How long to wait between connecting and looking for services."""


class Conversation(_Table, frozen=True):
    """`[protocol]`: the protocol by name, its lines, its time limits. What is left are the protocol's own `options`."""

    name: Text
    framing: Literal["tcp", "serial", "usb_hid", "ble_gatt"] | None = None
    """When it is not what the address says: `serial` for a reader whose USB carries a plain stream."""
    serial: SerialLine | None = None
    tcp: TcpLine | None = None
    usb_hid: UsbHidLine | None = None
    ble_gatt: BleLine | None = None
    timeouts_ms: dict[str, Positive] = {}
    retries: dict[str, Annotated[int, Meta(ge=0, le=10)]] = {}
    options: dict[str, int | str | bool | list[str]] = {}


class Setting(_Table, frozen=True):
    """One value that a shop may set. `scope`: kept by the agent, or written into the device by `write`."""

    type: Literal["int", "bool", "enum", "string", "digits", "time"]
    scope: Literal["agent", "device"]
    min: int | None = None
    max: int | None = None
    length: Positive | None = None
    values: list[str] = []
    default: int | bool | str | None = None
    secret: bool = False
    write: dict[str, str] | None = None
    sets: str | None = None
    """The option in `[protocol]` that it replaces; seconds (`…_s`) become milliseconds below `timeouts_ms.`"""
    requires: list[str] = []
    enabled: bool = True


class FirmwareFile(_Table, frozen=True):
    """What may be installed."""

    max_bytes: Positive
    sha256_required: bool = True
    vendor_signed: bool = False
    bundle: Literal["file", "directory"] = "file"


class Preconditions(_Table, frozen=True):
    """What must hold before an update begins."""

    idle_s: int = 60
    end_of_day: bool = False
    battery_min_pct: Annotated[int, Meta(ge=0, le=100)] | None = None
    external_power: Literal["required", "preferred", "ignored"] = "ignored"
    transports: list[str] = []
    maintenance_window: bool = True


class UpdateTiming(_Table, frozen=True):
    """How long an update may take."""

    transfer_max_s: Positive = 1800
    reboot_max_s: Positive = 600
    quiet_after_s: int = 0


class Verify(_Table, frozen=True):
    """How success is proved, and what happens when it is not."""

    steps: list[str] = []
    rollback: Literal["none", "reinstall_previous", "dual_bank"] = "none"
    on_failure: Literal["quarantine", "report"] = "quarantine"


class Firmware(_Table, frozen=True):
    """Where the installed version is read, how versions compare, and how a new one gets in."""

    version_source: str
    channels: list[str] = []
    components: list[str] = []
    version_format: str = ""
    compare: Annotated[
        str, Meta(pattern=r"^(exact|contains|list|opaque|revision_letters|numeric:[a-z0-9_,]+)$")
    ] = "opaque"
    group_must_match: list[str] = []
    downgrade: Literal["deny", "allow_with_approval", "allow"] = "deny"
    min_allowed: str = ""
    file: FirmwareFile | None = None
    method: (
        Literal["zvt_0810_pull", "zvt_0814_push", "mms_d801", "vendor_tool", "host_driven"] | None
    ) = None
    method_args: dict[str, Any] = {}  # each method reads its own
    preconditions: Preconditions = Preconditions()
    timing: UpdateTiming = UpdateTiming()
    verify: Verify = Verify()


class Quirk(_Table, frozen=True):
    """Something one model does differently; `action` is a name that its protocol knows."""

    id: KebabCase
    action: Text
    applies: Text = "*"


class Health(_Table, frozen=True):
    """How often to look, and when to worry. A limit that is absent is not watched."""

    heartbeat_s: Positive = 60
    silent_max_s: Positive = 300
    busy_9c_max_s: Positive | None = None
    temperature_c_warn: int | None = None
    temperature_c_crit: int | None = None
    battery_warn_pct: int | None = None
    battery_crit_pct: int | None = None
    decline_rate_warn: Share | None = None
    error_rate_warn: Share | None = None
    error_rate_crit: Share | None = None
    disconnects_per_hour_warn: int | None = None
    end_of_day_overdue_h: int | None = None
    reboot_every_h: int | None = None
    clock_drift_s_warn: int | None = None
    ksn_remaining_warn: int | None = None
    tamper: Literal["critical_at_once", "ignored"] | None = None


class Redaction(_Table, frozen=True):
    """What never leaves the agent, beyond what the decoders always mask."""

    drop_bmps: list[str] = []
    drop_tags: list[str] = []
    opaque_tags: list[str] = []
    mask_pan: Literal["first6last4", "last4"] = "first6last4"
    forbid_clear_data: bool = False


class ReaderProfile(_Table, frozen=True):
    """One model, as its file says."""

    schema: Literal[1]
    profile: About
    protocol: Conversation
    match: Match = Match()
    bootloader: Bootloader | None = None
    capabilities: dict[str, bool | str | list[str]] = {}
    settings: dict[str, Setting] = {}
    firmware: Firmware | None = None
    quirks: list[Quirk] = []
    health: Health = Health()
    redaction: Redaction = Redaction()

    @property
    def id(self) -> str:
        """The profile's name, as in a configuration: `generic-zvt-tcp`."""
        return self.profile.id

    def machine_settings(self) -> dict[str, Any]:
        """What the protocol's machines read: the options flat, and the tables that are there under their names."""
        protocol = self.protocol
        tables = {
            "timeouts_ms": dict(protocol.timeouts_ms),
            "retries": dict(protocol.retries),
            "usb_hid": msgspec.to_builtins(protocol.usb_hid),
            "ble_gatt": msgspec.to_builtins(protocol.ble_gatt),
            "quirks": msgspec.to_builtins(self.quirks),
        }
        return {**protocol.options, **{name: table for name, table in tables.items() if table}}

    @property
    def framings(self) -> tuple[str, ...]:
        """How its messages may be cut: one for each kind of line that it has."""
        protocol = self.protocol
        if protocol.framing is not None:
            return (protocol.framing,)
        lines = {
            "usb_hid": protocol.usb_hid,
            "ble_gatt": protocol.ble_gatt,
            "serial": protocol.serial,
            "tcp": protocol.tcp,
        }
        return tuple(name for name, line in lines.items() if line is not None)

    def can(self, capability: str) -> bool:
        """True when the model has it; for a capability with several values, when it is neither false nor `none`."""
        return self.capabilities.get(capability, False) not in (False, "none", [])

    def timeout_s(self, name: str, default: float) -> float:
        """A time limit of the protocol, in seconds."""
        return self.protocol.timeouts_ms.get(name, default * 1000) / 1000

    def is_verified(self, path: str) -> bool:
        """True when the source of a fact, or of a table that holds it, is named."""
        return any(
            path == known or path.startswith((f"{known}.", f"{known}["))
            for known in self.profile.verified
        )


#: What `[capabilities]` may say, with the words that a capability takes besides true and false.
CAPABILITIES: Final[dict[str, tuple[str, ...]]] = {
    "abort": (),
    "authorises": (),
    "battery": (),
    "cancel": (),
    "cart": (),
    "cloud_commands": (),
    "customer_input": (),
    "diagnosis": (),
    "end_of_day": (),
    "firmware_update": (),
    "moto": (),
    "preauth": (),
    "purchase": (),
    "reads": ("chip", "contactless", "swipe", "manual", "barcode"),
    "recall_last": (),
    "receipt": ("ecr", "terminal", "none"),
    "refund": (),
    "remote_reboot": (),
    "reversal": (),
    "save_card": (),
    "status_probe": (),
    "tamper_report": (),
    "temperature": ("newer_firmware",),
    "tips": (),
    "totals": (),
    "voltage": ("newer_firmware",),
}
#: What a [protocol] table may hold besides the options of its protocol.
_CONVERSATION: Final = frozenset(Conversation.__struct_fields__)
#: Protocols of readers that their maker's cloud drives; the agent has no machine for them.
CLOUD_PROTOCOLS: Final = frozenset({"stripe_terminal"})
_UNKNOWN_KEY: Final = re.compile(
    r"unknown field `(?P<key>[^`]+)`(?: - at `\$\.?(?P<table>[^`]*)`)?"
)
_AT: Final = re.compile(r" - at `\$\.?(?P<path>[^`]*)`")


def parse(content: bytes, file: str) -> dict[str, Any]:
    """The tables of a file as they stand there. Raises ProfileUnreadable."""
    try:
        return tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProfileUnreadable(file, "", str(error)) from error


def merge(base: Mapping[str, Any], child: Mapping[str, Any]) -> dict[str, Any]:
    """What a profile that inherits amounts to: tables merge, everything else is replaced.

    A source belongs to the value that it was read for: it is not inherited for a value that the child replaces.
    """
    merged = _merge(base, child)
    about = merged.get("profile")
    if isinstance(about, dict) and isinstance(about.get("verified"), dict):
        stated = _table(_table(child, "profile"), "verified")
        about["verified"] = {
            fact: source
            for fact, source in about["verified"].items()
            if fact in stated or not _is_replaced(base, child, fact)
        }
    return merged


def _merge(base: Mapping[str, Any], child: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in child.items():
        below = merged.get(key)
        merged[key] = (
            _merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
        )
    return merged


def _table(tables: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = tables.get(key)
    return found if isinstance(found, dict) else {}


def _is_replaced(base: Mapping[str, Any], child: Mapping[str, Any], fact: str) -> bool:
    mine, theirs = value_at(child, fact), value_at(base, fact)
    array = fact.partition("[")[0]
    is_new_array = array != fact and value_at(child, array) is not None
    return (is_new_array and mine != theirs) or (
        mine is not None and not isinstance(mine, dict) and mine != theirs
    )


def value_at(tables: Mapping[str, Any], path: str) -> Any:  # whatever stands in a file
    """What stands at `match.usb[0].vid`; `None` when there is nothing."""
    found: Any = tables
    for key, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", path):
        if key:
            found = found.get(key) if isinstance(found, dict) else None
        elif isinstance(found, list) and int(index) < len(found):
            found = found[int(index)]
        else:
            found = None
    return found


def read_profile(document: Mapping[str, Any], file: str) -> ReaderProfile:
    """A profile from the tables of its file. Raises ProfileUnreadable that names the file and the key."""
    tables = dict(document)
    if isinstance(conversation := tables.get("protocol"), dict):
        own = {key: value for key, value in conversation.items() if key not in _CONVERSATION}
        if "options" in conversation:
            raise ProfileUnreadable(file, "protocol.options", "options stand in [protocol] itself")
        tables["protocol"] = {
            **{key: value for key, value in conversation.items() if key in _CONVERSATION},
            "options": own,
        }
    try:
        profile = msgspec.convert(tables, ReaderProfile)
    except msgspec.ValidationError as error:
        raise _unreadable(file, str(error)) from error
    _check_expressions(profile, file)
    _check_capabilities(profile, file)
    return profile


def _check_capabilities(profile: ReaderProfile, file: str) -> None:
    for name, value in profile.capabilities.items():
        key = f"capabilities.{name}"
        if name not in CAPABILITIES:
            raise ProfileUnreadable(file, key, "no such key; check its spelling")
        words = CAPABILITIES[name]
        said = [] if isinstance(value, bool) else value if isinstance(value, list) else [value]
        if unknown := [one for one in said if one not in words]:
            known = ", ".join(("true", "false", *words))
            raise ProfileUnreadable(file, key, f"{unknown[0]!r} is none of {known}")


def _unreadable(file: str, message: str) -> ProfileUnreadable:
    if unknown := _UNKNOWN_KEY.search(message):
        key = ".".join(filter(None, (unknown["table"], unknown["key"])))
        return ProfileUnreadable(file, key, "no such key; check its spelling")
    at = _AT.search(message)
    return ProfileUnreadable(file, at["path"] if at else "", _AT.sub("", message))


def _check_expressions(profile: ReaderProfile, file: str) -> None:
    confirm, firmware = profile.match.confirm, profile.firmware
    expressions = {
        "match.confirm.answer": confirm.answer if confirm else None,
        "match.confirm.contains": confirm.contains if confirm else None,
        "firmware.version_format": firmware.version_format if firmware else None,
    }
    for index, usb in enumerate(profile.match.usb):
        for name in ("product", "manufacturer", "serial"):
            expressions[f"match.usb[{index}].{name}"] = getattr(usb, name)
    for index, ble in enumerate(profile.match.ble):
        expressions[f"match.ble[{index}].name"] = ble.name
    for key, expression in expressions.items():
        try:
            re.compile(expression or "")
        except re.error as error:
            raise ProfileUnreadable(file, key, f"no regular expression: {error}") from error
