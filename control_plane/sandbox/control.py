"""What a person or a test does to the sandbox beside the API: ``/_sandbox/…``, JSON in and out, no key.

None of it is Stripe's: faults, the clock, customers at readers, the account's gates, and what became of webhooks. A
browser may call it from the sandbox's own pages only.

    POST /_sandbox/clock/advance        {"seconds": 90} or {"days": 4}      -> {"now", "ran"}
    GET | POST | DELETE /_sandbox/faults  {"kind": "lost_answer", "on": "POST /v1/refunds*", "times": 1, "delay_s": 0}
    POST /_sandbox/account              {"moto_enabled": false, "auto_present_s": 3}
    POST /_sandbox/registration_codes   {"device_type": "stripe_s700"}      -> {"registration_code"}
    GET  /_sandbox/readers
    POST /_sandbox/readers/{id}/fault   {"kind": "drop_mid_auth", "delay_s": 0}
    POST /_sandbox/readers/{id}/customer {"auto_present_s": 3, "authorization_s": 1}; null stops the virtual customer
    POST /_sandbox/readers/{id}/tap     {"type": "card_present", "number": "…", "tip": 100}
    POST /_sandbox/readers/{id}/{cancel|answer|remove_card|silence|resume}
    GET  /_sandbox/webhooks/deliveries; POST /_sandbox/webhooks/events/{id}/resend
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import asdict, replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field

from control_plane.sandbox import reader_actions, readers, webhooks
from control_plane.sandbox.browser import asset
from control_plane.sandbox.card_present import at_reader
from control_plane.sandbox.engine import Sandbox, public
from control_plane.sandbox.errors import ApiError, Json
from control_plane.sandbox.faults import Fault, FaultKind
from control_plane.sandbox.readers import DEVICE_TYPES, ReaderFault
from control_plane.sandbox.routing import Routes
from control_plane.sandbox.terminal import READER

routes = Routes()

_UPDATE_S = 600
_LATE_S = 60


class ControlRoute(APIRoute):
    """Answers refusals as the API writes them."""

    # Any: FastAPI's own signature.
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except ApiError as refusal:
                return JSONResponse(refusal.body("req_control"), refusal.status)

        return answer


def _own_pages_only(request: Request) -> None:
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != request.headers.get("host"):
        raise HTTPException(403, "Only the sandbox's own pages may do this.")


def _sandbox(request: Request) -> Sandbox:
    sandbox: Sandbox = request.app.state.sandbox.sandbox
    return sandbox


The = Annotated[Sandbox, Depends(_sandbox)]

router = APIRouter(
    prefix="/_sandbox", route_class=ControlRoute, dependencies=[Depends(_own_pages_only)]
)


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


# --- clock, account, faults ---


class Advance(_Body):
    """How far to put the clock forward: the sum of these."""

    seconds: float = Field(0, ge=0)
    minutes: float = Field(0, ge=0)
    hours: float = Field(0, ge=0)
    days: float = Field(0, ge=0)


@router.post("/clock/advance")
def advance(body: Advance, sandbox: The) -> Json:
    """Put the clock forward; what is due by then happens, each at its own moment."""
    seconds = body.seconds + body.minutes * 60 + body.hours * 3600 + body.days * 86_400
    ran = sandbox.put_forward(seconds)
    return {"now": sandbox.now(), "ran": ran}


class AccountChange(_Body):
    """What to open or close; what is not named stays."""

    moto_enabled: bool = True
    business_name: str = Field("", min_length=1)
    auto_present_s: float | None = Field(None, ge=0)
    authorization_s: float = Field(0, ge=0)


@router.post("/account")
def change_account(body: AccountChange, sandbox: The) -> Json:
    """Open or close what Stripe opens per account; send customers to readers that are registered from now on."""
    change = body.model_dump(exclude_unset=True)
    sandbox.settings = replace(sandbox.settings, **change)
    return {name: getattr(sandbox.settings, name) for name in AccountChange.model_fields}


class NewFault(_Body):
    """``on`` is a pattern of ``METHOD /path``, or of an event type for webhooks."""

    kind: FaultKind
    on: str = "*"
    times: int = Field(1, ge=1)
    delay_s: float = Field(0, ge=0)


@router.get("/faults")
def list_faults(sandbox: The) -> list[Json]:
    return [asdict(one) for one in sandbox.faults.listed()]


@router.post("/faults")
def add_fault(body: NewFault, sandbox: The) -> Json:
    fault = Fault(kind=body.kind, on=body.on, times=body.times, delay_s=body.delay_s)
    return asdict(sandbox.faults.add(fault))


@router.delete("/faults")
def clear_faults(sandbox: The) -> Json:
    sandbox.faults.clear()
    return {}


@router.delete("/faults/{fault}")
def clear_fault(fault: int, sandbox: The) -> Json:
    sandbox.faults.clear(fault)
    return {}


# --- webhooks ---


@router.get("/webhooks/deliveries")
def list_deliveries(sandbox: The) -> list[Json]:
    """Newest first, with the type of each event."""
    found = []
    for delivery in webhooks.deliveries(sandbox):
        event = sandbox.store.get(delivery["event"])
        found.append({**delivery, "type": event and event["type"]})
    return found


@router.post("/webhooks/events/{event}/resend")
def resend(event: str, sandbox: The) -> Json:
    """Send the event again to every endpoint that is enabled."""
    return {"deliveries": webhooks.resend(sandbox, event)}


# --- readers ---


class NewCode(_Body):
    """Which device wants to be registered."""

    device_type: str = "stripe_s700"


@router.post("/registration_codes")
def new_code(body: NewCode, sandbox: The) -> Json:
    """What a reader of that type shows when it wants to be registered."""
    if body.device_type not in DEVICE_TYPES:
        raise HTTPException(422, f"The sandbox plays these: {', '.join(DEVICE_TYPES)}.")
    with sandbox.transaction():
        return {"registration_code": readers.registration_code(sandbox, body.device_type)}


@router.get("/readers")
def list_readers(sandbox: The) -> list[Json]:
    """Readers with what the API does not tell: phase, faults, virtual customer."""
    return [_described(sandbox, one) for one in sandbox.store.find(READER)]


class NewReaderFault(_Body):
    """``delay_s`` 0 is the usual delay of that kind."""

    kind: ReaderFault
    delay_s: float = Field(0, ge=0)


@router.post("/readers/{reader}/fault")
def add_reader_fault(reader: str, body: NewReaderFault, sandbox: The) -> Json:
    with sandbox.transaction():
        found = readers.find(sandbox, reader)
        set_fault(sandbox, found, body.kind, body.delay_s)
        return _described(sandbox, sandbox.save(found))


class Customer(_Body):
    """``auto_present_s`` null: nobody comes unasked."""

    auto_present_s: float | None = Field(None, ge=0)
    authorization_s: float = Field(0, ge=0)


@router.post("/readers/{reader}/customer")
def set_customer(reader: str, body: Customer, sandbox: The) -> Json:
    """A virtual customer who presents a card so long after each command; and how long the bank takes."""
    with sandbox.transaction():
        found = readers.find(sandbox, reader)
        found |= {
            "_auto_present_s": body.auto_present_s,
            "_authorization_s": body.authorization_s,
        }
        return _described(sandbox, sandbox.save(found))


class Tap(_Body):
    """Without a number the usual card of its type."""

    type: str = Field("card_present", pattern="^(card_present|interac_present|card)$")
    number: str | None = None
    tip: int | None = Field(None, ge=0)


@router.post("/readers/{reader}/tap")
def tap(reader: str, body: Tap, sandbox: The) -> Json:
    """Present a card, at simulated and at "real" readers."""
    with sandbox.transaction():
        card = at_reader(body.type, body.number, tip=body.tip, has_cvc=True)
        found = reader_actions.present(sandbox, readers.find(sandbox, reader), card)
        return _described(sandbox, found)


@router.post("/readers/{reader}/{act}")
def act_at(reader: str, act: str, sandbox: The) -> Json:
    """``cancel`` presses the button, ``answer`` answers questions, and ``remove_card``, ``silence``, ``resume``."""
    if act not in _ACTS:
        raise HTTPException(404)
    with sandbox.transaction():
        found = readers.find(sandbox, reader)
        return _described(sandbox, _ACTS[act](sandbox, found))


def set_fault(sandbox: Sandbox, reader: Json, kind: ReaderFault, delay_s: float = 0) -> None:
    """Set what goes wrong next with the reader; some of it begins now."""
    webhook = _OF_WEBHOOKS.get(kind)
    if webhook is not None:
        fault_kind, on = webhook
        late_s = delay_s or (_LATE_S if kind is ReaderFault.LATE_WEBHOOK else 0)
        sandbox.faults.add(Fault(kind=fault_kind, on=on, delay_s=late_s))
    elif kind is ReaderFault.BATTERY_LOW:
        reader["_silent_since"] = sandbox.now()
    elif kind is ReaderFault.UPDATE_AT_NOON:
        lasts_s = delay_s or _UPDATE_S
        reader["_busy_until"] = sandbox.now() + int(lasts_s)
        sandbox.after(lasts_s, "reader_updated", reader["id"])
    else:
        reader["_faults"].append({"kind": kind.value, "delay_s": delay_s})


@routes.task("reader_updated")
def reader_updated(sandbox: Sandbox, identifier: str) -> None:
    """The new software runs."""
    reader = sandbox.store.get(identifier, READER)
    if reader is not None:
        major, minor, *rest = reader["device_sw_version"].split(".")
        reader["device_sw_version"] = ".".join([major, str(int(minor) + 1), *rest])
        reader["_busy_until"] = None
        sandbox.save(reader)


_OF_WEBHOOKS = {
    ReaderFault.LATE_WEBHOOK: (FaultKind.WEBHOOK_LATE, "terminal.reader.*"),
    ReaderFault.DUPLICATE_WEBHOOK: (FaultKind.WEBHOOK_DOUBLED, "terminal.reader.*"),
    # A sale tells of the payment first, of the reader last: held back, the payment's comes after the reader's.
    ReaderFault.OUT_OF_ORDER_WEBHOOK: (FaultKind.WEBHOOK_OUT_OF_ORDER, "payment_intent.*"),
}


def _silence(sandbox: Sandbox, reader: Json) -> Json:
    reader["_silent_since"] = sandbox.now()
    return sandbox.save(reader)


def _resume(sandbox: Sandbox, reader: Json) -> Json:
    reader["_silent_since"] = None
    return sandbox.save(readers.seen(sandbox, reader))


def _remove_card(sandbox: Sandbox, reader: Json) -> Json:
    reader["_card_in"] = False
    return sandbox.save(reader)


_ACTS: dict[str, Callable[[Sandbox, Json], Json]] = {
    "cancel": reader_actions.press_cancel,
    "answer": reader_actions.give_inputs,
    "remove_card": _remove_card,
    "silence": _silence,
    "resume": _resume,
}


def _described(sandbox: Sandbox, reader: Json) -> Json:
    reader = readers.seen(sandbox, reader)
    own = {
        "phase": reader["_phase"],
        "card_in": reader["_card_in"],
        "busy_until": reader["_busy_until"],
        "faults": reader["_faults"],
        "auto_present_s": reader["_auto_present_s"],
        "authorization_s": reader["_authorization_s"],
        "asks": _asked(sandbox, reader),
    }
    return {**public(reader), "sandbox": own}


def _asked(sandbox: Sandbox, reader: Json) -> Json | None:
    """Amount and currency on the reader's screen."""
    action = reader["action"]
    if action is None or action["status"] != "in_progress":
        return None
    named = action[action["type"]]
    intent = sandbox.store.get(named.get("payment_intent") or "")
    return intent and {name: intent[name] for name in ("amount", "currency")}


# --- the page ---


@router.get("/")
def people() -> Response:
    """Readers on a page: tap a card, let it fail, press Cancel."""
    return asset("readers.html")
