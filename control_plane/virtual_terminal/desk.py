"""The desk: everything that people do with payments that a processor takes. A face of the modules below it.

Each method does its own short transactions and talks to the processor between them (see ``office``), so it is called
from a thread that may wait, never inside a transaction: ``await apart(desk.charge, caller, wish)``.
All may raise NotFound, Forbidden, and NotConnected; each module says what else.
"""

from __future__ import annotations

from control_plane.accounts.caller import Caller
from control_plane.clock import Clock
from control_plane.db.engine import Database
from control_plane.virtual_terminal import (
    capturing,
    charging,
    links,
    on_reader,
    reader_refunds,
    refunding,
    resolving,
)
from control_plane.virtual_terminal.office import Office
from control_plane.virtual_terminal.processor import Processors
from control_plane.virtual_terminal.views import LinkView, OpenedLink, PaymentView, RefundView
from control_plane.virtual_terminal.wishes import ChargeWish, LinkWish, ReaderWish, RefundWish


class Desk:
    """``parts.get(Desk)``."""

    def __init__(self, database: Database, processors: Processors, clock: Clock) -> None:
        self.office = Office(database, processors, clock)

    # --- taking money

    def charge(self, caller: Caller, wish: ChargeWish) -> PaymentView:
        """Charge a typed card, a saved method or a bank account: a new payment, or another attempt at one.

        A decline is no exception: it is the payment's ``attempt``, with its ``offers``; so is what could not be tried
        (``failed``, with its ``code``), and a lost answer (``unknown``). The same form again is the same payment.
        ``action`` is set when the payer must confirm (3-D Secure): call ``after_action`` when they have.
        Raises PossibleDuplicate, AttemptRunning, PaymentUnknown, PaymentPaid, PaymentNotOpen, FormReused,
        AmountRefused, FieldsRefused, LimitReached, MethodIncomplete, and what ``customers.methods.chargeable`` raises;
        then nothing was charged.
        """
        return charging.charge(self.office, caller, wish)

    def after_action(self, caller: Caller, payment_id: str) -> PaymentView:
        """The payer's browser has finished: read what came of it; ``action`` again when more is to be done."""
        return resolving.resolve(self.office, caller, payment_id)

    def accept_checks(self, caller: Caller, payment_id: str) -> PaymentView:
        """Take the held money although a check of the card failed. Raises NoChecksToAccept."""
        return capturing.accept_checks(self.office, caller, payment_id)

    def offer_link(self, caller: Caller, wish: LinkWish) -> LinkView:
        """A page of ours on which the payer pays. Raises what ``charge`` raises."""
        return links.offer(self.office, caller, wish)

    def link_of(self, caller: Caller, payment_id: str) -> LinkView | None:
        """The open link of a payment, to show or send it again."""
        return links.link_of(self.office, caller, payment_id)

    def start_on_reader(self, caller: Caller, wish: ReaderWish) -> PaymentView:
        """A sale on an agent-driven reader of ours. An intent that is there is cancelled first.

        Raises what ``charge`` and ``payments.sessions.start_session`` raise.
        """
        return on_reader.start(self.office, caller, wish)

    # --- what was authorised, and giving up

    def capture(
        self, caller: Caller, payment_id: str, *, amount_minor: int | None = None
    ) -> PaymentView:
        """Take held money, all of it or less; what is not taken is let go. Raises NotCapturable, CaptureTooLarge."""
        return capturing.capture(self.office, caller, payment_id, amount_minor=amount_minor)

    def increment(self, caller: Caller, payment_id: str, amount_minor: int) -> PaymentView:
        """Hold more: ``amount_minor`` is the new total. Raises NotIncrementable."""
        return capturing.increment(self.office, caller, payment_id, amount_minor)

    def cancel(self, caller: Caller, payment_id: str, *, reason: str = "") -> PaymentView:
        """Give the payment up. When it turns out to be paid, the answer says so. Raises NotCancelable."""
        return capturing.cancel(self.office, caller, payment_id, reason=reason)

    def give_up_attempt(self, caller: Caller, payment_id: str) -> PaymentView:
        """Give up the open link or 3-D Secure, and keep the payment open for another way."""
        return capturing.give_up_attempt(self.office, caller, payment_id)

    def verify_microdeposits(
        self,
        caller: Caller,
        payment_id: str,
        *,
        amounts: tuple[int, int] | None = None,
        code: str | None = None,
    ) -> PaymentView:
        """Check the two small deposits. Raises NoMicrodeposits, MicrodepositsRefused."""
        return capturing.verify_microdeposits(
            self.office, caller, payment_id, amounts=amounts, code=code
        )

    def resolve(self, caller: Caller, payment_id: str) -> PaymentView:
        """Ask the processor now how the payment stands."""
        return resolving.resolve(self.office, caller, payment_id)

    # --- giving back

    def refund(self, caller: Caller, wish: RefundWish) -> RefundView:
        """Give money back, or ask for it: above a limit it waits for approval (``state``).

        What the processor does not take is ``failed``, a lost answer ``unknown``. Raises NotRefundable, RefundTooLarge,
        LinesRefused, FormReused. Canada's debit cards go back on a reader, with the card: RefundOnReader when none is
        named, CloudReaderHeld, CloudReaderDrivenElsewhere; RefundWithoutReader for other cards.
        """
        return refunding.refund(self.office, caller, wish)

    def approve_refund(self, caller: Caller, refund_id: str) -> RefundView:
        """Let a waiting refund go. Raises RefundDecided, OwnRefund, RefundAboveYours, RefundTooLarge."""
        return refunding.approve(self.office, caller, refund_id)

    def reject_refund(self, caller: Caller, refund_id: str, *, note: str = "") -> RefundView:
        """Say no. Raises RefundDecided."""
        return refunding.reject(self.office, caller, refund_id, note=note)

    def cancel_refund(self, caller: Caller, refund_id: str) -> RefundView:
        """Take a refund off the reader that asks for its card; the answer says who was quicker.

        Raises RefundDecided when no reader has it, and ``refund_authorizing`` while the bank is being asked.
        """
        return reader_refunds.cancel(self.office, caller, refund_id)

    def resolve_refund(self, caller: Caller, refund_id: str) -> RefundView:
        """Ask the processor now how the refund stands."""
        return refunding.resolve(self.office, caller, refund_id)

    # --- the payer's own page: no caller, the token is the key

    def open_link(self, token: str) -> OpenedLink:
        """What the page shows. Raises LinkGone."""
        return links.open_link(self.office, token)

    def after_link(self, token: str) -> OpenedLink:
        """The payer has confirmed: read what came of it. Raises LinkGone."""
        return links.after_link(self.office, token)

    # --- by itself

    def settle_due(self, *, limit: int = 50) -> int:
        """Read again what waits for its truth; how many payments and refunds were looked at."""
        return resolving.settle_due(self.office, limit=limit) + refunding.settle_due(
            self.office, limit=limit
        )
