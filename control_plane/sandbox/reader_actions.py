"""What readers are told to do, and what a customer then does at them.

A command starts an action, which waits for the customer. ``present`` is the customer's card: from the test helpers,
from the control API, or from a virtual customer by itself. Then the bank decides, and the action ends. Source:
docs.stripe.com/terminal/payments/collect-card-payment, …/terminal/references/testing.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import stripe
from stripe.params.terminal import (
    ReaderCancelActionParams,
    ReaderCollectInputsParams,
    ReaderCollectPaymentMethodParams,
    ReaderConfirmPaymentIntentParams,
    ReaderProcessPaymentIntentParams,
    ReaderProcessSetupIntentParams,
    ReaderRefundPaymentParams,
    ReaderSetReaderDisplayParams,
)
from stripe.params.test_helpers.terminal import (
    ReaderPresentPaymentMethodParams,
    ReaderSucceedInputCollectionParams,
    ReaderTimeoutInputCollectionParams,
)
from stripe.terminal import Reader

from control_plane.sandbox import card_present, payment_methods, refunds
from control_plane.sandbox.card_present import Presented, at_reader
from control_plane.sandbox.engine import Sandbox, public
from control_plane.sandbox.errors import ApiError, Json, missing_parameter
from control_plane.sandbox.readers import ReaderFault, find, is_driven_by_api, take_fault
from control_plane.sandbox.routing import Call, Routes
from control_plane.sandbox.shapes import part
from control_plane.sandbox.terminal import LOCATION, READER, effective
from control_plane.sandbox.webhooks import merged

routes = Routes()

#: Readers that take a typed card by ``process_config[moto]``.
_TAKES_MOTO = ("simulated_wisepos_e", "simulated_stripe_s700", "simulated_stripe_s710")
_TAKES_MOTO_FOR_REAL = ("bbpos_wisepos_e", "stripe_s700", "stripe_s710")
_MOST_INPUTS = 5
_GUIDE = "https://stripe.com/docs/terminal/payments/collect-payment?terminal-sdk-platform=server-driven#handle-errors"
_BACK_AFTER_S = 3600


# --- commands ---


@routes.post(
    "/v1/terminal/readers/{reader}/process_payment_intent",
    ReaderProcessPaymentIntentParams,
    gates={"process_config[moto]": lambda settings: settings.moto_enabled},
    extra={"process_config[moto]": bool},
)
def process_payment_intent(call: Call, reader: str) -> Json:
    found, params = _commanded(call, reader), call.params
    config = dict(params.get("process_config") or {})
    moto = bool(config.pop("moto", False))
    if moto and found["device_type"] not in _TAKES_MOTO + _TAKES_MOTO_FOR_REAL:
        raise ApiError("This reader does not take typed cards.", param="process_config[moto]")
    intent = _payable(call, params["payment_intent"], moto=moto)
    details = part(
        Reader.Action.ProcessPaymentIntent,
        payment_intent=intent["id"],
        process_config=_config(Reader.Action.ProcessPaymentIntent.ProcessConfig, config),
    )
    return _start(call.sandbox, found, "process_payment_intent", details, moto=moto)


@routes.post(
    "/v1/terminal/readers/{reader}/collect_payment_method", ReaderCollectPaymentMethodParams
)
def collect_payment_method(call: Call, reader: str) -> Json:
    found, params = _commanded(call, reader), call.params
    intent = _payable(call, params["payment_intent"], moto=False)
    details = part(
        Reader.Action.CollectPaymentMethod,
        payment_intent=intent["id"],
        collect_config=_config(
            Reader.Action.CollectPaymentMethod.CollectConfig, params.get("collect_config") or {}
        ),
    )
    # Only there once the card was read.
    del details["payment_method"]
    return _start(call.sandbox, found, "collect_payment_method", details)


@routes.post(
    "/v1/terminal/readers/{reader}/confirm_payment_intent", ReaderConfirmPaymentIntentParams
)
def confirm_payment_intent(call: Call, reader: str) -> Json:
    """Charge the card that the same reader has collected for the same intent."""
    found, params = _commanded(call, reader), call.params
    intent = _payable(call, params["payment_intent"], moto=False)
    collected = found["_collected"]
    if collected is None or collected["intent"] != intent["id"]:
        raise ApiError(
            "Collect a payment method for this PaymentIntent on this reader before you confirm it.",
            code="intent_invalid_state",
            param="payment_intent",
        )
    details = part(
        Reader.Action.ConfirmPaymentIntent,
        payment_intent=intent["id"],
        confirm_config=_config(
            Reader.Action.ConfirmPaymentIntent.ConfirmConfig, params.get("confirm_config") or {}
        ),
    )
    started = _begin(call.sandbox, found, "confirm_payment_intent", details)
    asked = _ask_bank(call.sandbox, started, Presented(**collected["card"]))
    return _acknowledged(call.sandbox, asked)


@routes.post("/v1/terminal/readers/{reader}/process_setup_intent", ReaderProcessSetupIntentParams)
def process_setup_intent(call: Call, reader: str) -> Json:
    found, params = _commanded(call, reader), call.params
    intent = call.sandbox.named("setup_intent", params["setup_intent"], "setup_intent")
    assert intent is not None  # noqa: S101 - the parameter is required
    _check_state(intent, "setup_intent")
    details = part(
        Reader.Action.ProcessSetupIntent,
        setup_intent=intent["id"],
        process_config=_config(
            Reader.Action.ProcessSetupIntent.ProcessConfig, params.get("process_config") or {}
        ),
    )
    redisplay = params["allow_redisplay"]
    return _start(call.sandbox, found, "process_setup_intent", details, redisplay=redisplay)


@routes.post("/v1/terminal/readers/{reader}/refund_payment", ReaderRefundPaymentParams)
def refund_payment(call: Call, reader: str) -> Json:
    """The customer presents the card again; Interac demands it."""
    found, params = _commanded(call, reader), call.params
    if ("payment_intent" in params) == ("charge" in params):
        raise ApiError(
            "Name one of `payment_intent` and `charge`.", code="parameter_missing", param="charge"
        )
    intent = call.sandbox.named("payment_intent", params.get("payment_intent"), "payment_intent")
    charge = call.sandbox.named(
        "charge", params.get("charge") or (intent or {}).get("latest_charge"), "charge"
    )
    if charge is None or charge["status"] != "succeeded" or not charge["captured"]:
        raise ApiError(
            "There is no captured charge to refund.",
            code="intent_invalid_state",
            param="payment_intent",
        )
    left = charge["amount_captured"] - charge["amount_refunded"]
    amount = params.get("amount", left)
    if left <= 0:
        raise ApiError(
            f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded"
        )
    if not 0 < amount <= left:
        raise ApiError(
            f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})",
            param="amount",
        )
    details = part(
        Reader.Action.RefundPayment,
        amount=amount,
        charge=charge["id"],
        metadata=merged({}, params.get("metadata")),
        payment_intent=charge["payment_intent"],
        refund_application_fee=params.get("refund_application_fee"),
        refund_payment_config=_config(
            Reader.Action.RefundPayment.RefundPaymentConfig,
            params.get("refund_payment_config") or {},
        ),
        reverse_transfer=params.get("reverse_transfer"),
    )
    return _start(call.sandbox, found, "refund_payment", details)


@routes.post("/v1/terminal/readers/{reader}/collect_inputs", ReaderCollectInputsParams)
def collect_inputs(call: Call, reader: str) -> Json:
    found, params = _commanded(call, reader), call.params
    asked = params["inputs"]
    if not 1 <= len(asked) <= _MOST_INPUTS:
        raise ApiError(f"Between 1 and {_MOST_INPUTS} inputs can be collected.", param="inputs")
    inputs = [_input(one, f"inputs[{at}]") for at, one in enumerate(asked)]
    details = {"inputs": inputs, "metadata": merged({}, params.get("metadata"))}
    return _start(call.sandbox, found, "collect_inputs", details)


@routes.post("/v1/terminal/readers/{reader}/set_reader_display", ReaderSetReaderDisplayParams)
def set_reader_display(call: Call, reader: str) -> Json:
    """Shown at once and without a webhook."""
    found, params = _commanded(call, reader), call.params
    if "cart" not in params:
        raise missing_parameter("cart")
    details = {"type": "cart", "cart": {"tax": None, **params["cart"]}}
    shown = _begin(call.sandbox, found, "set_reader_display", details)
    return _acknowledged(call.sandbox, _end(call.sandbox, shown, "succeeded", tells=False))


@routes.post("/v1/terminal/readers/{reader}/cancel_action", ReaderCancelActionParams)
def cancel_action(call: Call, reader: str) -> Json:
    """The reader is free again. Not while the bank is asked. No webhook."""
    found = _commanded(call, reader)
    found |= {"action": None, "_phase": "", "_turn": found["_turn"] + 1, "_collected": None}
    call.sandbox.save(found)
    return _acknowledged(call.sandbox, found)


# --- test helpers ---

_HELPERS = "/v1/test_helpers/terminal/readers/{reader}"


@routes.post(f"{_HELPERS}/present_payment_method", ReaderPresentPaymentMethodParams)
def present_payment_method(call: Call, reader: str) -> Json:
    found, params = _simulated(call, reader), call.params
    kind = params.get("type", "card_present")
    given = params.get(kind) or {}
    if kind == "card" and not given:
        raise missing_parameter("card")
    tip = params.get("amount_tip")
    card = at_reader(kind, given.get("number"), tip=tip, has_cvc="cvc" in given)
    return present(call.sandbox, found, card)


@routes.post(f"{_HELPERS}/succeed_input_collection", ReaderSucceedInputCollectionParams)
def succeed_input_collection(call: Call, reader: str) -> Json:
    found = _simulated(call, reader)
    return give_inputs(
        call.sandbox, found, skips=call.params.get("skip_non_required_inputs") == "all"
    )


@routes.post(f"{_HELPERS}/timeout_input_collection", ReaderTimeoutInputCollectionParams)
def timeout_input_collection(call: Call, reader: str) -> Json:
    found = _simulated(call, reader)
    _action_of(found, "collect_inputs")
    return _end(
        call.sandbox,
        found,
        "failed",
        code="timeout",
        message="The customer did not answer in time.",
    )


# --- what customers do ---


def present(sandbox: Sandbox, reader: Json, card: Presented) -> Json:
    """A card is held to the reader, or typed into it; returns the reader after what came of it at once.

    Raises ApiError when no action waits for such a card.
    """
    action = _action_of(
        reader,
        "process_payment_intent",
        "collect_payment_method",
        "process_setup_intent",
        "refund_payment",
    )
    kind = action["type"]
    if kind in ("process_payment_intent", "collect_payment_method"):
        intent = sandbox.fetch("payment_intent", action[kind]["payment_intent"])
        card_present.check_fits(card, intent, moto=reader["_moto"])
        _check_tip(sandbox, reader, intent, card)
    if take_fault(sandbox, reader, ReaderFault.STUCK_IN_PROGRESS):
        reader["_phase"] = "stuck"
        return sandbox.save(reader)
    cut_off = take_fault(sandbox, reader, ReaderFault.OFFLINE_STORE_THEN_DECLINE)
    if cut_off:
        reader |= {"_silent_since": sandbox.now(), "_stored": card.kept(), "_phase": "authorizing"}
        sandbox.after(cut_off.get("delay_s") or _BACK_AFTER_S, "reader_forwards", _turn_of(reader))
        return sandbox.save(reader)
    if take_fault(sandbox, reader, ReaderFault.CARD_LEFT_IN):
        reader["_card_in"] = True
    if kind == "collect_payment_method":
        return _collected(sandbox, reader, card)
    return _ask_bank(sandbox, reader, card)


def press_cancel(sandbox: Sandbox, reader: Json) -> Json:
    """The customer presses Cancel, where the action shows that button. Raises ApiError elsewhere."""
    action = _action_of(
        reader,
        "process_payment_intent",
        "collect_payment_method",
        "process_setup_intent",
        "refund_payment",
    )
    details = action[action["type"]]
    config = (
        details.get("process_config")
        or details.get("collect_config")
        or details.get("refund_payment_config")
    )
    if not (config or {}).get("enable_customer_cancellation"):
        raise ApiError("This action does not let the customer cancel.", code="intent_invalid_state")
    return _end(
        sandbox,
        reader,
        "failed",
        code="customer_canceled",
        message="This action could not be completed due to the customer canceling on the reader.",
    )


def give_inputs(sandbox: Sandbox, reader: Json, *, skips: bool = False) -> Json:
    """The customer answers all questions, or skips those that can be skipped."""
    action = _action_of(reader, "collect_inputs")
    for one in action["collect_inputs"]["inputs"]:
        one["skipped"] = skips and not one["required"]
        for toggle in one["toggles"] or []:
            toggle["value"] = toggle["default_value"] or "disabled"
        if one["skipped"]:
            continue
        kind = one["type"]
        if kind == "selection":
            one["selection"] |= {
                name: one["selection"]["choices"][0][name] for name in ("id", "text")
            }
        elif kind == "signature":
            one["signature"] = {"value": _signature(sandbox)}
        else:
            one[kind] = {"value": _ANSWERS[kind]}
    return _end(sandbox, reader, "succeeded")


_ANSWERS = {"text": "Sam Doe", "numeric": "42", "email": "sam@example.com", "phone": "+15555550123"}


@routes.task("reader_customer")
def customer_comes(sandbox: Sandbox, turn: str) -> None:
    """The virtual customer presents a card, unless the action is over by now."""
    reader = _of_turn(sandbox, turn)
    if reader is None or reader["_phase"] != "waiting" or reader["status"] != "online":
        return
    kind = reader["action"]["type"]
    if kind == "collect_inputs":
        give_inputs(sandbox, reader)
        return
    intent_id = reader["action"][kind].get("payment_intent")
    intent = sandbox.fetch("payment_intent", intent_id) if intent_id else None
    types = intent["payment_method_types"] if intent else []
    if kind == "refund_payment":
        # The card that paid, or its like.
        charge = sandbox.fetch("charge", reader["action"][kind]["charge"])
        types = [charge["payment_method_details"]["type"]]
    default = "card_present" if "card_present" in types or not types else types[0]
    paying = intent is not None and kind in ("process_payment_intent", "collect_payment_method")
    tip = _usual_tip(sandbox, reader, intent) if intent is not None and paying else None
    card = at_reader("card" if reader["_moto"] else default, tip=tip, has_cvc=True)
    present(sandbox, reader, card)


@routes.task("reader_authorizes")
def bank_answers(sandbox: Sandbox, turn: str) -> None:
    """The bank has taken its time."""
    reader = _of_turn(sandbox, turn)
    if reader is not None and reader["_phase"] == "authorizing":
        _authorize(sandbox, reader, Presented(**reader["_stored"]))


@routes.task("reader_forwards")
def reader_forwards(sandbox: Sandbox, turn: str) -> None:
    """The reader is back with a payment that it stored while it was cut off, and the bank declines it."""
    reader = _of_turn(sandbox, turn)
    if reader is None:
        return
    stored = Presented(**reader["_stored"])
    late = replace(stored, refused="insufficient_funds", stored_at=reader["_silent_since"])
    reader["_silent_since"] = None
    _authorize(sandbox, reader, late)


# --- the bank ---


def _ask_bank(sandbox: Sandbox, reader: Json, card: Presented) -> Json:
    if not reader["_authorization_s"]:
        return _authorize(sandbox, reader, card)
    reader |= {"_phase": "authorizing", "_stored": card.kept()}
    sandbox.after(reader["_authorization_s"], "reader_authorizes", _turn_of(reader))
    return sandbox.save(reader)


def _authorize(sandbox: Sandbox, reader: Json, card: Presented) -> Json:
    kind = reader["action"]["type"]
    if kind == "process_setup_intent":
        return _set_up(sandbox, reader, card)
    if kind == "refund_payment":
        return _refund(sandbox, reader, card)
    intent = sandbox.fetch("payment_intent", reader["action"][kind]["payment_intent"])
    if intent["status"] not in ("requires_payment_method", "requires_confirmation"):
        # Canceled, or paid another way, while the reader had it: the bank is not asked.
        return _end(
            sandbox,
            reader,
            "failed",
            code="intent_invalid_state",
            message=f"This PaymentIntent's status is {intent['status']}, so it cannot be charged.",
        )
    _add_tip(sandbox, intent, card)
    card_present.charge(sandbox, intent, card, reader)
    if take_fault(sandbox, reader, ReaderFault.DROP_MID_AUTH):
        reader |= {"_silent_since": sandbox.now(), "_phase": "gone"}
        return sandbox.save(reader)
    if take_fault(sandbox, reader, ReaderFault.CONNECTION_ERROR):
        return _connection_lost(sandbox, reader)
    return _tell_outcome(sandbox, reader, intent)


def _connection_lost(sandbox: Sandbox, reader: Json) -> Json:
    return _end(
        sandbox,
        reader,
        "failed",
        code="connection_error",
        message="The reader lost its connection while it processed the payment.",
    )


def _tell_outcome(sandbox: Sandbox, reader: Json, intent: Json) -> Json:
    failed = intent["last_payment_error"]
    if failed is None or intent["status"] in ("succeeded", "requires_capture"):
        return _end(sandbox, reader, "succeeded")
    known = {
        name: failed.get(name) for name in Reader.Action.ApiError.__annotations__ if name in failed
    }
    known |= {"payment_intent": public(intent), "setup_intent": None, "source": None}
    error = part(Reader.Action.ApiError, **known)
    return _end(
        sandbox, reader, "failed", code=failed["code"], message=failed["message"], error=error
    )


def _set_up(sandbox: Sandbox, reader: Json, card: Presented) -> Json:
    details = reader["action"]["process_setup_intent"]
    intent = sandbox.fetch("setup_intent", details["setup_intent"])
    test_card = card_present.card_of(card)
    if test_card.decline is not None and not test_card.attaches:
        return _end(
            sandbox,
            reader,
            "failed",
            code=test_card.decline.code,
            message=test_card.decline.message,
        )
    method = card_present.method_of(sandbox, card)
    generated = card_present.generated_card(sandbox, card, reader["_redisplay"])
    payment_methods.keep(sandbox, method)
    payment_methods.keep(sandbox, generated)
    intent["payment_method"] = method["id"]
    if intent["customer"] is not None:
        payment_methods.attach_quietly(sandbox, generated, intent["customer"])
    intent["status"] = "succeeded"
    sandbox.save(intent)
    sandbox.emit("setup_intent.succeeded", intent)
    details["generated_card"] = generated["id"]
    return _end(sandbox, reader, "succeeded")


def _refund(sandbox: Sandbox, reader: Json, card: Presented) -> Json:
    details = reader["action"]["refund_payment"]
    charge = sandbox.fetch("charge", details["charge"])
    paid = charge["payment_method_details"]
    if card_present.fingerprint_of(card) != paid[paid["type"]].get("fingerprint"):
        return _end(
            sandbox,
            reader,
            "failed",
            code="card_declined",
            message="A refund goes to the card that paid. Another card was presented.",
        )
    made = refunds.refund(sandbox, charge, details["amount"], metadata=details["metadata"])
    if take_fault(sandbox, reader, ReaderFault.DROP_MID_AUTH):
        reader |= {"_silent_since": sandbox.now(), "_phase": "gone"}
        return sandbox.save(reader)
    if take_fault(sandbox, reader, ReaderFault.CONNECTION_ERROR):
        return _connection_lost(sandbox, reader)
    details["refund"] = made["id"]
    return _end(sandbox, reader, "succeeded")


def _collected(sandbox: Sandbox, reader: Json, card: Presented) -> Json:
    """The card was read, and can be looked at before it is charged."""
    details = reader["action"]["collect_payment_method"]
    details["payment_method"] = public(card_present.method_of(sandbox, card))
    reader["_collected"] = {"intent": details["payment_intent"], "card": card.kept()}
    sandbox.emit("terminal.reader.action_updated", reader)
    return _end(sandbox, reader, "succeeded")


def _add_tip(sandbox: Sandbox, intent: Json, card: Presented) -> None:
    if card.tip:
        intent["amount"] += card.tip
        before = intent["amount_details"] or part(stripe.PaymentIntent.AmountDetails)
        intent["amount_details"] = {**before, "tip": {"amount": card.tip}}
        sandbox.save(intent)


def _check_tip(sandbox: Sandbox, reader: Json, intent: Json, card: Presented) -> None:
    if card.tip is not None and _tips(sandbox, reader, intent) is None:
        raise ApiError(
            f"The reader does not ask for a tip in {intent['currency']} on this transaction.",
            param="amount_tip",
        )


def _tips(sandbox: Sandbox, reader: Json, intent: Json) -> Json | None:
    """What the reader suggests on this transaction; None when it does not ask."""
    action = reader["action"]
    details = action[action["type"]]
    config = details.get("process_config") or details.get("collect_config") or {}
    location = sandbox.fetch(LOCATION, reader["location"])
    tipping = effective(sandbox, location, "tipping") or {}
    suggested: Json | None = None if config.get("skip_tipping") else tipping.get(intent["currency"])
    return suggested


def _usual_tip(sandbox: Sandbox, reader: Json, intent: Json) -> int | None:
    """The second suggestion, rounded up so that the total ends in 0: no total declines for its last digits."""
    suggested = _tips(sandbox, reader, intent)
    if suggested is None:
        return None
    amount: int = intent["amount"]
    is_small = amount < (suggested["smart_tip_threshold"] or 0)
    percentages = [] if is_small else suggested["percentages"] or []
    amounts = [amount * one // 100 for one in percentages] or suggested["fixed_amounts"] or []
    if not amounts:
        return None
    tip: int = amounts[len(amounts) // 2]
    return tip + -(amount + tip) % 10


# --- actions ---


def _commanded(call: Call, identifier: str) -> Json:
    """The reader, able to take a command now; else Stripe's error of why not."""
    sandbox = call.sandbox
    reader = find(sandbox, identifier)
    if not is_driven_by_api(reader):
        raise ApiError(
            f"This reader ({reader['device_type']}) is driven by an app with Stripe's SDK, not by the API.",
            param="reader",
        )
    if reader["status"] == "offline":
        raise ApiError(
            "Reader is currently offline, please ensure the reader is powered on and connected to the internet before "
            "retrying your request. Reference the integration guide at "
            f"{_GUIDE} for details on how to handle this error.",
            code="terminal_reader_offline",
        )
    lost = take_fault(sandbox, reader, ReaderFault.COMMAND_LOST)
    if reader["_silent_since"] is not None or lost:
        raise _timed_out()
    if take_fault(sandbox, reader, ReaderFault.HARDWARE_FAULT):
        raise ApiError(
            "The reader has a hardware fault. Restart it; when that does not help, replace it.",
            code="terminal_reader_hardware_fault",
            keeps=True,
        )
    updating = reader["_busy_until"] is not None and reader["_busy_until"] > sandbox.now()
    if updating or reader["_card_in"] or reader["_phase"] == "authorizing":
        raise ApiError(
            "Reader is currently busy processing another request, please reference the integration guide at "
            f"{_GUIDE} for details on how to handle this error.",
            code="terminal_reader_busy",
        )
    return reader


