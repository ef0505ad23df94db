"""Words of receipts in the languages of customers, who are not those of whoever is signed in."""

from __future__ import annotations

from typing import Final

#: The first is used where a language is unknown.
LANGUAGES: Final = ("en", "fr")

_FRENCH: Final[dict[str, str]] = {
    "Receipt": "Reçu",
    "Refund": "Remboursement",
    "Payment taken back": "Paiement annulé",
    "Dispute": "Litige",
    "Fee": "Frais",
    "Adjustment": "Ajustement",
    "Nothing was charged": "Rien n’a été débité",
    "Amount held, not yet charged": "Montant réservé, pas encore débité",
    "Bank debit on its way, not yet paid": "Prélèvement en cours, pas encore payé",
    "Total": "Total",
    "Before tax": "Hors taxes",
    "Tip": "Pourboire",
    "of which given back": "dont remboursé",
    "Belongs to": "Concerne",
    "sale of %s, %s": "vente du %s, %s",
    "Paid with": "Payé avec",
    "Paid back to": "Remboursé sur",
    "Card": "Carte",
    "Bank debit (ACH)": "Prélèvement (ACH)",
    "Bank debit (SEPA)": "Prélèvement SEPA",
    "Payment link": "Lien de paiement",
    "Cash": "Espèces",
    "Other": "Autre",
    "Card read": "Lecture",
    "tapped": "sans contact",
    "inserted": "puce",
    "swiped": "piste",
    "typed": "saisie",
    "by telephone or mail": "par téléphone ou courrier",
    "Checked by": "Vérification",
    "PIN": "code",
    "signature": "signature",
    "on the device": "sur l’appareil",
    "no check needed": "non requise",
    "Approval code": "Autorisation",
    "Application": "Application",
    "AID": "AID",
    "Terminal": "Terminal",
    "Receipt number": "Numéro de reçu",
    "Order number": "Numéro de commande",
    "Served by": "Servi par",
    "Customer": "Client",
    "Settled as": "Réglé en",
    "%s at %s": "%s au taux de %s",
    "Number": "Numéro",
    "Receipt from %s: %s": "Reçu de %s : %s",
    "Refund from %s: %s": "Remboursement de %s : %s",
    "Your receipt is below, and attached as a PDF.": "Votre reçu est ci-dessous, et en PDF en pièce jointe.",
    "Hello %s,": "Bonjour %s,",
    "Hello,": "Bonjour,",
}
TEXTS: Final = tuple(_FRENCH)

METHODS: Final = {
    "card": "Card",
    "bank_debit_ach": "Bank debit (ACH)",
    "sepa_debit": "Bank debit (SEPA)",
    "link": "Payment link",
    "cash": "Cash",
    "other": "Other",
}
KINDS: Final = {
    "sale": "Receipt",
    "refund": "Refund",
    "reversal": "Payment taken back",
    "dispute": "Dispute",
    "fee": "Fee",
    "adjustment": "Adjustment",
}
#: Words of our own readers and of the processor's, for how a card was read.
ENTRY_MODES: Final = {
    "contactless": "tapped",
    "contactless_emv": "tapped",
    "contactless_magstripe_mode": "tapped",
    "chip": "inserted",
    "contact_emv": "inserted",
    "magstripe": "swiped",
    "magnetic_stripe_track2": "swiped",
    "magnetic_stripe_fallback": "swiped",
    "manual": "typed",
}
#: The same for how its holder was checked.
VERIFICATIONS: Final = {
    "pin": "PIN",
    "offline_pin": "PIN",
    "online_pin": "PIN",
    "offline_pin_and_signature": "PIN",
    "signature": "signature",
    "device": "on the device",
    "cdcvm": "on the device",
    "none": "no check needed",
    "approval": "no check needed",
    "no_cvm": "no check needed",
}
BRANDS: Final = {
    "visa": "Visa",
    "mastercard": "Mastercard",
    "maestro": "Maestro",
    "girocard": "girocard",
    "amex": "American Express",
    "american express": "American Express",
    "cartes_bancaires": "Cartes Bancaires",
    "jcb": "JCB",
    "diners": "Diners Club",
    "discover": "Discover",
    "unionpay": "UnionPay",
    "interac": "Interac",
    "v pay": "V PAY",
}


def say(text: str, language: str) -> str:
    """A text of ours in a language."""
    return _FRENCH[text] if language == "fr" else text


def known_language(*wishes: str | None) -> str:
    """The first of these that receipts are written in."""
    return next((wish for wish in wishes if wish in LANGUAGES), LANGUAGES[0])
