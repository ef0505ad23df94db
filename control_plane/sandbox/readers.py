"""Card readers as objects: registered by a code, heard of by their beats, online until two minutes of silence.

What readers do (payments, inputs, cards that are presented) is in ``reader_actions``.
"""

from __future__ import annotations

import secrets
from enum import StrEnum

from stripe.params.terminal import (
    ReaderCreateParams,
    ReaderDeleteParams,
    ReaderListParams,
    ReaderRetrieveParams,
    ReaderUpdateParams,
)

from control_plane.sandbox.engine import Sandbox
from control_plane.sandbox.errors import ApiError, Json, missing_parameter
from control_plane.sandbox.routing import Call, Routes
from control_plane.sandbox.terminal import LOCATION, READER
from control_plane.sandbox.webhooks import merged

routes = Routes()

#: No signal for this long, and a reader counts as offline.
OFFLINE_AFTER_S = 120

_SIMULATED = {
    "simulated-wpe": "simulated_wisepos_e",
    "simulated-s700": "simulated_stripe_s700",
    "simulated-s710": "simulated_stripe_s710",
    "simulated-t600": "simulated_stripe_t600",
}
#: Device type -> (first part of the serial number, software version). All versions tell ``api_error`` (2.42 and later).
_MODELS = {
    "wisepos_e": ("WSC51", "2.45.1.0"),
    "stripe_s700": ("STRM26", "2.46.3.0"),
    "stripe_s710": ("STRM28", "2.46.3.0"),
    "stripe_t600": ("STRT60", "2.46.3.0"),
    "mobile_phone_reader": ("PHONE", "5.5.0"),
    "verifone": ("804-", "4.3.2"),
}
#: Driven by a phone, not by the API.
_DRIVEN_BY_AN_APP = frozenset(
    {"mobile_phone_reader", "bbpos_chipper2x", "bbpos_wisepad3", "stripe_m2"}
)
DEVICE_TYPES = (
    "bbpos_wisepos_e",
    "mobile_phone_reader",
    *_SIMULATED.values(),
    "stripe_s700",
    "stripe_s710",
    "stripe_t600",
)
_WORDS = (
    "amber", "apple", "birch", "brass", "bridge", "cedar", "cloud", "coral", "daisy", "ember", "falcon", "fern",
    "flint", "garden", "harbor", "hazel", "island", "ivory", "juniper", "kettle", "lantern", "lemon", "linen", "maple",
    "meadow", "mirror", "north", "olive", "orchid", "pebble", "pepper", "plum", "quartz", "river", "saffron", "silver",
    "spruce", "summer", "tulip", "velvet", "violet", "walnut", "willow", "winter",
)  # fmt: skip


class ReaderFault(StrEnum):
    """How one reader misbehaves, once, at the next occasion."""

    #: The card was presented and charged; then the reader is gone: ``in_progress`` for ever, no webhook of the reader.
    DROP_MID_AUTH = "drop_mid_auth"
    #: The charge went through; the action fails with ``connection_error``.
    CONNECTION_ERROR = "connection_error"
    #: The command arrived and runs; the call is answered with ``terminal_reader_timeout``.
    ACK_LOST = "ack_lost"
    #: The command does not arrive; the call is answered with ``terminal_reader_timeout``.
    COMMAND_LOST = "command_lost"
    #: A card is presented and nothing follows. The reader stays online, and the action can be cancelled.
    STUCK_IN_PROGRESS = "stuck_in_progress"
    #: The reader's next webhook is late, comes twice, or comes after the one that follows it.
    LATE_WEBHOOK = "late_webhook"
    DUPLICATE_WEBHOOK = "duplicate_webhook"
    OUT_OF_ORDER_WEBHOOK = "out_of_order_webhook"
    #: Busy with new software for ``delay_s`` (ten minutes), then at a new version.
    UPDATE_AT_NOON = "update_at_noon"
    #: Switches itself off now: no more signal.
    BATTERY_LOW = "battery_low"
    #: After the next card the reader is busy until the card is taken out.
    CARD_LEFT_IN = "card_left_in"
    #: The card is presented while the reader is cut off; ``delay_s`` (an hour) later it is back, and the bank declines.
    OFFLINE_STORE_THEN_DECLINE = "offline_store_then_decline"
    #: The next command is answered with ``terminal_reader_hardware_fault``.
    HARDWARE_FAULT = "hardware_fault"


# --- endpoints ---


@routes.post("/v1/terminal/readers", ReaderCreateParams)
def create(call: Call) -> Json:
    params = call.params
    location = call.sandbox.named(LOCATION, params.get("location"), "location")
    if location is None:
        raise missing_parameter("location")
    code = params["registration_code"]
    reader = register(
        call.sandbox, _device_of(call.sandbox, code), location, params.get("label") or code
    )
    reader["metadata"] = merged({}, params.get("metadata"))
    return call.sandbox.save(reader)