def _timed_out() -> ApiError:
    return ApiError(
        "There was a timeout when sending this command to the reader.",
        code="terminal_reader_timeout",
        keeps=True,
    )


def _payable(call: Call, identifier: str, *, moto: bool) -> Json:
    intent = call.sandbox.named("payment_intent", identifier, "payment_intent")
    assert intent is not None  # noqa: S101 - the parameter is required
    _check_state(intent, "payment_intent")
    needed = ("card",) if moto else ("card_present", "interac_present")
    if not set(needed) & set(intent["payment_method_types"]):
        raise ApiError(
            f"The PaymentIntent has to allow {' or '.join(needed)} to be processed on a reader"
            f"{' with a typed card' if moto else ''}.",
            code="payment_intent_invalid_parameter",
            param="payment_intent",
        )
    return intent


def _check_state(intent: Json, param: str) -> None:
    if intent["status"] != "requires_payment_method":
        kind = "PaymentIntent" if param == "payment_intent" else "SetupIntent"
        raise ApiError(
            f"{kind} must be in the requires_payment_method state to be processed on a reader; it is in the "
            f"{intent['status']} state.",
            code="intent_invalid_state",
            param=param,
        )


def _start(
    sandbox: Sandbox,
    reader: Json,
    kind: str,
    details: Json,
    *,
    moto: bool = False,
    redisplay: str = "unspecified",
) -> Json:
    """The command has arrived, and a customer has to come."""
    _begin(sandbox, reader, kind, details, moto=moto, redisplay=redisplay)
    if reader["_auto_present_s"] is not None:
        sandbox.after(reader["_auto_present_s"], "reader_customer", _turn_of(reader))
    return _acknowledged(sandbox, reader)


