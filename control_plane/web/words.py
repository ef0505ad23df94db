"""The words, icon and tone of everything that has a state, and what a cashier is told to do about it.

A state is always shown with all three. Texts are English and the keys of the catalogues; templates translate them.
Tones: good, warn, bad, wait (something is under way), off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from control_plane.web.i18n import N_
from protocols.session import SessionState


@dataclass(frozen=True, slots=True)
class Word:
    """How a state is shown."""

    text: str
    icon: str
    tone: str


@dataclass(frozen=True, slots=True)
class Call:
    """What to do now, and why."""

    text: str
    more: str = ""


_S = SessionState

SESSION: Final[dict[str, Word]] = {
    _S.CREATED: Word(N_("Calling the reader"), "send", "wait"),
    _S.CLAIMED: Word(N_("Calling the reader"), "send", "wait"),
    _S.SENT: Word(N_("On the reader"), "reader", "wait"),
    _S.WAITING_FOR_CARD: Word(N_("Waiting for the card"), "tap", "wait"),
    _S.CARD_SEEN: Word(N_("Card seen"), "card", "wait"),
    _S.AUTHORIZING: Word(N_("Asking the bank"), "bank", "wait"),
    _S.CANCELLING: Word(N_("Cancelling"), "stop", "warn"),
    _S.UNKNOWN: Word(N_("Not known yet"), "question", "warn"),
    _S.APPROVED: Word(N_("Approved"), "check", "good"),
    _S.DECLINED: Word(N_("Declined"), "cross", "bad"),
    _S.CANCELLED: Word(N_("Cancelled"), "stop", "off"),
    _S.EXPIRED: Word(N_("Never started"), "clock", "off"),
    _S.FAILED: Word(N_("Not taken"), "alert", "bad"),
    "pending": Word(N_("Pending"), "clock", "wait"),
}

#: The bar over a running session: what each stop is called, and the states in which it is the present one.
STEPS: Final[tuple[tuple[str, frozenset[str]], ...]] = (
    (N_("Sent"), frozenset({_S.CREATED, _S.CLAIMED, _S.SENT})),
    (N_("Card"), frozenset({_S.WAITING_FOR_CARD, _S.CARD_SEEN})),
    (N_("Bank"), frozenset({_S.AUTHORIZING, _S.CANCELLING, _S.UNKNOWN})),
    (N_("Result"), frozenset({_S.APPROVED, _S.DECLINED, _S.CANCELLED, _S.EXPIRED, _S.FAILED})),
)

_CALLS: Final[dict[str, Call]] = {
    _S.CREATED: Call(
        N_("Calling the reader…"),
        N_("The sale is on its way to the shop. If it does not get there in time, it never runs."),
    ),
    _S.CLAIMED: Call(
        N_("The reader is getting ready."), N_("The shop has the sale. The card comes next.")
    ),
    _S.SENT: Call(N_("The reader has the amount."), N_("Turn the reader to the customer.")),
    _S.WAITING_FOR_CARD: Call(
        N_("Ask the customer to tap, insert or swipe the card."),
        N_("A phone or a watch works too."),
    ),
    _S.CARD_SEEN: Call(N_("The card is being read."), N_("It stays where it is for a moment.")),
    _S.AUTHORIZING: Call(N_("The bank is being asked."), N_("This takes a few seconds.")),
    _S.CANCELLING: Call(
        N_("Cancelling…"),
        N_(
            "The reader was already at work. It decides whether the card was charged before it stopped."
        ),
    ),
    _S.UNKNOWN: Call(
        N_("We are asking the reader. Do not charge again."),
        N_(
            "The answer got lost on its way, so the card may have been charged. "
            "Omnitill asks the reader for its own record until it is certain."
        ),
    ),
}

_STEP_CALLS: Final[dict[str, Call]] = {
    "enter_pin": Call(
        N_("The customer is typing the PIN."), N_("Look away, and give the customer time.")
    ),
    "remove_card": Call(N_("Ask the customer to take the card."), ""),
    "busy": Call(N_("The reader is busy."), N_("It goes on by itself as soon as it is free.")),
    "reversing": Call(
        N_("The reader is taking the payment back."), N_("Wait until it has finished.")
    ),
    "recalling": _CALLS[_S.UNKNOWN],
}

#: How far a live step may refine the state it belongs to.
_STEP_STATES: Final[dict[str, frozenset[str]]] = {
    "enter_pin": frozenset({_S.WAITING_FOR_CARD, _S.CARD_SEEN, _S.AUTHORIZING}),
    "remove_card": frozenset({_S.WAITING_FOR_CARD, _S.CARD_SEEN, _S.AUTHORIZING, _S.CANCELLING}),
    "busy": frozenset({_S.CLAIMED, _S.SENT}),
    "reversing": frozenset({_S.AUTHORIZING, _S.CANCELLING, _S.UNKNOWN}),
    "recalling": frozenset({_S.UNKNOWN}),
}


def call_for(state: str, step: str = "") -> Call:
    """What the cashier and the customer do now, in an open session."""
    if state in _STEP_STATES.get(step, ()):
        return _STEP_CALLS[step]
    return _CALLS[state]


def step_marks(state: str) -> list[tuple[str, str]]:
    """The step bar: (name, `done`, `now` or `todo`)."""
    at = next(number for number, (_, states) in enumerate(STEPS) if state in states)
    marks = ["done"] * at + ["now"] + ["todo"] * (len(STEPS) - at - 1)
    return [(name, mark) for (name, _), mark in zip(STEPS, marks, strict=True)]


REACH: Final[dict[str, Word]] = {
    "online": Word(N_("Online"), "online", "good"),
    "degraded": Word(N_("Weak"), "weak", "warn"),
    "offline": Word(N_("Offline"), "offline", "bad"),
    "never_seen": Word(N_("Never seen"), "clock", "off"),
}
SYNC: Final[dict[str, Word]] = {
    "in_sync": Word(N_("In sync"), "check", "good"),
    "pending": Word(N_("Waiting to sync"), "clock", "wait"),
    "applying": Word(N_("Syncing"), "sync", "wait"),
    "failed": Word(N_("Sync failed"), "alert", "bad"),
    "none": Word(N_("Nothing to sync"), "check", "off"),
}
HEALTH: Final[dict[str, Word]] = {
    "ready": Word(N_("Ready"), "check", "good"),
    "busy": Word(N_("Taking a payment"), "tap", "wait"),
    "starting": Word(N_("Starting"), "sync", "wait"),
    "disconnected": Word(N_("Unplugged"), "offline", "bad"),
    "locked": Word(N_("Locked"), "lock", "bad"),
    "failing": Word(N_("Not working"), "alert", "bad"),
    "unidentified": Word(N_("Not recognised"), "question", "warn"),
    "unknown": Word(N_("Not heard of"), "question", "off"),
}
HEALTH_NEXT: Final[dict[str, str]] = {
    "ready": N_("It takes payments."),
    "busy": N_("A payment is running on it."),
    "starting": N_("The box is connecting to it. This takes a few seconds."),
    "disconnected": N_("The box cannot reach it. Check its power and its cable."),
    "locked": N_("Somebody locked it. Unlock it on the reader itself."),
    "failing": N_("It answers, but cannot take payments. Switch it off and on again."),
    "unidentified": N_(
        "The box sees something that it has no profile for. Check the box's settings."
    ),
    "unknown": N_("Its box has not told about it since it was last online."),
}

METHODS: Final[dict[str, str]] = {
    "card": N_("Card"),
    "bank_debit_ach": N_("Bank debit (ACH)"),
    "sepa_debit": N_("Bank debit (SEPA)"),
    "link": N_("Payment link"),
    "cash": N_("Cash"),
    "other": N_("Other"),
}
CHANNELS: Final[dict[str, str]] = {
    "in_person": N_("In person"),
    "offline": N_("In person, offline"),
    "keyed": N_("Keyed"),
    "link": N_("Payment link"),
    "invoice": N_("Invoice"),
    "recurring": N_("Recurring"),
    "online": N_("Online"),
}
KINDS: Final[dict[str, str]] = {
    "sale": N_("Sale"),
    "refund": N_("Refund"),
    "reversal": N_("Reversal"),
    "dispute": N_("Dispute"),
    "fee": N_("Fee"),
    "adjustment": N_("Adjustment"),
}
ROLES: Final[dict[str, str]] = {
    "cashier": N_("Cashier"),
    "manager": N_("Manager"),
    "it": N_("IT"),
    "accountant": N_("Accountant"),
    "owner": N_("Owner"),
}
ENTRY_MODES: Final[dict[str, str]] = {
    "contactless": N_("Tapped"),
    "chip": N_("Inserted"),
    "magstripe": N_("Swiped"),
    "manual": N_("Typed"),
}
WORLDS: Final[dict[str, tuple[str, str]]] = {
    "demo": (N_("Demo"), N_("Simulated readers. No real money moves.")),
    "test": (N_("Test"), N_("Test terminals. No real money moves.")),
    "live": (N_("Live"), N_("Real money.")),
}

EVIDENCE: Final[dict[str, str]] = {
    "answer": N_("The reader answered by itself."),
    "recall": N_("The answer was lost; the reader repeated its last receipt."),
    "totals": N_("The answer was lost; the reader's totals showed what had happened."),
    "reader_status": N_("The answer was lost; the reader's status showed what had happened."),
    "not_begun": N_("The reader never began, so no card can have been charged."),
    "person": N_("Somebody looked at the reader's receipts and said so."),
    "server": N_("No box had taken the sale yet, so it can never run."),
}

_TRY_ANOTHER: Final = N_("Ask for another card or another way to pay.")
_AGAIN: Final = N_("Try once more with the same card.")
_CHIP: Final = N_("Wipe the card and insert it again, or ask for another one.")

#: Why a card was declined, by the result byte of the terminal (ZVT, tag 27): 1 to 99 (0x01 to 0x63) is the answer of
#: the authorisation system, from 100 on the terminal's own.
DECLINES: Final[dict[int, Call]] = {
    1: Call(N_("The bank wants to be called first."), _TRY_ANOTHER),
    2: Call(N_("The bank wants to be called first."), _TRY_ANOTHER),
    3: Call(
        N_("The bank does not know this shop."),
        N_("No card will work on this reader. Call your payment provider."),
    ),
    4: Call(N_("The bank asks to keep this card."), _TRY_ANOTHER),
    5: Call(N_("The bank said no and gives no reason."), _TRY_ANOTHER),
    12: Call(N_("This card cannot make this kind of payment."), _TRY_ANOTHER),
    13: Call(
        N_("The bank does not accept this amount."), N_("Check the amount, or split the sale.")
    ),
    14: Call(N_("The bank does not know this card."), _TRY_ANOTHER),
    30: Call(N_("The bank did not understand the reader."), _AGAIN),
    33: Call(N_("The card has expired."), _TRY_ANOTHER),
    34: Call(N_("The bank has stopped this card."), _TRY_ANOTHER),
    41: Call(N_("The card is reported as lost."), _TRY_ANOTHER),
    43: Call(N_("The card is reported as stolen."), _TRY_ANOTHER),
    51: Call(N_("There is not enough money on the account."), _TRY_ANOTHER),
    54: Call(N_("The card has expired."), _TRY_ANOTHER),
    55: Call(N_("The PIN was wrong."), N_("Start again; the customer has another try.")),
    56: Call(N_("The bank does not know this card."), _TRY_ANOTHER),
    57: Call(N_("This card cannot make this kind of payment."), _TRY_ANOTHER),
    58: Call(
        N_("This reader may not make this kind of payment."), N_("Call your payment provider.")
    ),
    61: Call(N_("The amount is above the limit of the card."), _TRY_ANOTHER),
    62: Call(N_("The card is limited by its bank."), _TRY_ANOTHER),
    65: Call(
        N_("The card has been tapped too often."),
        N_("Start again and insert the card, so that the PIN can be typed."),
    ),
    75: Call(N_("The PIN was wrong too many times."), _TRY_ANOTHER),
    91: Call(
        N_("The customer's bank does not answer."), N_("Wait a minute, or ask for another card.")
    ),
    100: Call(N_("The card could not be read."), _CHIP),
    101: Call(N_("The card could not be read."), _CHIP),
    103: Call(N_("This reader does not take this debit card."), _TRY_ANOTHER),
    104: Call(N_("This reader does not take this credit card."), _TRY_ANOTHER),
    110: Call(N_("The card is on the list of stopped cards."), _TRY_ANOTHER),
    113: Call(N_("There is not enough money on the card."), _TRY_ANOTHER),
    114: Call(N_("The chip of the card does not answer."), _CHIP),
    115: Call(N_("The card could not be read."), _CHIP),
    120: Call(N_("The card has expired."), _TRY_ANOTHER),
    121: Call(N_("The card is not valid yet."), _TRY_ANOTHER),
    122: Call(N_("The reader does not know this card."), _TRY_ANOTHER),
    125: Call(
        N_("The reader could not reach the bank."),
        N_("Check the reader's own network, then try again."),
    ),
    155: Call(
        N_("The reader could not reach the bank."),
        N_("Check the reader's own network, then try again."),
    ),
    195: Call(N_("The amount is above what the reader takes."), N_("Split the sale.")),
    197: Call(N_("This reader does not take this kind of payment."), _TRY_ANOTHER),
    200: Call(N_("The amount is below what the reader takes."), N_("Check the amount.")),
    210: Call(N_("This reader does not take this card."), _TRY_ANOTHER),
}
_DECLINED: Final = Call(N_("The card was declined."), _TRY_ANOTHER)
_FAILED: Final = Call(
    N_("The reader could not take the payment."),
    N_("No money moved. Try again, or pick another reader."),
)


def reason_for(state: str, result_code: int | None) -> Call:
    """Why a session ended without money, and what to do next."""
    match state:
        case SessionState.CANCELLED:
            return Call(N_("The sale was cancelled. No money moved."))
        case SessionState.EXPIRED:
            return Call(
                N_("The reader did not take the sale in time. It never started."),
                N_("Check that the reader is switched on and online, or pick another one."),
            )
        case SessionState.DECLINED:
            return DECLINES.get(result_code or 0, _DECLINED)
        case _:
            return DECLINES.get(result_code or 0, _FAILED)


def word(table: dict[str, Word], key: str) -> Word:
    """A state that this version does not know is shown as it is, never guessed."""
    return table.get(key) or Word(key, "question", "off")


#: Pages for what went wrong: title, and a text when it says more than the error itself.
PROBLEMS: Final[dict[int, tuple[str, str]]] = {
    403: (N_("You may not do this"), ""),
    404: (
        N_("There is no such page"),
        N_("The address may be old, or what was there belongs to somebody else."),
    ),
    405: (N_("There is no such page"), ""),
    409: (N_("This is not possible now"), ""),
    413: (N_("That is too much at once"), ""),
    422: (N_("Something is missing"), ""),
    429: (N_("Slow down a little"), ""),
    500: (
        N_("Something broke on our side"),
        N_(
            "It is written down. No payment was started by this page; look at Recent sales before you charge again."
        ),
    ),
    503: (N_("Omnitill is not ready"), ""),
}

#: Facts of errors that are words of ours, as they stand in the English sentence.
FACTS: Final[dict[str, str]] = {
    text: text
    for text in (
        N_("manufactured"),
        N_("claimed"),
        N_("enrolled"),
        N_("active"),
        N_("suspended"),
        N_("replaced"),
        N_("revoked"),
        N_("retired"),
        N_("starting"),
        N_("locked"),
        N_("failing"),
        N_("unidentified"),
        N_("approved"),
        N_("declined"),
        N_("cancelled"),
        N_("expired"),
        N_("failed"),
        N_("The database"),
        N_("page"),
        N_("reader"),
        N_("device"),
        N_("transaction"),
        N_("customer"),
        N_("saved method"),
        N_("payment session"),
        N_("enrolment code"),
        N_("it is offline. Check its power and network, or pick another reader."),
        N_(
            "it is busy: with another payment, an update, its settings, or a card was left in it. "
            "Look at its screen, then try again."
        ),
        N_("its hardware reports a fault. Restart it, or pick another reader."),
        N_("it did not answer in time. It is being asked again."),
        N_("it is registered for a place where this payment cannot be taken. Pick another reader."),
        N_("payments are not possible in the country of its place. Pick another reader."),
        N_("another program drives it directly. Close that program, or pick another reader."),
    )
}

#: Lines of a session's timeline.
SESSION_STEPS: Final[dict[str, Word]] = {
    "created": Word(N_("Sale started"), "till", "wait"),
    "claimed": Word(N_("The box took the sale"), "box", "wait"),
    "accepted": Word(N_("The box is preparing the reader"), "box", "wait"),
    "sent": Word(N_("The reader has the amount"), "reader", "wait"),
    "waiting_for_card": Word(N_("Waiting for the card"), "tap", "wait"),
    "card_seen": Word(N_("Card seen"), "card", "wait"),
    "enter_pin": Word(N_("PIN is being typed"), "pin", "wait"),
    "authorizing": Word(N_("Asking the bank"), "bank", "wait"),
    "remove_card": Word(N_("Card to be taken out"), "card", "wait"),
    "reversing": Word(N_("The reader takes the payment back"), "undo", "warn"),
    "busy": Word(N_("The reader was busy"), "clock", "warn"),
    "cancel_asked": Word(N_("Cancelling asked"), "stop", "warn"),
    "cancelling": Word(N_("The reader is stopping"), "stop", "warn"),
    "unknown": Word(N_("The answer was lost"), "question", "warn"),
    "recalling": Word(N_("The box asks the reader what happened"), "question", "warn"),
    "silent": Word(N_("The box has gone silent"), "offline", "warn"),
    "not_begun": Word(N_("The reader was never asked"), "info", "off"),
    "approved": Word(N_("Approved"), "check", "good"),
    "declined": Word(N_("Declined"), "cross", "bad"),
    "cancelled": Word(N_("Cancelled"), "stop", "off"),
    "expired": Word(N_("Never started"), "clock", "off"),
    "failed": Word(N_("Not taken"), "alert", "bad"),
    "late_result": Word(N_("A result came too late and waits to be looked at"), "alert", "bad"),
}

#: What happened to a box or a reader; kinds that are not here are shown as they are.
DEVICE_EVENTS: Final[dict[str, Word]] = {
    "device.enrolled": Word(N_("Set up with a code"), "key", "good"),
    "device.active": Word(N_("First heard of"), "online", "good"),
    "device.online": Word(N_("Online"), "online", "good"),
    "device.cloned": Word(N_("Two boxes use its identity"), "alert", "bad"),
    "device.offline": Word(N_("Offline"), "offline", "bad"),
    "device.changed": Word(N_("Changed"), "info", "off"),
    "device.replaces": Word(N_("Took the place of another box"), "sync", "wait"),
    "device.replaced": Word(N_("Another box took its place"), "sync", "off"),
    "device.suspended": Word(N_("Suspended"), "stop", "warn"),
    "device.revoked": Word(N_("Revoked"), "lock", "bad"),
    "device.retired": Word(N_("Retired"), "stop", "off"),
    "device.certificate_renewed": Word(N_("Certificate renewed"), "key", "good"),
    "reader.seen": Word(N_("Found by its box"), "reader", "good"),
    "reader.id_taken": Word(N_("A reader came under an id that is taken"), "alert", "bad"),
    "reader.gone": Word(N_("No longer listed by its box"), "offline", "warn"),
    "reader.connected": Word(N_("Connected and ready"), "reader", "good"),
    "reader.disconnected": Word(N_("Connection lost"), "offline", "warn"),
    "reader.crashed": Word(N_("Its driver failed and was started again"), "alert", "bad"),
    "reader.battery": Word(N_("Battery low"), "alert", "warn"),
    "reader.battery_low": Word(N_("Battery low"), "alert", "warn"),
    "reader.battery_over": Word(N_("Battery well again"), "check", "good"),
    "reader.hot": Word(N_("Too warm"), "alert", "warn"),
    "reader.hot_over": Word(N_("Cool again"), "check", "good"),
    "reader.unstable": Word(N_("Lost too often"), "offline", "warn"),
    "reader.unstable_over": Word(N_("Stays connected again"), "check", "good"),
    "reader.silent": Word(N_("Does not answer"), "question", "warn"),
    "reader.silent_over": Word(N_("Answers again"), "check", "good"),
    "reader.stuck_busy": Word(N_("Busy for too long"), "clock", "warn"),
    "reader.stuck_busy_over": Word(N_("No longer stuck"), "check", "good"),
    "reader.clock_drift": Word(N_("Its clock is wrong"), "clock", "warn"),
    "reader.clock_drift_over": Word(N_("Its clock is right again"), "check", "good"),
    "reader.errors": Word(N_("Many errors"), "alert", "warn"),
    "reader.errors_over": Word(N_("Few errors again"), "check", "good"),
    "reader.declines": Word(N_("Many declined payments"), "alert", "warn"),
    "reader.declines_over": Word(N_("As many declined payments as usual"), "check", "good"),
    "reader.tamper": Word(N_("Tampered with"), "lock", "bad"),
    "reader.clear_card_data": Word(N_("Sent card data without encryption"), "lock", "bad"),
    "reader.ksn_repeated": Word(N_("Used a key number twice"), "key", "bad"),
    "reader.ksn_remaining": Word(N_("Its key is nearly used up"), "key", "warn"),
    "reader.ksn_unreadable": Word(N_("Its key number cannot be read"), "key", "warn"),
    "reader.restarted": Word(N_("Restarted"), "sync", "off"),
    "reader.restart_soon": Word(N_("Will restart soon"), "sync", "off"),
    "reader.firmware_installed": Word(N_("New software installed"), "check", "good"),
    "reader.firmware_failed": Word(N_("New software could not be installed"), "alert", "bad"),
    "reader.firmware_current": Word(N_("Had this software already"), "info", "off"),
    "reader.stuck_in_bootloader": Word(N_("Stuck in its boot loader"), "alert", "bad"),
    "reader.totals": Word(N_("Told its totals"), "info", "off"),
    "payment.not_authorized": Word(
        N_("A sale was reported without the bank’s approval"), "alert", "bad"
    ),
    "payment.not_cleared": Word(N_("The processor has not confirmed a sale"), "alert", "bad"),
}
#: What a reader was asked to do, by kind of command and how that stands.
ORDERS: Final[dict[str, dict[str, Word]]] = {
    "reader.diagnose": {
        "issued": Word(N_("Testing the line"), "bank", "wait"),
        "succeeded": Word(N_("Tested the line: it works"), "check", "good"),
        "failed": Word(N_("Tested the line: it does not work"), "alert", "bad"),
        "refused": Word(N_("The line was not tested"), "info", "warn"),
        "rejected": Word(N_("The line was not tested"), "info", "warn"),
        "expired": Word(N_("The line was not tested: the box did not answer"), "clock", "warn"),
    },
    "reader.reboot": {
        "issued": Word(N_("Restarting"), "undo", "wait"),
        "succeeded": Word(N_("Restarted"), "check", "good"),
        "failed": Word(N_("The restart did not work"), "alert", "bad"),
        "refused": Word(N_("Not restarted"), "info", "warn"),
        "rejected": Word(N_("Not restarted"), "info", "warn"),
        "expired": Word(N_("Not restarted: the box did not answer"), "clock", "warn"),
    },
}
#: What can be wrong with a box or a reader for so long that somebody is told.
ALERTS: Final[dict[str, Word]] = {
    "device.offline": Word(N_("Box offline"), "offline", "bad"),
    "device.certificate": Word(N_("Its certificate ends soon"), "key", "warn"),
    "device.disk_full": Word(N_("Its disk is nearly full"), "alert", "warn"),
    "device.config_rejected": Word(N_("It refused its settings"), "alert", "warn"),
    "reader.disconnected": Word(N_("Reader disconnected"), "offline", "bad"),
    "reader.failing": Word(N_("Reader does not work"), "alert", "bad"),
    "reader.locked": Word(N_("Reader locked"), "lock", "bad"),
    "reader.unidentified": Word(N_("Nobody knows this reader"), "question", "warn"),
}
#: What a box itself can be asked.
BOX_ORDERS: Final[dict[str, str]] = {
    "agent.self_test": N_("Test"),
    "agent.log_tail": N_("Log"),
    "agent.log_bundle": N_("Bundle"),
    "agent.report": N_("Report"),
    "agent.renew_certificate": N_("New certificate"),
    "agent.restart": N_("Restart of the agent"),
}
COMMAND_STATES: Final[dict[str, Word]] = {
    "issued": Word(N_("On its way"), "clock", "wait"),
    "succeeded": Word(N_("Done"), "check", "good"),
    "failed": Word(N_("Failed"), "alert", "bad"),
    "refused": Word(N_("Not done"), "info", "warn"),
    "rejected": Word(N_("Not understood by the box"), "info", "warn"),
    "expired": Word(N_("Not done: no answer in time"), "clock", "warn"),
    "cancelled": Word(N_("Withdrawn"), "info", "off"),
}
#: How a thing is that a self-test looked at.
CHECKS: Final[dict[str, Word]] = {
    "good": Word(N_("Good"), "check", "good"),
    "warning": Word(N_("Look at it"), "alert", "warn"),
    "bad": Word(N_("Bad"), "cross", "bad"),
    "skipped": Word(N_("Not tested"), "info", "off"),
}
DEVICE_STATES: Final[dict[str, Word]] = {
    "enrolled": Word(N_("Set up, not heard of yet"), "clock", "wait"),
    "active": Word(N_("In service"), "check", "good"),
    "suspended": Word(N_("Suspended"), "stop", "warn"),
    "replaced": Word(N_("Replaced"), "sync", "off"),
    "revoked": Word(N_("Revoked"), "lock", "bad"),
    "retired": Word(N_("Retired"), "stop", "off"),
}

MEMBERS: Final[dict[str, Word]] = {
    "active": Word(N_("Can sign in"), "check", "good"),
    "invited": Word(N_("Invited"), "clock", "wait"),
    "off": Word(N_("Switched off"), "stop", "off"),
}
KEYS: Final[dict[str, Word]] = {
    "active": Word(N_("Works"), "check", "good"),
    "expired": Word(N_("Expired"), "clock", "off"),
    "revoked": Word(N_("Revoked"), "lock", "bad"),
}

#: What a customer lets us keep.
SAVED_METHODS: Final[dict[str, Word]] = {
    "active": Word(N_("Works"), "check", "good"),
    "expires_soon": Word(N_("Expires soon"), "clock", "warn"),
    "expired": Word(N_("Expired"), "clock", "bad"),
    "pending": Word(N_("Being confirmed"), "clock", "wait"),
    "failed": Word(N_("Refused by the bank"), "cross", "bad"),
    "removed": Word(N_("Removed"), "stop", "off"),
}
CUSTOMER_ARCHIVED: Final = Word(N_("Archived"), "box", "off")
FUNDING: Final[dict[str, str]] = {
    "credit": N_("Credit card"),
    "debit": N_("Debit card"),
    "prepaid": N_("Prepaid card"),
    "checking": N_("Current account"),
    "savings": N_("Savings account"),
}
CONSENTS: Final[dict[str, str]] = {
    "in_person": N_("Agreed in person"),
    "phone": N_("Agreed by telephone"),
    "online": N_("Agreed online"),
    "paper": N_("Agreed on paper"),
}
MANDATES: Final[dict[str, str]] = {
    "pending": N_("not yet in force"),
    "active": N_("in force"),
    "inactive": N_("withdrawn"),
}

RECEIPT_FIELDS: Final[dict[str, str]] = {
    "logo": N_("Logo"),
    "items": N_("Items"),
    "taxes": N_("Taxes"),
    "reference": N_("Order number"),
    "fields": N_("Your own fields"),
    "customer": N_("Customer"),
    "cashier": N_("Cashier"),
    "card": N_("How the card was read and checked"),
    "emv": N_("Chip details, terminal and what the reader printed"),
    "settled": N_("Amount in your own currency"),
}
#: An event of the processor.
PROCESSOR_EVENTS: Final[dict[str, Word]] = {
    "waiting": Word(N_("Waiting"), "clock", "wait"),
    "done": Word(N_("Worked on"), "check", "good"),
    "parked": Word(N_("Not worked on"), "alert", "bad"),
}
#: A phone that takes cards.
PHONES: Final[dict[str, Word]] = {
    "waiting": Word(N_("Waiting for its code"), "clock", "wait"),
    "paired": Word(N_("Paired"), "check", "good"),
    "expired": Word(N_("Expired"), "clock", "off"),
    "revoked": Word(N_("Revoked"), "lock", "bad"),
}
