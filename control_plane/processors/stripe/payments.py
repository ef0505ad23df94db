"""PaymentIntents: create, confirm, read, capture, cancel, and find one whose creation got no answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import stripe

from control_plane.processors.stripe import reading
from control_plane.processors.stripe.amounts import to_wire
from control_plane.processors.stripe.client import Stripe
from control_plane.virtual_terminal.processor import (
    AnswerUnknown,
    CaptureMethod,
    Confirmation,
    Declined,
    MotoNotEnabled,
    NewIntent,
    NotReached,
    ProcessorAccountInfo,
    ProcessorPayment,
    Refused,
)
from protocols.money import Money

#: One call brings the charge with what it cost and when it is paid out.
EXPAND: Final = ["latest_charge.balance_transaction"]
#: Far longer than a search index lags behind; lists never do.
_RECENT_S: Final = 3600
#: A token that was never made; its form is that of real ones.
_NO_TOKEN: Final = "ctoken_0OmnitillAsksWhetherMoto"  # noqa: S105 - names nothing


class Payments:
    """The part of the port that takes money. Subclasses set ``_stripe``."""

    _stripe: Stripe

    def account(self) -> ProcessorAccountInfo:
        found = self._stripe.read(lambda v1, o: v1.accounts.retrieve_current({}, o))
        profile = getattr(found, "business_profile", None)
        return ProcessorAccountInfo(
            id=found.id,
            country=found.country or "",
            default_currency=(found.default_currency or "").upper(),
            livemode=self._stripe.is_live,
            business_name=getattr(profile, "name", None),
        )

    def probe_moto(self) -> bool:
        """Ask for a MOTO payment with a token that does not exist.

        Parameters are read before anything is looked up: an account without MOTO answers ``parameter_unknown``, one
        with it answers ``resource_missing`` for the token. Either is a 400, on which no PaymentIntent is made.
        Any other answer says nothing about MOTO and is raised as it came.
        """
        params: dict[str, Any] = {  # the SDK's type of it, checked by the sandbox
            "amount": 100,
            "currency": "usd",
            "confirm": True,
            "confirmation_token": _NO_TOKEN,
            "allowed_payment_method_types": ["card"],
            "payment_method_options": {"card": {"moto": True}},
        }
        try:
            made = self._stripe.write(lambda v1, o: v1.payment_intents.create(_typed(params), o))
        except MotoNotEnabled:
            return False
        except Refused as refused:
            if refused.code == "resource_missing" and refused.param == "confirmation_token":
                return True
            raise
        self.cancel_payment(made.id, key=f"{made.id}:probe")
        raise Refused("a payment was made with a token that does not exist", code="probe_failed")

    def create_payment(
        self, new: NewIntent, confirm: Confirmation | None = None, *, key: str
    ) -> ProcessorPayment:
        params: dict[str, Any] = {  # as above
            "amount": to_wire(new.amount),
            "currency": new.amount.currency.lower(),
            "allowed_payment_method_types": list(new.methods),
            # Said always: left out, it is automatic_async, whose answer does not have what the charge cost.
            "capture_method": new.capture,
            "metadata": dict(new.metadata),
            "expand": EXPAND,
        }
        if new.customer_id:
            params["customer"] = new.customer_id
        if new.description:
            params["description"] = new.description
        if new.receipt_email:
            params["receipt_email"] = new.receipt_email
        if new.save_for:
            params["setup_future_usage"] = new.save_for
        if new.ask_incremental:
            _ask_incremental(params, new.methods)
        if confirm is None:
            return self._changed(lambda v1, o: v1.payment_intents.create(_typed(params), o), key)
        params["confirm"] = True
        _confirm(params, confirm)
        return self._charged(lambda v1, o: v1.payment_intents.create(_typed(params), o), key)

    def confirm_payment(
        self, payment_id: str, confirm: Confirmation, *, methods: tuple[str, ...] = (), key: str
    ) -> ProcessorPayment:
        params: dict[str, Any] = {"expand": EXPAND}  # as above
        if methods:
            params["allowed_payment_method_types"] = list(methods)
        _confirm(params, confirm)
        return self._charged(
            lambda v1, o: v1.payment_intents.confirm(payment_id, _typed(params), o), key
        )

    def update_payment(
        self,
        payment_id: str,
        *,
        amount: Money | None = None,
        methods: tuple[str, ...] = (),
        capture: CaptureMethod | None = None,
        metadata: Mapping[str, str] | None = None,
        key: str,
    ) -> ProcessorPayment:
        params: dict[str, Any] = {"expand": EXPAND}  # as above
        if amount is not None:
            params["amount"] = to_wire(amount)
            params["currency"] = amount.currency.lower()
        if methods:
            params["allowed_payment_method_types"] = list(methods)
        if capture is not None:
            params["capture_method"] = capture
        if metadata is not None:
            params["metadata"] = dict(metadata)
        return self._changed(
            lambda v1, o: v1.payment_intents.update(payment_id, _typed(params), o), key
        )

    def read_payment(self, payment_id: str) -> ProcessorPayment:
        return reading.payment(
            self._stripe.read(
                lambda v1, o: v1.payment_intents.retrieve(payment_id, {"expand": EXPAND}, o)
            )
        )

    def find_payment(self, metadata_key: str, value: str) -> ProcessorPayment | None:
        """Looks through the list of the last hour, which is never behind, and before that in the search index.

        The index lags by up to an hour in bad times, so alone it would miss a payment whose answer was just lost. None
        means that it is not there *now*: ask only after the time that a call may take.
        """
        newest: int | None = None
        pages = self._stripe.read(
            lambda v1, o: v1.payment_intents.list({"limit": 100, "expand": _IN_LIST}, o)
        )
        while True:
            for intent in pages.data:
                newest = newest or intent.created
                if intent.created < newest - _RECENT_S:
                    return self._search(metadata_key, value)
                if getattr(intent.metadata, metadata_key, None) == value:
                    return reading.payment(intent)
            if not pages.has_more:
                return None
            last = pages.data[-1].id
            pages = self._stripe.read(
                lambda v1, o, last=last: v1.payment_intents.list(  # type: ignore[misc]  # mypy knows no default of a lambda
                    {"limit": 100, "expand": _IN_LIST, "starting_after": last}, o
                )
            )

    def capture(
        self, payment_id: str, *, amount_minor: int | None = None, key: str
    ) -> ProcessorPayment:
        params: dict[str, Any] = {"expand": EXPAND}  # as above
        if amount_minor is not None:
            params["amount_to_capture"] = amount_minor
        return self._changed(
            lambda v1, o: v1.payment_intents.capture(payment_id, _typed(params), o), key
        )

    def cancel_payment(
        self, payment_id: str, *, reason: str | None = None, key: str
    ) -> ProcessorPayment:
        params: dict[str, Any] = {"expand": EXPAND}  # as above
        if reason:
            params["cancellation_reason"] = reason
        return self._changed(
            lambda v1, o: v1.payment_intents.cancel(payment_id, _typed(params), o), key
        )

    def increment(self, payment_id: str, amount_minor: int, *, key: str) -> ProcessorPayment:
        return self._charged(
            lambda v1, o: v1.payment_intents.increment_authorization(
                payment_id, {"amount": amount_minor, "expand": EXPAND}, o
            ),
            key,
        )

    def verify_microdeposits(
        self, payment_id: str, *, amounts: tuple[int, int] | None = None, code: str | None = None
    ) -> ProcessorPayment:
        params: dict[str, Any] = {"expand": EXPAND}  # as above
        if amounts is not None:
            params["amounts"] = list(amounts)
        if code is not None:
            params["descriptor_code"] = code
        return self._charged(
            lambda v1, o: v1.payment_intents.verify_microdeposits(payment_id, _typed(params), o),
            None,
        )

    def _changed(
        self,
        call: Callable[[stripe.V1Services, stripe.RequestOptions], stripe.PaymentIntent],
        key: str | None,
    ) -> ProcessorPayment:
        return reading.payment(self._stripe.write(call, key=key))

    def _charged(
        self,
        call: Callable[[stripe.V1Services, stripe.RequestOptions], stripe.PaymentIntent],
        key: str | None,
    ) -> ProcessorPayment:
        """A call that may be declined. An error expands nothing, so the failed charge is read."""
        try:
            return self._changed(call, key)
        except Declined as declined:
            if declined.payment is None:
                raise
            # When that fails, the answer is no all the same, and what the error told of the intent must do.
            with suppress(AnswerUnknown, NotReached):
                declined.payment = self.read_payment(declined.payment.id)
            raise

    def _search(self, metadata_key: str, value: str) -> ProcessorPayment | None:
        quoted = value.replace("\\", "\\\\").replace('"', '\\"')
        found = self._stripe.read(
            lambda v1, o: v1.payment_intents.search(
                {
                    "query": f'metadata["{metadata_key}"]:"{quoted}"',
                    "limit": 1,
                    "expand": _IN_LIST,
                },
                o,
            )
        )
        return reading.payment(found.data[0]) if found.data else None


_IN_LIST: Final = [f"data.{path}" for path in EXPAND]


def _confirm(params: dict[str, Any], confirm: Confirmation) -> None:
    if (confirm.token is None) == (confirm.instrument_id is None):
        raise ValueError("a payment is confirmed with a token or with a saved method")
    if confirm.token is not None:
        params["confirmation_token"] = confirm.token
    else:
        params["payment_method"] = confirm.instrument_id
    card: dict[str, Any] = {}
    if confirm.moto:
        card["moto"] = True
    if confirm.stored_usage is not None:
        card["stored_credential_usage"] = confirm.stored_usage
    if card:
        _options(params, "card").update(card)
    if confirm.off_session:
        params["off_session"] = True
    if confirm.fail_on_action:
        params["error_on_requires_action"] = True
    if confirm.return_url is not None:
        params["return_url"] = confirm.return_url
    if confirm.mandate_offline:
        params["mandate_data"] = {"customer_acceptance": {"type": "offline"}}


def _ask_incremental(params: dict[str, Any], methods: tuple[str, ...]) -> None:
    if "card" in methods:
        _options(params, "card")["request_incremental_authorization"] = "if_available"
    if "card_present" in methods:
        _options(params, "card_present")["request_incremental_authorization_support"] = True


def _options(params: dict[str, Any], method: str) -> dict[str, Any]:
    options: dict[str, Any] = params.setdefault("payment_method_options", {}).setdefault(method, {})
    return options


def _typed(params: dict[str, Any]) -> Any:
    """Put together step by step, for a call whose TypedDict would take all of it at once."""
    return params
