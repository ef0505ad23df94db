"""The adapter: one merchant's Stripe account behind the port ``virtual_terminal.processor.Processor``."""

from __future__ import annotations

from control_plane.processors.stripe.client import Access, Patience, Stripe
from control_plane.processors.stripe.customers import Customers
from control_plane.processors.stripe.history import History
from control_plane.processors.stripe.payments import Payments
from control_plane.processors.stripe.refunds import Refunds
from control_plane.processors.stripe.terminal import Terminal


class StripeProcessor(Payments, Refunds, Customers, Terminal, History):
    """May be used by several threads at once."""

    def __init__(self, access: Access, patience: Patience | None = None) -> None:
        self._stripe = Stripe(access, patience)

    def close(self) -> None:
        """Let go of connections."""
        self._stripe.close()
