"""Why a payment cannot be started, stopped or taken back."""

from __future__ import annotations

from control_plane.errors import Conflict, RequestRefused


class NoteMissing(RequestRefused):
    """Somebody settles a payment without saying why."""

    code = "note_missing"
    message = "Write what you looked at, such as the number of the reader’s receipt; at least five characters."


class NotUnknown(Conflict):
    """Only a payment of which nobody knows how it ended can be settled by a person."""

    code = "session_not_unknown"
    message = "The payment {session_id} is {state}; the reader itself will say how it ends."


class ReaderBusy(Conflict):
    """Another session has the reader."""

    code = "reader_busy"
    retryable = True
    message = (
        "{reader} is busy with the payment {session_id}. "
        "Wait until it is done, cancel it, or pick another reader."
    )


class ReaderOffline(Conflict):
    """The reader's device was not heard of for too long, or the reader is unplugged."""

    code = "reader_offline"
    retryable = True
    message = "{reader} is offline. Check its power and its cable, or pick another reader."


class DeviceOffline(Conflict):
    """A device was not heard of for too long to be asked for something."""

    code = "device_offline"
    retryable = True
    message = "{device} is offline, so nobody can ask it now. Check its power and its network."


class DeviceMayNotWork(Conflict):
    """A device whose state lets it take no commands."""

    code = "device_may_not_work"
    message = (
        "{device} is {state} and takes no commands. Look at the device and choose another action."
    )


class ReaderNotReady(Conflict):
    """The reader is there and cannot take payments now."""

    code = "reader_not_ready"
    retryable = True
    message = (
        "{reader} is {state} and takes no payments now. Look at its page, or pick another reader."
    )


class ReaderSuspended(Conflict):
    """Its device may not work at present."""

    code = "reader_suspended"
    message = (
        "{reader} belongs to a device that is {state}. Pick another reader, or ask your IT manager."
    )


class ReaderCannot(Conflict):
    """Its model has no such thing."""

    code = "reader_cannot"
    message = (
        "{reader} is of a model that has no {capability}. "
        "Pick another reader, or give the money back another way."
    )


class AmountRefused(RequestRefused):
    """No reader can take this amount, or it looks like a slip of the finger."""

    code = "amount_refused"
    message = "{amount} cannot be taken in one payment. Enter an amount from {least} to {most}."

    def __init__(self, **facts: object) -> None:
        super().__init__(field="amount_minor", **facts)


class CurrencyRefused(RequestRefused):
    """Not a currency that readers here can take."""

    code = "currency_refused"
    message = "{currency} is not a currency that is taken here. Write three letters such as EUR."

    def __init__(self, **facts: object) -> None:
        super().__init__(field="currency", **facts)


class SessionDecided(Conflict):
    """It is over, so it cannot be stopped."""

    code = "session_decided"
    message = "The payment {session_id} is already {state}, so it cannot be cancelled."


class AnswerLost(Conflict):
    """The reader may have charged the card; nobody can stop that now."""

    code = "answer_lost"
    message = (
        "The answer of the reader was lost, so the payment {session_id} cannot be cancelled. "
        "It is settled by itself as soon as the reader tells what happened; do not charge again before."
    )


class NotReversible(Conflict):
    """Only an approved sale with a receipt number, on a reader that is still there, can be taken back."""

    code = "not_reversible"
    message = (
        "The payment {session_id} cannot be taken back on the reader: {reason}. Refund it instead."
    )
