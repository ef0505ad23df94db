"""Why a payment was not taken, in plain words, what to do next, and which ways of paying to offer.

Codes are Stripe's: decline codes of cards, failure codes of bank debits and of readers, outcomes of Radar, and codes of
requests about payments (https://docs.stripe.com/declines/codes, https://docs.stripe.com/error-codes). A few are ours.
Texts are for the cashier, who reads them with the payer looking on: where Stripe asks not to tell that a card was
reported stolen, they do not. They are about attempts that have ended: while it is not known whether money moved,
nothing is offered at all (``ladder``), and the payment says so itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Rung(StrEnum):
    """One way to go on."""

    RETRY = "retry"
    """The same again: typed with more care, or a little later."""
    OTHER_CARD = "other_card"
    MOTO = "moto"
    """The same card as a mail or telephone order, which no bank asks the payer to confirm."""
    READER = "reader"
    LINK = "link"


@dataclass(frozen=True, slots=True)
class DeclineWords:
    """Sentences in both languages; ``offers`` has the best way first and is empty when nothing would help."""

    text: str
    advice: str
    text_fr: str
    advice_fr: str
    offers: tuple[Rung, ...] = ()
    is_known: bool = True

    def in_language(self, language: str) -> tuple[str, str]:
        """Text and advice, in French for ``fr`` and in English for all others."""
        if language == "fr":
            return self.text_fr, self.advice_fr
        return self.text, self.advice


_RETRY: Final = (Rung.RETRY, Rung.OTHER_CARD, Rung.READER, Rung.LINK)
_OTHER: Final = (Rung.OTHER_CARD, Rung.READER, Rung.LINK)
#: With the card in their hand, or on their own screen, payers can do what the bank asks for.
_PRESENT: Final = (Rung.READER, Rung.LINK, Rung.OTHER_CARD)
_PAYER: Final = (Rung.MOTO, Rung.READER, Rung.LINK, Rung.OTHER_CARD)
_NONE: Final = ()

_WORDS: Final[dict[str, DeclineWords]] = {}


def explain(code: str | None) -> DeclineWords:
    """The words for a code; one that is not known here is shown by its name."""
    if not code:
        return _NAMELESS
    return _WORDS.get(code) or _unknown(code)


def explain_refund(reason: str | None) -> DeclineWords:
    """The words for ``failure_reason`` of a refund, some of which mean something else there."""
    return _REFUNDS.get(reason or "") or (_unknown_refund(reason) if reason else _REFUND_FAILED)


def known_codes() -> frozenset[str]:
    """Codes that have words of their own."""
    return frozenset(_WORDS)


def _say(codes: str, words: DeclineWords) -> None:
    for code in codes.split():
        if code in _WORDS:
            raise ValueError(f"{code} has words already")
        _WORDS[code] = words


_NAMELESS: Final = DeclineWords(
    "The payment was declined, and no reason was given.",
    "Ask for another card, or send a payment link.",
    "Le paiement a été refusé sans motif.",
    "Demandez une autre carte ou envoyez un lien de paiement.",
    _OTHER,
)


def _unknown(code: str) -> DeclineWords:
    return DeclineWords(
        f"The payment was not taken. Stripe calls the reason “{code}”.",
        "Ask for another card, or send a payment link. What Stripe wrote is in the details.",
        f"Le paiement n’a pas été accepté. Stripe nomme ce motif « {code} ».",
        "Demandez une autre carte ou envoyez un lien de paiement. Le message de Stripe figure dans les détails.",
        _OTHER,
        is_known=False,
    )


# --- cards: what the bank says ----------------------------------------------------------------------------------

_say(
    "generic_decline card_declined do_not_honor no_action_taken call_issuer security_violation"
    " service_not_allowed transaction_not_allowed not_permitted declined payment_method_customer_decline",
    DeclineWords(
        "The bank declined the card and gave no reason.",
        "Ask for another card. The cardholder can ask their bank why.",
        "La banque a refusé la carte sans donner de motif.",
        "Demandez une autre carte. Le titulaire peut se renseigner auprès de sa banque.",
        _OTHER,
    ),
)
_say(
    "lost_card stolen_card pickup_card fraudulent merchant_blacklist restricted_card do_not_try_again"
    " previously_declined_do_not_retry",
    DeclineWords(
        "The bank declined the card.",
        "Ask for another way to pay. Trying this card again will not help.",
        "La banque a refusé la carte.",
        "Demandez un autre moyen de paiement. Réessayer cette carte ne servira à rien.",
        (Rung.OTHER_CARD, Rung.LINK),
    ),
)
_say(
    "insufficient_funds",
    DeclineWords(
        "There is not enough money in the account.",
        "Ask for another card, or take a smaller amount with this one.",
        "La provision du compte est insuffisante.",
        "Demandez une autre carte, ou encaissez un montant plus petit avec celle-ci.",
        _OTHER,
    ),
)
_say(
    "card_velocity_exceeded withdrawal_count_limit_exceeded",
    DeclineWords(
        "The card has reached the limit of its bank for now.",
        "Ask for another card. The cardholder can have the limit raised by their bank.",
        "La carte a atteint le plafond fixé par sa banque.",
        "Demandez une autre carte. Le titulaire peut faire relever le plafond par sa banque.",
        _OTHER,
    ),
)
_say(
    "expired_card expired_payment_method",
    DeclineWords(
        "The card has expired.",
        "Check the month and the year on the card, or ask for another one.",
        "La carte a expiré.",
        "Vérifiez le mois et l’année sur la carte, ou demandez-en une autre.",
        _RETRY,
    ),
)
_say(
    "incorrect_number invalid_number",
    DeclineWords(
        "The card number is not right.",
        "Type the number again, digit by digit.",
        "Le numéro de la carte n’est pas correct.",
        "Saisissez de nouveau le numéro, chiffre par chiffre.",
        _RETRY,
    ),
)
_say(
    "incorrect_cvc invalid_cvc requested_block_on_incorrect_cvc cvc_check_failed",
    DeclineWords(
        "The security code is not right.",
        "Type the three digits on the back again. American Express has four on the front.",
        "Le code de sécurité n’est pas correct.",
        "Saisissez de nouveau les trois chiffres du verso. American Express en a quatre au recto.",
        _RETRY,
    ),
)
_say(
    "invalid_expiry_month invalid_expiry_year",
    DeclineWords(
        "The expiry date is not right.",
        "Type the month and the year again as they stand on the card.",
        "La date d’expiration n’est pas correcte.",
        "Saisissez de nouveau le mois et l’année tels qu’ils figurent sur la carte.",
        _RETRY,
    ),
)
_say(
    "incorrect_zip incorrect_postal_code postal_code_invalid requested_block_on_incorrect_zip postal_code_check_failed",
    DeclineWords(
        "The postal code is not the one that the bank knows.",
        "Ask for the postal code of the address to which the bank sends its letters.",
        "Le code postal n’est pas celui que connaît la banque.",
        "Demandez le code postal de l’adresse à laquelle la banque envoie son courrier.",
        _RETRY,
    ),
)
_say(
    "incorrect_address address_check_failed payment_method_billing_details_address_missing shipping_address_invalid",
    DeclineWords(
        "The address is not the one that the bank knows.",
        "Ask for the address to which the bank sends its letters, and type it again.",
        "L’adresse n’est pas celle que connaît la banque.",
        "Demandez l’adresse à laquelle la banque envoie son courrier, et saisissez-la de nouveau.",
        _RETRY,
    ),
)
_say(
    "approve_with_id issuer_not_available processing_error reenter_transaction try_again_later"
    " payment_method_provider_timeout payment_intent_rate_limit_exceeded lock_timeout rate_limit",
    DeclineWords(
        "The bank could not be asked just now.",
        "Try again in a moment. If that does not help, ask for another card.",
        "La banque n’a pas pu être interrogée pour l’instant.",
        "Réessayez dans un instant. Si cela ne suffit pas, demandez une autre carte.",
        _RETRY,
    ),
)
_say(
    "authentication_required authentication_not_handled payment_intent_action_required"
    " mobile_device_authentication_required invoice_payment_intent_requires_action approval_required",
    DeclineWords(
        "The bank wants the cardholder to confirm this payment.",
        "Send a payment link, so that they can confirm it, or have them use a reader.",
        "La banque demande au titulaire de confirmer ce paiement.",
        "Envoyez un lien de paiement pour qu’il puisse confirmer, ou faites utiliser un lecteur.",
        _PAYER,
    ),
)
_say(
    "payment_intent_authentication_failure setup_intent_authentication_failure authentication_failure"
    " three_d_secure_authentication_not_supported three_d_secure_authentication_upstream_error",
    DeclineWords(
        "The cardholder did not confirm the payment with their bank.",
        "Have them try once more, or ask for another card.",
        "Le titulaire n’a pas confirmé le paiement auprès de sa banque.",
        "Demandez-lui de réessayer, ou demandez une autre carte.",
        _PAYER,
    ),
)
_say(
    "card_not_supported invalid_card_type token_card_network_invalid payment_method_unsupported_type"
    " payment_intent_incompatible_payment_method payment_method_not_available",
    DeclineWords(
        "This kind of card cannot be used for this payment.",
        "Ask for another card.",
        "Ce type de carte ne peut pas servir à ce paiement.",
        "Demandez une autre carte.",
        _OTHER,
    ),
)
_say(
    "currency_not_supported invalid_currency payment_method_currency_mismatch",
    DeclineWords(
        "The card cannot pay in this currency.",
        "Ask for another card, or take the payment in the card’s own currency.",
        "La carte ne peut pas payer dans cette devise.",
        "Demandez une autre carte, ou encaissez dans la devise de la carte.",
        _OTHER,
    ),
)
_say(
    "duplicate_transaction",
    DeclineWords(
        "The bank saw the same amount on this card a moment ago.",
        "Look at the recent payments first. If it really is another sale, try again in a few minutes.",
        "La banque a vu le même montant sur cette carte il y a un instant.",
        "Consultez d’abord les paiements récents. S’il s’agit d’une autre vente, réessayez dans quelques minutes.",
        (Rung.RETRY, Rung.OTHER_CARD),
    ),
)
_say(
    "invalid_account new_account_information_available revocation_of_all_authorizations"
    " revocation_of_authorization stop_payment_order india_recurring_payment_mandate_canceled",
    DeclineWords(
        "The card or its account may no longer be charged.",
        "Ask for another card. If it was a saved card, have the customer renew it.",
        "La carte ou son compte ne peut plus être débité.",
        "Demandez une autre carte. S’il s’agit d’une carte enregistrée, faites-la renouveler par le client.",
        _OTHER,
    ),
)
_say(
    "invalid_amount invalid_charge_amount charge_exceeds_source_limit charge_exceeds_transaction_limit"
    " charge_exceeds_weekly_limit",
    DeclineWords(
        "The bank does not allow this amount.",
        "Take a smaller amount, or ask for another card.",
        "La banque n’autorise pas ce montant.",
        "Encaissez un montant plus petit, ou demandez une autre carte.",
        _OTHER,
    ),
)
_say(
    "incorrect_pin invalid_pin",
    DeclineWords(
        "The PIN was not right.",
        "Have the cardholder put the card in again and type the PIN with care.",
        "Le code secret n’était pas correct.",
        "Demandez au titulaire d’insérer de nouveau la carte et de saisir son code avec soin.",
        (Rung.READER, Rung.OTHER_CARD, Rung.LINK),
    ),
)
_say(
    "pin_try_exceeded",
    DeclineWords(
        "The PIN was typed wrong too often, and the card is blocked for now.",
        "Ask for another card.",
        "Le code secret a été faux trop de fois : la carte est bloquée pour l’instant.",
        "Demandez une autre carte.",
        _OTHER,
    ),
)
_say(
    "offline_pin_required online_or_offline_pin_required",
    DeclineWords(
        "The bank wants the PIN for this payment.",
        "Have the cardholder insert the card into the reader instead of tapping it.",
        "La banque demande le code secret pour ce paiement.",
        "Demandez au titulaire d’insérer la carte dans le lecteur au lieu de la présenter sans contact.",
        (Rung.READER, Rung.OTHER_CARD),
    ),
)
_say(
    "testmode_decline testmode_charges_only livemode_mismatch payment_method_invalid_parameter_testmode",
    DeclineWords(
        "Test cards and real money do not go together.",
        "Use a real card, or a test card while the account is in test mode.",
        "Les cartes de test et l’argent réel ne vont pas ensemble.",
        "Utilisez une vraie carte, ou une carte de test tant que le compte est en mode test.",
        (Rung.OTHER_CARD,),
    ),
)

# --- cards: what Stripe itself decides --------------------------------------------------------------------------

_say(
    "highest_risk_level elevated_risk_level rule request_blocked payment_method_restricted action_blocked"
    " low_probability_of_authorization anomalous_money_movement_request",
    DeclineWords(
        "Stripe stopped this payment because it looks risky.",
        "Ask for another way to pay, best with the card in the cardholder’s hand.",
        "Stripe a bloqué ce paiement, jugé risqué.",
        "Demandez un autre moyen de paiement, de préférence avec la carte en main du titulaire.",
        (Rung.READER, Rung.OTHER_CARD),
    ),
)
_say(
    "card_decline_rate_limit_exceeded",
    DeclineWords(
        "This card was declined too often, and is blocked for a day.",
        "Ask for another card.",
        "Cette carte a été refusée trop souvent : elle est bloquée pour une journée.",
        "Demandez une autre carte.",
        _OTHER,
    ),
)
_say(
    "payment_intent_payment_attempt_failed payment_method_provider_decline setup_attempt_failed"
    " payment_method_configuration_failures payment_method_unactivated",
    DeclineWords(
        "The payment was declined.",
        "Ask for another way to pay.",
        "Le paiement a été refusé.",
        "Demandez un autre moyen de paiement.",
        _OTHER,
    ),
)
_say(
    "payment_intent_payment_attempt_expired setup_intent_setup_attempt_expired customer_session_expired"
    " payment_intent_konbini_rejected_confirmation_number",
    DeclineWords(
        "The payment was not completed in time.",
        "Begin again.",
        "Le paiement n’a pas été terminé à temps.",
        "Recommencez.",
        _RETRY,
    ),
)

# --- bank debits ------------------------------------------------------------------------------------------------

_say(
    "account_closed bank_account_closed bank_ownership_changed recipient_deceased",
    DeclineWords(
        "The bank account is closed.",
        "Ask for another account or a card.",
        "Le compte bancaire est clos.",
        "Demandez un autre compte ou une carte.",
        _OTHER,
    ),
)
_say(
    "no_account invalid_account_number account_number_invalid routing_number_invalid branch_does_not_exist"
    " bank_account_bad_routing_numbers account_invalid clearing_code_unsupported account_information_mismatch"
    " incorrect_account_holder_name incorrect_account_holder_address incorrect_account_holder_tax_id"
    " account_country_invalid_address sepa_unsupported_account",
    DeclineWords(
        "The bank does not know this account, or the name on it is another.",
        "Check the account number and the name with the payer, and type them again.",
        "La banque ne connaît pas ce compte, ou il est à un autre nom.",
        "Vérifiez le numéro de compte et le nom avec le payeur, et saisissez-les de nouveau.",
        _RETRY,
    ),
)
_say(
    "debit_not_authorized debit_disputed debit_authorization_not_match refer_to_customer"
    " payment_intent_mandate_invalid setup_intent_mandate_invalid billing_invalid_mandate"
    " invalid_mandate_reference_prefix_format",
    DeclineWords(
        "The account holder did not allow this debit, or took the permission back.",
        "Talk to the payer. A new permission is needed before the account is debited again.",
        "Le titulaire du compte n’a pas autorisé ce prélèvement, ou a retiré son autorisation.",
        "Parlez-en au payeur. Une nouvelle autorisation est nécessaire avant un autre prélèvement.",
        (Rung.OTHER_CARD, Rung.LINK),
    ),
)
_say(
    "bank_account_restricted bank_account_unusable bank_account_declined payment_method_bank_account_blocked",
    DeclineWords(
        "The bank does not let this account be debited.",
        "Ask for another account or a card.",
        "La banque n’autorise pas les prélèvements sur ce compte.",
        "Demandez un autre compte ou une carte.",
        _OTHER,
    ),
)
_say(
    "could_not_process generic_could_not_process",
    DeclineWords(
        "The bank could not carry out the debit.",
        "Try again later, or ask for a card.",
        "La banque n’a pas pu exécuter le prélèvement.",
        "Réessayez plus tard, ou demandez une carte.",
        _RETRY,
    ),
)
_say(
    "bank_account_unverified bank_account_verification_failed intent_verification_method_missing"
    " financial_connections_account_inactive financial_connections_account_pending_account_numbers"
    " financial_connections_account_unavailable_account_numbers",
    DeclineWords(
        "The bank account is not verified yet.",
        "Have the payer sign in to their bank, or verify the account with two small deposits.",
        "Le compte bancaire n’est pas encore vérifié.",
        "Demandez au payeur de se connecter à sa banque, ou vérifiez le compte par deux petits dépôts.",
        (Rung.LINK, Rung.OTHER_CARD),
    ),
)
_say(
    "payment_method_microdeposit_verification_amounts_invalid"
    " payment_method_microdeposit_verification_amounts_mismatch"
    " payment_method_microdeposit_verification_descriptor_code_mismatch",
    DeclineWords(
        "That is not what was deposited on the account.",
        "Read the two amounts, or the code beginning with SM, from the bank statement again.",
        "Ce n’est pas ce qui a été déposé sur le compte.",
        "Relisez sur le relevé bancaire les deux montants, ou le code commençant par SM.",
        (Rung.RETRY,),
    ),
)
_say(
    "payment_method_microdeposit_verification_attempts_exceeded payment_method_microdeposit_failed"
    " payment_method_microdeposit_verification_timeout payment_method_microdeposit_processing_error",
    DeclineWords(
        "The account could not be verified with small deposits.",
        "Begin again with the account, or ask for a card.",
        "Le compte n’a pas pu être vérifié par petits dépôts.",
        "Recommencez avec le compte, ou demandez une carte.",
        _OTHER,
    ),
)
_say(
    "bank_account_exists payment_method_bank_account_already_verified",
    DeclineWords(
        "This account is known already.",
        "Use the saved account.",
        "Ce compte est déjà connu.",
        "Utilisez le compte enregistré.",
        (Rung.RETRY,),
    ),
)

# --- readers ----------------------------------------------------------------------------------------------------

_say(
    "customer_canceled",
    DeclineWords(
        "The customer cancelled on the reader.",
        "Ask how they want to pay, and begin again.",
        "Le client a annulé sur le lecteur.",
        "Demandez comment il souhaite payer, et recommencez.",
        (Rung.READER, Rung.OTHER_CARD, Rung.LINK),
    ),
)
_say(
    "connection_error",
    DeclineWords(
        "The reader lost its connection during the payment.",
        "Nothing was charged. Check its network and try again, best on another reader.",
        "Le lecteur a perdu sa connexion pendant le paiement.",
        "Rien n’a été débité. Vérifiez son réseau et réessayez, de préférence sur un autre lecteur.",
        (Rung.READER, Rung.LINK, Rung.OTHER_CARD),
    ),
)
_say(
    "terminal_reader_timeout",
    DeclineWords(
        "The reader did not answer in time.",
        "Nothing was charged. Look at its screen, wake it up, and try again.",
        "Le lecteur n’a pas répondu à temps.",
        "Rien n’a été débité. Regardez son écran, réveillez-le, et réessayez.",
        (Rung.READER, Rung.LINK, Rung.OTHER_CARD),
    ),
)
_say(
    "terminal_reader_offline",
    DeclineWords(
        "The reader is offline.",
        "Check that it is on and connected, or pick another reader.",
        "Le lecteur est hors ligne.",
        "Vérifiez qu’il est allumé et connecté, ou choisissez un autre lecteur.",
        (Rung.READER, Rung.LINK),
    ),
)
_say(
    "terminal_reader_busy",
    DeclineWords(
        "The reader is busy: with a payment, an update, or a card that was left in.",
        "Take out the card, wait a moment and try again, or pick another reader.",
        "Le lecteur est occupé : un paiement, une mise à jour, ou une carte restée insérée.",
        "Retirez la carte, patientez un instant et réessayez, ou choisissez un autre lecteur.",
        (Rung.READER, Rung.LINK),
    ),
)
_say(
    "terminal_reader_hardware_fault",
    DeclineWords(
        "The reader reports a fault of its own.",
        "Restart it. If that does not help, use another reader and have this one replaced.",
        "Le lecteur signale une panne.",
        "Redémarrez-le. Si cela ne suffit pas, utilisez un autre lecteur et faites remplacer celui-ci.",
        (Rung.READER, Rung.LINK),
    ),
)
_say(
    "terminal_reader_invalid_location_for_payment terminal_reader_invalid_location_for_activation"
    " terminal_location_country_unsupported",
    DeclineWords(
        "The reader is registered in a place where it may not take this payment.",
        "Pick another reader. An owner can register this one again at the right location.",
        "Le lecteur est enregistré à un endroit où il ne peut pas encaisser ce paiement.",
        "Choisissez un autre lecteur. Un propriétaire peut réenregistrer celui-ci au bon endroit.",
        (Rung.READER, Rung.LINK),
    ),
)

# --- requests about a payment that came too late, too early, or with something missing --------------------------

_say(
    "payment_intent_unexpected_state setup_intent_unexpected_state intent_invalid_state"
    " payment_method_unexpected_state status_transition_invalid return_intent_already_processed"
    " idempotency_key_in_use",
    DeclineWords(
        "This payment has gone on in the meantime.",
        "Look at it again before you go on.",
        "Ce paiement a évolué entre-temps.",
        "Consultez-le de nouveau avant de continuer.",
        (Rung.RETRY, Rung.READER, Rung.LINK),
    ),
)
_say(
    "charge_already_captured",
    DeclineWords(
        "The money was captured already.",
        "Nothing is left to do.",
        "Le montant a déjà été capturé.",
        "Il n’y a rien d’autre à faire.",
        _NONE,
    ),
)
_say(
    "charge_expired_for_capture capture_charge_authorization_expired",
    DeclineWords(
        "The bank holds the money no longer: it was not captured in time.",
        "Take the payment again.",
        "La banque ne réserve plus le montant : il n’a pas été capturé à temps.",
        "Encaissez de nouveau le paiement.",
        (Rung.RETRY, Rung.READER, Rung.LINK),
    ),
)
_say(
    "capture_unauthorized_payment",
    DeclineWords(
        "The bank has not approved this payment, so there is nothing to capture.",
        "Look at the payment again before you go on.",
        "La banque n’a pas approuvé ce paiement : il n’y a rien à capturer.",
        "Consultez de nouveau le paiement avant de continuer.",
        _NONE,
    ),
)
_say(
    "charge_already_refunded",
    DeclineWords(
        "All of it was refunded already.",
        "Nothing is left to give back.",
        "Le montant a déjà été entièrement remboursé.",
        "Il n’y a plus rien à rembourser.",
        _NONE,
    ),
)
_say(
    "charge_disputed refund_disputed_payment",
    DeclineWords(
        "The payer has disputed this payment with their bank.",
        "Answer the dispute instead of refunding: the money is with the bank already.",
        "Le payeur a contesté ce paiement auprès de sa banque.",
        "Répondez à la contestation au lieu de rembourser : la banque détient déjà l’argent.",
        _NONE,
    ),
)
_say(
    "charge_not_refundable",
    DeclineWords(
        "This payment cannot be refunded.",
        "Give the money back in another way.",
        "Ce paiement ne peut pas être remboursé.",
        "Rendez l’argent d’une autre manière.",
        _NONE,
    ),
)
_say(
    "balance_insufficient",
    DeclineWords(
        "There is not enough money in the Stripe account.",
        "Add money to the balance at Stripe, or wait for the next sales, and try again.",
        "Le solde du compte Stripe est insuffisant.",
        "Alimentez le solde chez Stripe, ou attendez les prochaines ventes, puis réessayez.",
        _NONE,
    ),
)
_say(
    "amount_too_small",
    DeclineWords(
        "The amount is smaller than Stripe takes in this currency.",
        "Take a larger amount, or another way to pay.",
        "Le montant est inférieur au minimum de Stripe dans cette devise.",
        "Encaissez un montant plus élevé, ou un autre moyen de paiement.",
        _NONE,
    ),
)
_say(
    "amount_too_large",
    DeclineWords(
        "The amount is larger than Stripe takes in one payment.",
        "Split it into several payments.",
        "Le montant dépasse ce que Stripe accepte en un seul paiement.",
        "Répartissez-le sur plusieurs paiements.",
        _NONE,
    ),
)
_say(
    "token_already_used token_in_use",
    DeclineWords(
        "The card details were used once already.",
        "Type the card again.",
        "Les données de la carte ont déjà servi une fois.",
        "Saisissez de nouveau la carte.",
        _RETRY,
    ),
)
_say(
    "resource_missing missing",
    DeclineWords(
        "Stripe no longer knows the card or the payment.",
        "Type the card again, or use another one.",
        "Stripe ne connaît plus la carte ou le paiement.",
        "Saisissez de nouveau la carte, ou utilisez-en une autre.",
        _RETRY,
    ),
)
_say(
    "parameter_unknown parameter_missing parameter_invalid_empty parameter_invalid_integer"
    " parameter_invalid_string_blank parameter_invalid_string_empty parameters_exclusive"
    " payment_intent_invalid_parameter payment_method_invalid_parameter charge_invalid_parameter"
    " setup_intent_invalid_parameter invalid_characters email_invalid invalid_source_usage"
    " refused payment_method_types_no_longer_supported cardholder_phone_number_required url_invalid",
    DeclineWords(
        "Stripe did not take the request as it was written.",
        "Nothing was charged. Tell whoever looks after Omnitill; what Stripe wrote is in the details.",
        "Stripe n’a pas accepté la demande telle qu’elle était rédigée.",
        "Rien n’a été débité. Prévenez la personne qui gère Omnitill : le message de Stripe est dans les détails.",
        (Rung.READER, Rung.LINK),
    ),
)
_say(
    "api_key_expired platform_api_key_expired secret_key_required authentication permission"
    " capability_not_active payouts_not_allowed transfers_not_allowed tls_version_unsupported",
    DeclineWords(
        "Stripe does not let this account take the payment.",
        "Nothing was charged. An owner should look at Settings, Payments, and at the messages from Stripe.",
        "Stripe n’autorise pas ce compte à encaisser le paiement.",
        "Rien n’a été débité. Un propriétaire doit consulter Réglages, Paiements, et les messages de Stripe.",
        _NONE,
    ),
)
_say(
    "customer_max_payment_methods setup_intent_mobile_wallet_unsupported",
    DeclineWords(
        "The card cannot be saved with this customer.",
        "Take the payment without saving the card, or remove an old one first.",
        "La carte ne peut pas être enregistrée pour ce client.",
        "Encaissez sans enregistrer la carte, ou supprimez d’abord une ancienne carte.",
        (Rung.RETRY,),
    ),
)

# --- our own ----------------------------------------------------------------------------------------------------

_say(
    "moto_not_enabled",
    DeclineWords(
        "Stripe has not opened telephone orders for this account.",
        "Send a payment link or use a reader. An owner can ask Stripe to open telephone orders.",
        "Stripe n’a pas activé les commandes par téléphone pour ce compte.",
        "Envoyez un lien de paiement ou utilisez un lecteur. Un propriétaire peut demander l’activation à Stripe.",
        (Rung.LINK, Rung.READER, Rung.RETRY),
    ),
)
_say(
    "not_reached not_processed",
    DeclineWords(
        "Stripe could not be reached, and nothing was charged.",
        "Try again in a moment. If it stays so, check the internet connection.",
        "Stripe est injoignable, et rien n’a été débité.",
        "Réessayez dans un instant. Si cela persiste, vérifiez la connexion à Internet.",
        (Rung.RETRY, Rung.READER),
    ),
)

# --- refunds ----------------------------------------------------------------------------------------------------

_REFUND_FAILED: Final = DeclineWords(
    "The refund did not reach the payer.",
    "The money is back in your balance. Give it back in another way.",
    "Le remboursement n’est pas parvenu au payeur.",
    "L’argent est revenu sur votre solde. Rendez-le d’une autre manière.",
)
_REFUND_UNREACHABLE: Final = DeclineWords(
    "The card that was charged can take no refund any more.",
    "The money is back in your balance. Give it back in another way, such as by bank transfer.",
    "La carte débitée ne peut plus recevoir de remboursement.",
    "L’argent est revenu sur votre solde. Rendez-le d’une autre manière, par virement par exemple.",
)
_REFUNDS: Final[dict[str, DeclineWords]] = {
    "lost_or_stolen_card": _REFUND_UNREACHABLE,
    "expired_or_canceled_card": _REFUND_UNREACHABLE,
    "declined": DeclineWords(
        "The payer’s bank declined the refund.",
        "The money is back in your balance. Give it back in another way.",
        "La banque du payeur a refusé le remboursement.",
        "L’argent est revenu sur votre solde. Rendez-le d’une autre manière.",
    ),
    "insufficient_funds": _WORDS["balance_insufficient"],
    "charge_for_pending_refund_disputed": _WORDS["charge_disputed"],
    "merchant_request": DeclineWords(
        "The refund was cancelled at your request.",
        "Nothing is left to do.",
        "Le remboursement a été annulé à votre demande.",
        "Il n’y a rien d’autre à faire.",
    ),
    "unknown": _REFUND_FAILED,
    # Of those for which the card is presented again: no money has left.
    "card_declined": DeclineWords(
        "The reader did not take this card. Nothing was given back.",
        "Begin again, and let the customer present the card that paid.",
        "Le lecteur n’a pas accepté cette carte. Rien n’a été remboursé.",
        "Recommencez avec la carte qui a payé.",
    ),
    "customer_canceled": DeclineWords(
        "The customer canceled on the reader. Nothing was given back.",
        "Begin again when the customer is ready.",
        "Le client a annulé sur le lecteur. Rien n’a été remboursé.",
        "Recommencez quand le client est prêt.",
    ),
    "reader_stopped": DeclineWords(
        "It was stopped before a card was read. Nothing was given back.",
        "Begin again when the customer is ready.",
        "Arrêté avant la lecture d’une carte. Rien n’a été remboursé.",
        "Recommencez quand le client est prêt.",
    ),
    "reader_no_card": DeclineWords(
        "No card was presented. Nothing was given back.",
        "Begin again when the customer is there with the card.",
        "Aucune carte n’a été présentée. Rien n’a été remboursé.",
        "Recommencez quand le client est là avec sa carte.",
    ),
    "reader_gone": DeclineWords(
        "The reader does not have the refund. Stripe was asked: nothing was given back.",
        "Begin again.",
        "Le lecteur n’a pas le remboursement. Stripe confirme que rien n’a été remboursé.",
        "Recommencez.",
    ),
    "connection_error": DeclineWords(
        "The reader lost its connection. Stripe was asked: nothing was given back.",
        "Check the reader’s network and begin again.",
        "Le lecteur a perdu sa connexion. Stripe confirme que rien n’a été remboursé.",
        "Vérifiez le réseau du lecteur et recommencez.",
    ),
    "terminal_reader_offline": DeclineWords(
        "The reader is offline. Nothing was given back.",
        "Check its power and network, or pick another reader.",
        "Le lecteur est hors ligne. Rien n’a été remboursé.",
        "Vérifiez son alimentation et son réseau, ou choisissez un autre lecteur.",
    ),
    "terminal_reader_busy": DeclineWords(
        "The reader is busy, or a card was left in it. Nothing was given back.",
        "Look at its screen, then begin again, or pick another reader.",
        "Le lecteur est occupé ou une carte y est restée. Rien n’a été remboursé.",
        "Regardez son écran et recommencez, ou choisissez un autre lecteur.",
    ),
    "terminal_reader_hardware_fault": DeclineWords(
        "The reader reports a fault. Nothing was given back.",
        "Restart it, or pick another reader.",
        "Le lecteur signale une panne. Rien n’a été remboursé.",
        "Redémarrez-le ou choisissez un autre lecteur.",
    ),
}


def _unknown_refund(reason: str) -> DeclineWords:
    return DeclineWords(
        f"The refund did not reach the payer. Stripe calls the reason “{reason}”.",
        _REFUND_FAILED.advice,
        f"Le remboursement n’est pas parvenu au payeur. Stripe nomme ce motif « {reason} ».",
        _REFUND_FAILED.advice_fr,
        is_known=False,
    )
