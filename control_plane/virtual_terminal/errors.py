"""What keeps a payment from being taken, changed or given back."""

from __future__ import annotations

from control_plane.errors import Conflict


class NotConnected(Conflict):
    """The merchant has no account with the processor."""

    code = "processor_not_connected"
    message = "No Stripe account is connected. An owner can connect one under Settings, Payments."