def _begin(
    sandbox: Sandbox,
    reader: Json,
    kind: str,
    details: Json,
    *,
    moto: bool = False,
    redisplay: str = "unspecified",
) -> Json:
    """A new action; what waited for a customer before is replaced."""
    reader["action"] = part(Reader.Action, type=kind, status="in_progress", **{kind: details})
    reader |= {
        "_turn": reader["_turn"] + 1,
        "_phase": "waiting",
        "_moto": moto,
        "_redisplay": redisplay,
        "_stored": None,
        "_collected": reader["_collected"] if kind == "confirm_payment_intent" else None,
    }
    return sandbox.save(reader)


def _acknowledged(sandbox: Sandbox, reader: Json) -> Json:
    if take_fault(sandbox, reader, ReaderFault.ACK_LOST):
        raise _timed_out()
    return reader


def _end(
    sandbox: Sandbox,
    reader: Json,
    status: str,
    *,
    code: str | None = None,
    message: str | None = None,
    error: Json | None = None,
    tells: bool = True,
) -> Json:
    reader["action"] |= {
        "status": status,
        "failure_code": code,
        "failure_message": message,
        "api_error": error,
    }
    reader["_phase"] = ""
    sandbox.save(reader)
    if tells:
        sandbox.emit(f"terminal.reader.action_{status}", reader)
    return reader


