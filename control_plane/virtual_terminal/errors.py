"""What keeps a payment from being taken, changed or given back."""

from __future__ import annotations

from control_plane.errors import Conflict, Forbidden, NotFound, RequestRefused, Unavailable


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


class FieldsRefused(RequestRefused):
    """A field of the merchant's own is missing or does not look right. ``problems``: by key."""

    code = "fields_refused"
    message = "{reason}"


class LocationNeeded(RequestRefused):
    """The caller works in several shops."""

    code = "location_needed"
    message = "Choose the shop in which the money is taken."

    def __init__(self, **facts: object) -> None:
        super().__init__(field="location_id", **facts)


class MethodIncomplete(RequestRefused):
    """What this way of paying needs was not sent."""

    code = "method_incomplete"
    message = "{method} needs {needed}. Send it along."


class FormReused(Conflict):
    """A form that was sent before came back with something else in it."""

    code = "form_reused"
    message = (
        "This form was sent before, for {amount} (payment {payment_id}). "
        "Begin a new payment for another amount."
    )


class PossibleDuplicate(Conflict):
    """The same money from the same card or for the same order, a moment ago. Nothing was charged."""

    code = "possible_duplicate"
    message = (
        "{amount} was taken {minutes} min ago {why} ({other}). "
        "Look at that payment first; confirm if this one is to be charged as well."
    )


class AttemptRunning(Conflict):
    """Somebody else is charging this payment."""

    code = "attempt_running"
    retryable = True
    message = "Another attempt at this payment is under way. Wait for its outcome."


class PaymentUnknown(Conflict):
    """The outcome of the last attempt is not known."""

    code = "payment_unknown"
    retryable = True
    message = (
        "It is not known yet whether {amount} was charged. Omnitill is asking Stripe; "
        "do not charge again before."
    )


class PaymentPaid(Conflict):
    """There is nothing left to charge."""

    code = "payment_paid"
    message = "{amount} is paid already. Begin a new payment to charge more."


class PaymentNotOpen(Conflict):
    """It cannot be tried in this state."""

    code = "payment_not_open"
    message = "The payment {payment_id} is {state}, so it cannot be charged again. Begin a new one."


class NotCapturable(Conflict):
    """There is no held money to take."""

    code = "not_capturable"
    message = "The payment {payment_id} is {state}: no money is held that could be captured."


class CaptureTooLarge(RequestRefused):
    """More than is held."""

    code = "capture_too_large"
    message = "{held} is held. Capture at most that, or raise the held amount first."

    def __init__(self, **facts: object) -> None:
        super().__init__(field="amount_minor", **facts)


class NotCancelable(Conflict):
    """Money moved already, or its way cannot be stopped."""

    code = "not_cancelable"
    message = "The payment {payment_id} is {state}, so it cannot be canceled. Refund it instead."


class NotIncrementable(Conflict):
    """The held amount cannot be raised."""

    code = "not_incrementable"
    message = (
        "The held amount of {payment_id} cannot be raised: {reason}. "
        "Take the rest as a payment of its own."
    )


class NoMicrodeposits(Conflict):
    """Nothing waits for the two small amounts."""

    code = "no_microdeposits"
    message = "The payment {payment_id} does not wait for the two small deposits."


class MicrodepositsRefused(RequestRefused):
    """They are not what arrived in the account."""

    code = "microdeposits_refused"
    message = (
        "These are not the deposits that arrived: {reason}. Ask the payer to look at the statement."
    )


class NoChecksToAccept(Conflict):
    """The payment does not wait for somebody to look at its checks."""

    code = "no_checks_to_accept"
    message = "The payment {payment_id} is {state} and waits for nobody to accept a check."


class ProcessorRefused(RequestRefused):
    """The processor did not take the request; nothing happened there."""

    code = "processor_refused"
    message = "Stripe did not take this: {reason} Nothing was changed."


class SavingDeclined(Conflict):
    """The bank does not let a card or an account be kept. ``decline_code``: for ``declines.explain``."""

    code = "saving_declined"
    message = "The bank does not let it be saved: {reason} Ask for another card, or take a payment."


class ProcessorNotReached(Unavailable):
    """No connection; surely nothing happened."""

    code = "processor_not_reached"
    message = "Stripe cannot be reached, and nothing was changed. Try again in a moment."


