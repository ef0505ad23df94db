"""Why a card on an encrypting reader cannot be taken, or its money not be given back."""

from __future__ import annotations

from control_plane.errors import Conflict, NotFound, RequestRefused


class CardPresentNotConnected(Conflict):
    """Nobody takes sealed cards for this merchant."""

    code = "card_present_not_connected"
    message = (
        "No processor for encrypting readers is connected. An owner connects one under Settings, Payments. "
        "Stripe does not accept readers of other makers."
    )


class ReaderNeedsProcessor(Conflict):
    """An encrypting reader whose cards nobody would take."""

    code = "reader_needs_processor"
    message = (
        "{reader} encrypts cards, and no processor that takes them is connected. Stripe does not accept readers of "
        "other makers. Pick another reader, or ask an owner to connect CyberSource under Settings, Payments."
    )


class CardPresentKeyRefused(RequestRefused):
    """A key that cannot be right, or that the processor does not know."""

    code = "card_present_key_refused"
    message = "{reason}"


class LiveAccountElsewhere(RequestRefused):
    """Keys of real money must not meet another server."""

    code = "card_present_live_elsewhere"
    message = (
        "An account for real money works with CyberSource only, not with {api_base}. "
        "Leave the address empty."
    )


class LiveAccountInDemo(RequestRefused):
    """Keys of real money have no place in a demo or test installation."""

    code = "card_present_live_in_demo"
    message = (
        "This installation is for play money ({mode}). Use an account of the test environment."
    )


class SandboxAccountInLive(RequestRefused):
    """Play money must not look like real money."""

    code = "card_present_sandbox_in_live"
    message = (
        "This installation takes real money, so it takes no account at {api_base}. "
        "Leave the address empty."
    )


class AuthorizationsOpen(Conflict):
    """Money is reserved that only this account can take or release."""

    code = "card_present_open"
    retryable = True
    message = (
        "{count} card payments are not settled yet, so the account cannot be let go. "
        "Wait until they are."
    )


class NotOnAnEncryptingReader(NotFound):
    """A sale whose money was not taken by an encrypting reader through us."""

    code = "not_card_present"
    message = (
        "The transaction {id} was not taken on an encrypting reader, so it cannot be refunded here."
    )


class NotCapturedYet(Conflict):
    """The processor has not confirmed yet that it took the money."""

    code = "not_captured_yet"
    retryable = True
    message = "The processor has not confirmed this sale yet. Try again in a minute."


class CardRefundTooLarge(RequestRefused):
    """More than is left."""

    code = "card_refund_too_large"
    message = "Only {remaining} of this sale is left to give back. Enter that or less."

    def __init__(self, **facts: object) -> None:
        super().__init__(field="amount_minor", **facts)
