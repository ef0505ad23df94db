"""Customers, the methods they left with us, and their permission to debit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from control_plane.processors.stripe import reading
from control_plane.processors.stripe.client import Stripe
from control_plane.processors.stripe.pages import every
from control_plane.virtual_terminal.processor import (
    Instrument,
    NewSetup,
    ProcessorCustomer,
    ProcessorMandate,
    ProcessorSetup,
)

_EXPAND = ["payment_method"]


class Customers:
    """The part of the port that remembers payers. Subclasses set ``_stripe``."""

    _stripe: Stripe

    def save_customer(
        self,
        customer_id: str | None,
        *,
        name: str,
        email: str,
        phone: str,
        metadata: Mapping[str, str],
        key: str,
    ) -> ProcessorCustomer:
        """Makes one, or changes it. An empty text changes nothing: none of the three can be unset there."""
        given = {"name": name, "email": email, "phone": phone}
        params: Any = {"metadata": dict(metadata)}
        params |= {field: text for field, text in given.items() if text}
        if customer_id is None:
            made = self._stripe.write(lambda v1, o: v1.customers.create(params, o), key=key)
            return reading.customer(made)
        return reading.customer(
            self._stripe.write(lambda v1, o: v1.customers.update(customer_id, params, o), key=key)
        )

    def instruments_of(self, customer_id: str) -> list[Instrument]:
        return [
            reading.instrument(one)
            for one in every(
                self._stripe,
                lambda v1, p, o: v1.customers.payment_methods.list(customer_id, p, o),
                {},
            )
        ]

    def read_instrument(self, instrument_id: str) -> Instrument:
        return reading.instrument(
            self._stripe.read(lambda v1, o: v1.payment_methods.retrieve(instrument_id, {}, o))
        )

    def detach(self, instrument_id: str, *, key: str) -> None:
        self._stripe.write(lambda v1, o: v1.payment_methods.detach(instrument_id, {}, o), key=key)

    def setup(self, new: NewSetup, *, key: str) -> ProcessorSetup:
        params: dict[str, Any] = {  # the SDK's type of it, checked by the sandbox
            "customer": new.customer_id,
            "confirm": True,
            "confirmation_token": new.token,
            "usage": "off_session",
            "allowed_payment_method_types": list(new.methods),
            "metadata": dict(new.metadata),
            "expand": _EXPAND,
        }
        if new.moto:
            params["payment_method_options"] = {"card": {"moto": True}}
        if new.mandate_offline:
            params["mandate_data"] = {"customer_acceptance": {"type": "offline"}}
        if new.return_url is not None:
            params["return_url"] = new.return_url
        typed: Any = params
        return reading.setup(
            self._stripe.write(lambda v1, o: v1.setup_intents.create(typed, o), key=key)
        )

    def read_setup(self, setup_id: str) -> ProcessorSetup:
        return reading.setup(
            self._stripe.read(
                lambda v1, o: v1.setup_intents.retrieve(setup_id, {"expand": _EXPAND}, o)
            )
        )

    def read_mandate(self, mandate_id: str) -> ProcessorMandate:
        return reading.mandate(
            self._stripe.read(lambda v1, o: v1.mandates.retrieve(mandate_id, {}, o))
        )