class AnswerLost(Unavailable):
    """What was asked may or may not have happened; it is read again by itself."""

    code = "processor_answer_lost"
    message = (
        "The answer of Stripe was lost. Omnitill finds out what happened and shows it here; "
        "do not do it again before."
    )


class LinkGone(NotFound):
    """A link that never was, or whose payment is over."""

    code = "link_gone"
    message = "This link does not lead to a payment. Ask the shop for a new one."


class NotRefundable(Conflict):
    """No captured money is left in it."""

    code = "not_refundable"
    message = "The payment {payment_id} is {state}: there is no money to give back."


class RefundTooLarge(RequestRefused):
    """More than is left of the payment."""

    code = "refund_too_large"
    message = "{remaining} of this payment can still be given back. Enter at most that."

    def __init__(self, **facts: object) -> None:
        super().__init__(field="amount_minor", **facts)


class LinesRefused(RequestRefused):
    """Lines that the order has not, or that were given back already."""

    code = "lines_refused"
    message = "Line {line} has {left} left to give back. Choose at most that."

    def __init__(self, **facts: object) -> None:
        super().__init__(field="lines", **facts)


class RefundDecided(Conflict):
    """Somebody approved or rejected it already."""

    code = "refund_decided"
    message = "The refund {refund_id} is already {state}."


class OwnRefund(Forbidden):
    """Who asked for a refund does not approve it."""

    code = "own_refund"
    message = "You asked for this refund yourself. Somebody else has to approve it."


class RefundAboveYours(Forbidden):
    """Above the approver's own limit."""

    code = "refund_above_yours"
    message = "You may give back up to {limit} at once. Ask somebody who may approve more."


class RefundOnReader(Conflict):
    """An Interac payment: its card must be presented again."""

    code = "refund_on_reader"
    message = "This card is refunded on the reader: choose a reader and let the customer present the card."


class RefundWithoutReader(RequestRefused):
    """The card need not be presented again."""

    code = "refund_without_reader"
    message = "This card is refunded without a reader. Leave the reader out."

    def __init__(self, **facts: object) -> None:
        super().__init__(field="reader_id", **facts)


class RefundAuthorizing(Conflict):
    """The card is with the bank."""

    code = "refund_authorizing"
    retryable = True
    message = (
        "The bank is being asked right now, which cannot be stopped. "
        "Wait for the outcome; it comes within seconds."
    )


class ReaderNotRegistered(RequestRefused):
    """The processor did not take the code of a reader."""

    code = "reader_not_registered"
    message = "Stripe does not take this code: {told} Read the code on the reader's screen again."

    def __init__(self, **facts: object) -> None:
        super().__init__(field="code", **facts)


class AddressNeeded(RequestRefused):
    """The processor does not know the shop yet."""

    code = "address_needed"
    message = "Stripe needs the address of {location} once, before the first reader there."

    def __init__(self, **facts: object) -> None:
        super().__init__(field="address", **facts)


class AddressRefused(RequestRefused):
    """The processor does not take the address of a shop."""

    code = "address_refused"
    message = "Stripe does not take this address: {told} Correct it and try again."

    def __init__(self, **facts: object) -> None:
        super().__init__(field="address", **facts)


class CloudReaderHeld(Conflict):
    """A sale runs on the reader."""

    code = "cloud_reader_held"
    retryable = True
    message = "Another payment is running on {reader}. Wait for it, or pick another reader."


class CloudReaderRefused(Conflict):
    """The reader cannot do it now. ``told`` is the processor's code."""

    code = "cloud_reader_refused"
    retryable = True
    message = "{reader} did not take it: {why}"


class CloudReaderDrivenElsewhere(Conflict):
    """Only an app beside it can drive this kind of reader."""

    code = "cloud_reader_driven_elsewhere"
    message = (
        "{reader} is a {model}: only an app on a phone or tablet beside it can start payments. "
        "Pick a smart reader."
    )


class PhoneCodeRefused(RequestRefused):
    """A code to pair a phone that does not count."""

    code = "phone_code_refused"
    message = "This code was used, withdrawn or is too old. Make a new one under Readers."
