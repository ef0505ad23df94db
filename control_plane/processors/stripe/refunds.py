"""Refunds and disputes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from control_plane.processors.stripe import reading
from control_plane.processors.stripe.client import Stripe
from control_plane.processors.stripe.pages import every
from control_plane.virtual_terminal.processor import ProcessorDispute, ProcessorRefund

_EXPAND = ["balance_transaction"]
#: A refund for another reason than these goes without one.
_REASONS = frozenset({"duplicate", "fraudulent", "requested_by_customer"})


class Refunds:
    """The part of the port that gives money back. Subclasses set ``_stripe``."""

    _stripe: Stripe

    def refund(
        self,
        payment_id: str,
        *,
        amount_minor: int,
        reason: str | None,
        metadata: Mapping[str, str],
        key: str,
    ) -> ProcessorRefund:
        params: dict[str, Any] = {  # the SDK's type of it, checked by the sandbox
            "payment_intent": payment_id,
            "amount": amount_minor,
            "metadata": dict(metadata),
            "expand": _EXPAND,
        }
        if reason in _REASONS:
            params["reason"] = reason
        typed: Any = params
        return reading.refund(
            self._stripe.write(lambda v1, o: v1.refunds.create(typed, o), key=key)
        )

    def read_refund(self, refund_id: str) -> ProcessorRefund:
        return reading.refund(
            self._stripe.read(lambda v1, o: v1.refunds.retrieve(refund_id, {"expand": _EXPAND}, o))
        )

    def refunds_of(self, payment_id: str) -> list[ProcessorRefund]:
        params = {"payment_intent": payment_id, "expand": ["data.balance_transaction"]}
        return [
            reading.refund(one)
            for one in every(self._stripe, lambda v1, p, o: v1.refunds.list(p, o), params)
        ]

    def read_dispute(self, dispute_id: str) -> ProcessorDispute:
        return reading.dispute(
            self._stripe.read(lambda v1, o: v1.disputes.retrieve(dispute_id, {}, o))
        )

    def disputes_of(self, payment_id: str) -> list[ProcessorDispute]:
        params = {"payment_intent": payment_id}
        return [
            reading.dispute(one)
            for one in every(self._stripe, lambda v1, p, o: v1.disputes.list(p, o), params)
        ]
