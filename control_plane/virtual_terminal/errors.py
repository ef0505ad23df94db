"""What keeps a payment from being taken, changed or given back."""

from __future__ import annotations

from control_plane.errors import Conflict, RequestRefused


class NotConnected(Conflict):
    """The merchant has no account with the processor."""

    code = "processor_not_connected"
    message = "No Stripe account is connected. An owner can connect one under Settings, Payments."


class AlreadyConnected(Conflict):
    """Another account of the processor is connected."""

    code = "processor_already_connected"
    message = "The Stripe account {account_id} is connected. Disconnect it before you connect another one."


class KeyRefused(RequestRefused):
    """The processor does not know the key, or it cannot be one."""

    code = "processor_key_refused"
    message = "{reason}"


class LiveKeyElsewhere(RequestRefused):
    """A key that moves real money would leave for a server that is not the processor's."""

    code = "live_key_elsewhere"
    message = (
        "This key moves real money and is only ever sent to Stripe itself, not to {api_base}. "
        "Leave the address empty."
    )


class LiveKeyInDemo(RequestRefused):
    """A key that moves real money, where money is play money."""

    code = "live_key_in_demo"
    message = "This installation runs in {mode} mode. Connect a test key (sk_test_…) here."


class SandboxInLive(RequestRefused):
    """The sandbox, where money is real."""

    code = "sandbox_in_live"
    message = (
        "{api_base} is not Stripe. An installation in live mode works with Stripe itself only: "
        "leave the address empty."
    )


class PaymentsOpen(Conflict):
    """Payments wait for their outcome."""

    code = "payments_open"
    message = (
        "{count} payments still wait for their outcome. Disconnect once they are settled, "
        "else nobody learns how they ended."
    )