@routes.get("/v1/terminal/readers", ReaderListParams)
def list_all(call: Call) -> Json:
    """Also readers that phones registered by themselves."""
    sandbox, params = call.sandbox, call.params
    for reader in sandbox.store.find(READER):
        sandbox.save(seen(sandbox, reader))
    filters = ("location", "device_type", "serial_number", "status")
    return call.page(READER, **{name: params.get(name) for name in filters})


@routes.get("/v1/terminal/readers/{reader}", ReaderRetrieveParams)
def retrieve(call: Call, reader: str) -> Json:
    return find(call.sandbox, reader)


@routes.post("/v1/terminal/readers/{reader}", ReaderUpdateParams)
def update(call: Call, reader: str) -> Json:
    """Label and metadata only: a reader never changes its location."""
    found = find(call.sandbox, reader)
    if "label" in call.params:
        found["label"] = call.params["label"] or found["_code"]
    if "metadata" in call.params:
        found["metadata"] = merged(found["metadata"], call.params["metadata"])
    return call.sandbox.save(found)


@routes.delete("/v1/terminal/readers/{reader}", ReaderDeleteParams)
def delete(call: Call, reader: str) -> Json:
    found = find(call.sandbox, reader)
    call.sandbox.store.remove(reader)
    return {
        "id": reader,
        "object": READER,
        "deleted": True,
        "device_type": found["device_type"],
        "serial_number": found["serial_number"],
    }


# --- for the other modules ---


def find(sandbox: Sandbox, identifier: str) -> Json:
    """The reader as it is now. Raises ApiError (404)."""
    return seen(sandbox, sandbox.fetch(READER, identifier, param="reader"))


def register(sandbox: Sandbox, device_type: str, location: Json, label: str) -> Json:
    """A new reader of a type, online."""
    model = device_type.removeprefix("simulated_").removeprefix("bbpos_")
    prefix, version = _MODELS[model if model in _MODELS else "verifone"]
    reader = sandbox.create(
        READER,
        "tmr_",
        device_sw_version=version,
        device_type=device_type,
        ip_address=f"192.168.1.{10 + secrets.randbelow(200)}",
        label=label,
        location=location["id"],
        serial_number=prefix + "".join(secrets.choice("0123456789") for _ in range(10)),
        status="online",
        _code=label,
        _silent_since=None,
        _busy_until=None,
        _card_in=False,
        _turn=0,
        _phase="",
        _collected=None,
        _faults=[],
        _auto_present_s=sandbox.settings.auto_present_s,
        _authorization_s=sandbox.settings.authorization_s,
    )
    return sandbox.save(seen(sandbox, reader))


def registration_code(sandbox: Sandbox, device_type: str) -> str:
    """Three words, as a reader shows them; good for one registration of such a device."""
    code = "-".join(secrets.choice(_WORDS) for _ in range(3))
    sandbox.store.add("_registration_code", {"id": f"_code {code}", "device_type": device_type})
    return code


def seen(sandbox: Sandbox, reader: Json) -> Json:
    """The reader with its status and last signal by now. Readers beat all the time, unless they were silenced."""
    silent_since = reader["_silent_since"]
    last = sandbox.now() if silent_since is None else silent_since
    reader["last_seen_at"] = last * 1000
    reader["status"] = "online" if sandbox.now() - last < OFFLINE_AFTER_S else "offline"
    return reader


def is_driven_by_api(reader: Json) -> bool:
    """Whether a server can send it commands."""
    return reader["device_type"] not in _DRIVEN_BY_AN_APP


def take_fault(sandbox: Sandbox, reader: Json, *kinds: ReaderFault) -> Json | None:
    """The first fault of these kinds that was set for the reader, used up; None mostly."""
    for fault in reader["_faults"]:
        if fault["kind"] in kinds:
            reader["_faults"].remove(fault)
            sandbox.save(reader)
            taken: Json = fault
            return taken
    return None


def _device_of(sandbox: Sandbox, code: str) -> str:
    simulated = _SIMULATED.get(code)
    if simulated is not None:
        return simulated
    identifier = f"_code {code}"
    known = sandbox.store.get(identifier)
    if known is None:
        raise ApiError(
            f"No such reader registration code: '{code}'. The reader shows a new one each time; it expires after a "
            "few minutes.",
            code="resource_missing",
            param="registration_code",
        )
    sandbox.store.remove(identifier)
    device_type: str = known["device_type"]
    return device_type
