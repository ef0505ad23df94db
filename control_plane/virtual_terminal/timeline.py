"""The timeline of a payment: what happened, in the order in which we learned of it. Append-only."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from sqlalchemy import insert

from control_plane import live
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.virtual_terminal.models import MOMENTS

_APPEND: Final = insert(MOMENTS).inline()


class MomentKind(StrEnum):
    """What happened, with its sentence in both languages; ``{…}`` are filled with the moment's facts.

    The English sentence is the key of the translation. Amounts are facts as text, such as ``12.34 EUR``.
    """

    english: str
    french: str

    def __new__(cls, word: str, english: str, french: str) -> MomentKind:
        """A member is its word."""
        member = str.__new__(cls, word)
        member._value_ = word
        member.english = english
        member.french = french
        return member

    @classmethod
    def of(cls, word: str) -> MomentKind:
        """The kind that is stored so."""
        return next(kind for kind in cls if kind.value == word)

    CREATED = (
        "created",
        "Payment of {amount} begun.",
        "Paiement de {amount} commencé.",
    )
    IMPORTED = (
        "imported",
        "Taken from Stripe, where the payment was begun.",
        "Repris de Stripe, où le paiement a commencé.",
    )
    ATTEMPT_STARTED = (
        "attempt_started",
        "Attempt {number} begun.",
        "Tentative {number} commencée.",
    )
    DUPLICATE_CONFIRMED = (
        "duplicate_confirmed",
        "Charged although {other} looks the same; the cashier was asked.",
        "Débité bien que {other} semble identique ; la caisse a confirmé.",
    )
    DUPLICATE_FOUND = (
        "duplicate_found",
        "The same card paid the same amount in {other}. Look whether one is to be refunded.",
        "La même carte a payé le même montant dans {other}. Vérifiez s’il faut rembourser.",
    )
    REQUIRES_ACTION = (
        "requires_action",
        "The payer must confirm the payment.",
        "Le payeur doit confirmer le paiement.",
    )
    PROCESSING = (
        "processing",
        "The bank debit is on its way. That takes days.",
        "Le prélèvement est en cours. Cela prend plusieurs jours.",
    )
    AUTHORIZED = (
        "authorized",
        "{amount} held on the card.",
        "{amount} réservés sur la carte.",
    )
    CHECKS_ASKED = (
        "checks_asked",
        "The money is held: the bank says that {checks} is not the cardholder’s.",
        "Montant réservé : selon la banque, {checks} n’est pas celui du titulaire.",
    )
    CHECKS_ACCEPTED = (
        "checks_accepted",
        "The failed check was accepted.",
        "Le contrôle échoué a été accepté.",
    )
    CHECKS_BLOCKED = (
        "checks_blocked",
        "Not taken: the bank says that {checks} is not the cardholder’s.",
        "Non débité : selon la banque, {checks} n’est pas celui du titulaire.",
    )
    PAID = (
        "paid",
        "{amount} paid.",
        "{amount} payés.",
    )
    DECLINED = (
        "declined",
        "Declined: {code}.",
        "Refusé : {code}.",
    )
    FAILED = (
        "failed",
        "Not tried; no money moved.",
        "Non exécuté ; aucun montant débité.",
    )
    UNKNOWN = (
        "unknown",
        "The answer was lost. It is being found out; do not charge again.",
        "La réponse s’est perdue. Vérification en cours ; ne débitez pas à nouveau.",
    )
    FOUND_OUT = (
        "found_out",
        "Found out by asking Stripe again.",
        "Établi en interrogeant Stripe à nouveau.",
    )
    LATE_ANSWER = (
        "late_answer",
        "Money moved after all, after this attempt had been given up.",
        "Le montant a finalement été débité, après l’abandon de cette tentative.",
    )
    SECOND_CHARGE = (
        "second_charge",
        "{charge} charged {amount} once more. Refund one of the two.",
        "{charge} a débité {amount} une seconde fois. Remboursez l’un des deux.",
    )
    INCREMENTED = (
        "incremented",
        "The held amount was raised to {amount}.",
        "Le montant réservé a été porté à {amount}.",
    )
    CAPTURE_LAPSING = (
        "capture_lapsing",
        "The held money is lost at {until}. Capture it before.",
        "Le montant réservé expire le {until}. Capturez-le avant.",
    )
    CANCEL_ASKED = (
        "cancel_asked",
        "Asked to cancel.",
        "Annulation demandée.",
    )
    CANCELED = (
        "canceled",
        "Canceled; no money moved.",
        "Annulé ; aucun montant débité.",
    )
    ATTEMPT_CANCELED = (
        "attempt_canceled",
        "This attempt was given up; no money moved.",
        "Cette tentative a été abandonnée ; aucun montant débité.",
    )
    LINK_OFFERED = (
        "link_offered",
        "A link was made, good until {until}.",
        "Un lien a été créé, valable jusqu’au {until}.",
    )
    LINK_OPENED = (
        "link_opened",
        "The payer opened the link.",
        "Le payeur a ouvert le lien.",
    )
    LINK_EXPIRED = (
        "link_expired",
        "The link expired unpaid.",
        "Le lien a expiré sans paiement.",
    )
    READER_ASKED = (
        "reader_asked",
        "{reader} was asked.",
        "{reader} a été sollicité.",
    )
    MICRODEPOSITS = (
        "microdeposits",
        "The two small deposits were checked.",
        "Les deux micro-dépôts ont été vérifiés.",
    )
    SETTLED = (
        "settled",
        "Fee {fee}; {amount} reaches the account.",
        "Frais {fee} ; {amount} crédités sur le compte.",
    )
    REFUND_ASKED = (
        "refund_asked",
        "A refund of {amount} waits for approval.",
        "Un remboursement de {amount} attend une approbation.",
    )
    REFUND_APPROVED = (
        "refund_approved",
        "The refund of {amount} was approved.",
        "Le remboursement de {amount} a été approuvé.",
    )
    REFUND_REJECTED = (
        "refund_rejected",
        "The refund of {amount} was rejected.",
        "Le remboursement de {amount} a été rejeté.",
    )
    REFUND_BEGUN = (
        "refund_begun",
        "A refund of {amount} was begun.",
        "Un remboursement de {amount} a été lancé.",
    )
    REFUND_AT_READER = (
        "refund_at_reader",
        "{reader} asks for the card, to refund {amount}.",
        "{reader} demande la carte pour rembourser {amount}.",
    )
    REFUND_PENDING = (
        "refund_pending",
        "The refund of {amount} is on its way.",
        "Le remboursement de {amount} est en cours.",
    )
    REFUND_SUCCEEDED = (
        "refund_succeeded",
        "{amount} refunded.",
        "{amount} remboursés.",
    )
    REFUND_FAILED = (
        "refund_failed",
        "The refund of {amount} did not arrive: {reason}. Give the money back another way.",
        "Le remboursement de {amount} n’est pas arrivé : {reason}. Rendez l’argent autrement.",
    )
    REFUND_CANCELED = (
        "refund_canceled",
        "The refund of {amount} was canceled.",
        "Le remboursement de {amount} a été annulé.",
    )
    REFUND_UNKNOWN = (
        "refund_unknown",
        "The answer to the refund of {amount} was lost. It is being found out.",
        "La réponse au remboursement de {amount} s’est perdue. Vérification en cours.",
    )
    DISPUTE_OPENED = (
        "dispute_opened",
        "The cardholder’s bank disputes {amount}: {reason}.",
        "La banque du titulaire conteste {amount} : {reason}.",
    )
    DISPUTE_CHANGED = (
        "dispute_changed",
        "The dispute over {amount} is now {status}.",
        "La contestation de {amount} est maintenant {status}.",
    )
    FRAUD_WARNING = (
        "fraud_warning",
        "The card’s issuer suspects fraud ({reason}). A refund now may spare a dispute.",
        "L’émetteur de la carte soupçonne une fraude ({reason}). Rembourser évite peut-être une contestation.",
    )
    RECEIPT_SENT = (
        "receipt_sent",
        "Receipt sent to {to}.",
        "Reçu envoyé à {to}.",
    )


def payment_topic(payment_id: str) -> str:
    """The live topic of one payment: a message for each moment."""
    return f"payment:{payment_id}"


def payments_topic(merchant_id: str) -> str:
    """The live topic of all payments of a merchant; the newest message of each payment counts."""
    return f"merchant:{merchant_id}:payments"


def add(
    db: Transaction,
    merchant_id: str,
    payment_id: str,
    kind: MomentKind,
    *,
    attempt_id: str | None = None,
    text: str = "",
    facts: Mapping[str, str] | None = None,
    actor_name: str = "",
) -> None:
    """Append a moment, and tell who watches."""
    db.execute(
        _APPEND,
        {
            "merchant_id": merchant_id,
            "payment_id": payment_id,
            "attempt_id": attempt_id,
            "at": context_of(db).clock.now(),
            "kind": kind.value,
            "text": text[:2000],
            "facts": dict(facts or {}),
            "actor_name": actor_name,
        },
    )
    live.publish(db, payment_topic(payment_id), {"kind": kind.value})
    live.publish(
        db,
        payments_topic(merchant_id),
        {"payment_id": payment_id, "kind": kind.value},
        key=payment_id,
    )