def _action_of(reader: Json, *kinds: str) -> Json:
    """The action that waits for the customer. Raises ApiError when there is none of these kinds."""
    action: Json | None = reader["action"]
    if action is None or action["type"] not in kinds or reader["_phase"] != "waiting":
        raise ApiError(
            "The reader does not wait for this now: start an action on it first.",
            code="intent_invalid_state",
        )
    return action


def _simulated(call: Call, identifier: str) -> Json:
    reader = find(call.sandbox, identifier)
    if not reader["device_type"].startswith("simulated_"):
        raise ApiError("This is for simulated readers only.", param="reader")
    return reader


def _turn_of(reader: Json) -> str:
    return f"{reader['id']} {reader['_turn']}"


def _of_turn(sandbox: Sandbox, turn: str) -> Json | None:
    identifier, _, number = turn.partition(" ")
    if sandbox.store.get(identifier, READER) is None:
        return None
    reader = find(sandbox, identifier)
    return reader if reader["_turn"] == int(number) else None


def _config(owner: type[stripe.StripeObject], given: Json) -> Json:
    known = {name: value for name, value in given.items() if name in owner.__annotations__}
    return part(owner, **known)


def _input(asked: Json, name: str) -> Json:
    Input = Reader.Action.CollectInputs.Input  # noqa: N806 - the SDK's class
    kind = asked["type"]
    words = asked["custom_text"]
    for part_name, most in (("submit_button", 30), ("skip_button", 14)):
        if len(words.get(part_name) or "") > most:
            raise ApiError(f"At most {most} characters.", param=f"{name}[custom_text][{part_name}]")
    shaped = part(
        Input,
        type=kind,
        custom_text=part(Input.CustomText, **words),
        required=asked.get("required", False),
        skipped=None,
        toggles=[part(Input.Toggle, **one) for one in asked.get("toggles", [])],
    )
    if kind == "selection":
        if "selection" not in asked:
            raise missing_parameter(f"{name}[selection]")
        choices = [{"style": None, **one} for one in asked["selection"]["choices"]]
        shaped["selection"] = {"choices": choices, "id": None, "text": None}
    else:
        shaped[kind] = {"value": None}
    return shaped


def _signature(sandbox: Sandbox) -> str:
    drawn = hashlib.sha256(str(sandbox.now()).encode()).hexdigest()
    stored = sandbox.create(
        "file",
        "file_",
        filename=f"signature-{drawn[:8]}.svg",
        purpose="terminal_reader_splashscreen",
        size=len(_SIGNATURE),
        title="Signature",
        type="svg",
        _content=_SIGNATURE,
    )
    return str(stored["id"])


_SIGNATURE = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 60"><path d="M10 40 C40 5 60 60 90 30 S150 10 190 35" '
    'fill="none" stroke="#000" stroke-width="3"/></svg>'
)
