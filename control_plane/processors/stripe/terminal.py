"""Stripe's smart readers, driven from its cloud, and what phones need to become readers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from control_plane.processors.stripe import reading
from control_plane.processors.stripe.amounts import to_wire
from control_plane.processors.stripe.client import Stripe
from control_plane.processors.stripe.pages import every
from control_plane.virtual_terminal.processor import (
    CartLine,
    ProcessorReader,
    ReaderInput,
    ReaderPayment,
)
from protocols.money import Money


class Terminal:
    """The part of the port that drives readers. Subclasses set ``_stripe``."""

    _stripe: Stripe

    def create_location(self, name: str, address: Mapping[str, str], *, key: str) -> str:
        params: Any = {"display_name": name, "address": dict(address)}
        return self._stripe.write(lambda v1, o: v1.terminal.locations.create(params, o), key=key).id

    def register_reader(
        self, code: str, *, label: str, location_id: str, metadata: Mapping[str, str], key: str
    ) -> ProcessorReader:
        return reading.reader(
            self._stripe.write(
                lambda v1, o: v1.terminal.readers.create(
                    {
                        "registration_code": code,
                        "label": label,
                        "location": location_id,
                        "metadata": dict(metadata),
                    },
                    o,
                ),
                key=key,
            )
        )

    def rename_reader(self, reader_id: str, label: str) -> ProcessorReader:
        return reading.reader(
            self._stripe.write(
                lambda v1, o: v1.terminal.readers.update(reader_id, {"label": label}, o)
            )
        )

    def remove_reader(self, reader_id: str) -> None:
        self._stripe.write(lambda v1, o: v1.terminal.readers.delete(reader_id, {}, o))

    def read_reader(self, reader_id: str) -> ProcessorReader:
        return reading.reader(
            self._stripe.read(lambda v1, o: v1.terminal.readers.retrieve(reader_id, {}, o))
        )

    def readers(self, location_id: str | None = None) -> list[ProcessorReader]:
        params = {} if location_id is None else {"location": location_id}
        return [
            reading.reader(one)
            for one in every(self._stripe, lambda v1, p, o: v1.terminal.readers.list(p, o), params)
        ]

    def process_on_reader(
        self, reader_id: str, payment_id: str, how: ReaderPayment, *, key: str
    ) -> ProcessorReader:
        config: dict[str, Any] = {  # moto is not in the SDK's type
            "enable_customer_cancellation": how.customer_may_cancel,
            "skip_tipping": how.skip_tipping,
        }
        if how.tip_eligible_minor is not None:
            config["tipping"] = {"amount_eligible": how.tip_eligible_minor}
        if how.moto:
            # Documented, and opened per account; the published types do not have it.
            config["moto"] = True
        params: Any = {"payment_intent": payment_id, "process_config": config}
        return reading.reader(
            self._stripe.write(
                lambda v1, o: v1.terminal.readers.process_payment_intent(reader_id, params, o),
                key=key,
            )
        )

    def refund_on_reader(
        self,
        reader_id: str,
        *,
        payment_id: str,
        amount_minor: int,
        metadata: Mapping[str, str],
        key: str,
    ) -> ProcessorReader:
        return reading.reader(
            self._stripe.write(
                lambda v1, o: v1.terminal.readers.refund_payment(
                    reader_id,
                    {
                        "payment_intent": payment_id,
                        "amount": amount_minor,
                        "metadata": dict(metadata),
                        "refund_payment_config": {"enable_customer_cancellation": True},
                    },
                    o,
                ),
                key=key,
            )
        )

    def cancel_on_reader(self, reader_id: str) -> ProcessorReader:
        return reading.reader(
            self._stripe.write(lambda v1, o: v1.terminal.readers.cancel_action(reader_id, {}, o))
        )

    def show_cart(
        self, reader_id: str, lines: tuple[CartLine, ...], total: Money, tax_minor: int
    ) -> ProcessorReader:
        params: Any = {
            "type": "cart",
            "cart": {
                "currency": total.currency.lower(),
                "total": to_wire(total),
                "tax": tax_minor,
                "line_items": [
                    {
                        "description": line.description,
                        "amount": line.amount_minor,
                        "quantity": line.quantity,
                    }
                    for line in lines
                ],
            },
        }
        return reading.reader(
            self._stripe.write(
                lambda v1, o: v1.terminal.readers.set_reader_display(reader_id, params, o)
            )
        )

    def ask_on_reader(
        self, reader_id: str, inputs: tuple[ReaderInput, ...], *, key: str
    ) -> ProcessorReader:
        params: Any = {"inputs": [_input(one) for one in inputs]}
        return reading.reader(
            self._stripe.write(
                lambda v1, o: v1.terminal.readers.collect_inputs(reader_id, params, o), key=key
            )
        )

    def connection_token(self, location_id: str | None = None) -> str:
        params: Any = {} if location_id is None else {"location": location_id}
        return self._stripe.write(
            lambda v1, o: v1.terminal.connection_tokens.create(params, o)
        ).secret

    def onboarding_link(self, merchant_name: str) -> str:
        return self._stripe.write(
            lambda v1, o: v1.terminal.onboarding_links.create(
                {
                    "link_type": "apple_terms_and_conditions",
                    "link_options": {
                        "apple_terms_and_conditions": {"merchant_display_name": merchant_name}
                    },
                },
                o,
            )
        ).redirect_url


def _input(asked: ReaderInput) -> dict[str, Any]:  # the SDK's type of one input
    custom = {"title": asked.title}
    if asked.description:
        custom["description"] = asked.description
    shown: dict[str, Any] = {
        "type": asked.kind,
        "custom_text": custom,
        "required": asked.required,
    }
    if asked.kind == "selection":
        shown["selection"] = {
            "choices": [
                {"id": str(number), "text": text} for number, text in enumerate(asked.choices, 1)
            ]
        }
    return shown
