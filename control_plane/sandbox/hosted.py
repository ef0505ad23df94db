"""Pages that Stripe hosts: Checkout, the bank's 3-D Secure challenge, the choice of a bank account, receipts.

Whoever has an intent's client secret may use its pages; a receipt's address is a secret by itself.
"""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from string import Template
from typing import Annotated
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from control_plane.sandbox import checkout, money, payment_flow, payment_methods
from control_plane.sandbox.browser import text_of
from control_plane.sandbox.browser.pages import page
from control_plane.sandbox.control import ControlRoute, The
from control_plane.sandbox.engine import Sandbox
from control_plane.sandbox.errors import ApiError, Json, missing_parameter, no_such

router = APIRouter(route_class=ControlRoute)

Secret = Annotated[str, Form()]
_INTENTS = ("payment_intent", "setup_intent")

_WORDS = {
    "en": {
        "challenge_title": "Confirm that it is you",
        "challenge_text": "This is the bank of the sandbox. {shop} asks for {amount}.",
        "challenge_setup": "This is the bank of the sandbox. {shop} wants to save this card.",
        "complete": "Complete",
        "fail": "Fail",
        "bank_title": "Choose your bank account",
        "bank_text": "{shop} asks for the account to debit. No money moves in the sandbox.",
        "instant": "Use Test Bank, account ending in 6789",
        "manual": "Or enter the numbers; two small deposits then check them",
        "routing": "Routing number",
        "account": "Account number",
        "continue": "Continue",
        "deposits_title": "Check the small deposits",
        "deposits_text": "Enter the code on your statement, such as SM11AA, or the two amounts, such as 32 and 45.",
        "code": "Code",
        "first": "First amount in cents",
        "second": "Second amount in cents",
        "check": "Check",
        "done": "Done. You can close this page.",
        "receipt": "Receipt from {shop}",
        "paid": "Paid",
        "refunded": "Refunded",
        "date": "Date",
        "method": "Paid with",
        "number": "Payment",
        "checkout_title": "Pay {shop}",
        "email": "E-mail",
        "pay": "Pay {amount}",
        "save": "Save",
        "optional": "optional",
        "thanks_title": "Thank you",
        "thanks_text": "{shop} has your payment. You can close this page.",
        "over_title": "This page takes no more payments",
        "over_text": "Ask {shop} for a new link.",
        "mandate_title": "Mandate",
        "mandate_text": "{shop} may debit the account under the reference {reference}.",
        "terms_title": "Terms of Tap to Pay",
        "terms_text": "The terms are accepted in the sandbox at once. You can close this page.",
    },
    "fr": {
        "challenge_title": "Confirmez qu’il s’agit bien de vous",
        "challenge_text": "Voici la banque du bac à sable. {shop} demande {amount}.",
        "challenge_setup": "Voici la banque du bac à sable. {shop} veut enregistrer cette carte.",
        "complete": "Confirmer",
        "fail": "Échouer",
        "bank_title": "Choisissez votre compte bancaire",
        "bank_text": "{shop} demande le compte à débiter. Aucun argent ne bouge dans le bac à sable.",
        "instant": "Utiliser Test Bank, compte se terminant par 6789",
        "manual": "Ou saisissez les numéros ; deux petits dépôts les vérifieront",
        "routing": "Numéro de routage",
        "account": "Numéro de compte",
        "continue": "Continuer",
        "deposits_title": "Vérifiez les petits dépôts",
        "deposits_text": "Saisissez le code de votre relevé, comme SM11AA, ou les deux montants, comme 32 et 45.",
        "code": "Code",
        "first": "Premier montant en centimes",
        "second": "Second montant en centimes",
        "check": "Vérifier",
        "done": "C’est fait. Vous pouvez fermer cette page.",
        "receipt": "Reçu de {shop}",
        "paid": "Payé",
        "refunded": "Remboursé",
        "date": "Date",
        "method": "Payé par",
        "number": "Paiement",
        "checkout_title": "Payer {shop}",
        "email": "E-mail",
        "pay": "Payer {amount}",
        "save": "Enregistrer",
        "optional": "facultatif",
        "thanks_title": "Merci",
        "thanks_text": "{shop} a reçu votre paiement. Vous pouvez fermer cette page.",
        "over_title": "Cette page ne prend plus de paiement",
        "over_text": "Demandez un nouveau lien à {shop}.",
        "mandate_title": "Mandat",
        "mandate_text": "{shop} peut débiter le compte sous la référence {reference}.",
        "terms_title": "Conditions de Tap to Pay",
        "terms_text": "Dans le bac à sable, les conditions sont acceptées aussitôt. Vous pouvez fermer cette page.",
    },
}


# --- 3-D Secure ---


@router.get("/_hosted/authenticate/{intent}")
def challenge(
    intent: str, client_secret: str, request: Request, sandbox: The, locale: str = ""
) -> Response:
    """The bank's page: the payer completes the authentication or fails it."""
    found = _intent_of(sandbox, intent, client_secret)
    language = _language(request, locale)
    words = _WORDS[language]
    text = words["challenge_setup" if found["object"] == "setup_intent" else "challenge_text"]
    return _show(
        "challenge.html",
        language,
        text=text.format(
            shop=sandbox.settings.business_name, amount=_spoken(found.get("amount"), found)
        ),
        intent=intent,
        secret=client_secret,
    )


@router.post("/_hosted/authenticate/{intent}")
def authenticate(
    intent: str, client_secret: Secret, outcome: Annotated[str, Form()], sandbox: The
) -> Json:
    """``outcome`` complete or fail. Answers where the payer goes from here, null for "back to the page it is on"."""
    with sandbox.transaction():
        found = _intent_of(sandbox, intent, client_secret)
        action = found["next_action"] or {}
        way_back = (action.get("redirect_to_url") or {}).get("return_url")
        after = payment_flow.complete_authentication(sandbox, intent, passed=outcome == "complete")
        return {"next": way_back and _way_back(way_back, after)}


def _way_back(address: str, intent: Json) -> str:
    failed = intent["status"] == "requires_payment_method"
    kind = intent["object"]
    parts = urlsplit(address)
    query = [
        *parse_qsl(parts.query),
        (kind, intent["id"]),
        (f"{kind}_client_secret", intent["client_secret"]),
        ("redirect_status", "failed" if failed else "succeeded"),
    ]
    return urlunsplit(parts._replace(query=urlencode(query)))


# --- bank accounts ---


@router.get("/_hosted/bank")
def bank(client_secret: str, request: Request, sandbox: The, locale: str = "") -> Response:
    """Where the customer picks a test bank or types an account's numbers."""
    intent = _intent_of(sandbox, client_secret.partition("_secret_")[0], client_secret)
    language = _language(request, locale)
    text = _WORDS[language]["bank_text"].format(shop=sandbox.settings.business_name)
    return _show("bank.html", language, text=text, intent=intent["id"], secret=client_secret)


@router.post("/_hosted/bank/{intent}")
def collect_bank(
    intent: str,
    client_secret: Secret,
    sandbox: The,
    *,
    name: Annotated[str, Form()],
    email: Annotated[str | None, Form()] = None,
    routing: Annotated[str, Form()] = "",
    account: Annotated[str, Form()] = "",
) -> Json:
    """The intent has its account and waits for confirmation; without numbers the test bank's, verified at once."""
    with sandbox.transaction():
        found = _intent_of(sandbox, intent, client_secret)
        if found["status"] != "requires_payment_method":
            raise ApiError(
                "This intent has an account by now.", code="payment_intent_unexpected_state"
            )
        numbers = (
            {"routing_number": routing, "account_number": account} if routing or account else {}
        )
        method = payment_methods.bank_method(
            sandbox,
            {
                "type": "us_bank_account",
                "billing_details": {"name": name, **({"email": email} if email else {})},
                "us_bank_account": numbers or {"financial_connections_account": "fca_sandbox"},
            },
        )
        payment_methods.keep(sandbox, method)
        found |= {"payment_method": method["id"], "status": "requires_confirmation"}
        sandbox.save(found)
        return {"next": None}


@router.get("/_hosted/microdeposits/{intent}")
def microdeposits(intent: str, request: Request, sandbox: The, locale: str = "") -> Response:
    """Where the customer says what arrived; the address is the customer's secret, as Stripe's is."""
    found = _any_intent(sandbox, intent)
    return _show(
        "microdeposits.html",
        _language(request, locale),
        path=f"v1/{found['object']}s/{intent}/verify_microdeposits",
        secret=found["client_secret"],
        key=_page_key(sandbox),
    )


# --- Checkout ---


@router.get("/_hosted/links/{link}")
def link_page(link: str, request: Request, sandbox: The) -> Response:
    """Each visitor of a payment link gets a session of his own."""
    with sandbox.transaction():
        try:
            session = checkout.session_of_link(sandbox, link)
        except ApiError as refusal:
            return _over(sandbox, request, "", str(refusal))
    return RedirectResponse(f"/_hosted/checkout/{session['id']}", 303)


@router.get("/_hosted/checkout/{session}")
def checkout_page(session: str, request: Request, sandbox: The, locale: str = "") -> Response:
    """Where the customer pays; also the address that the bank's own page leads back to."""
    with sandbox.transaction():
        found = sandbox.fetch("checkout.session", session)
        if found["status"] == "open" and (found["payment_intent"] or found["setup_intent"]):
            try:
                found = checkout.finish_session(sandbox, session)
            except ApiError:
                # A decline is shown by another try: the page is still there.
                found = sandbox.fetch("checkout.session", session)
    language = _language(request, locale)
    words = _WORDS[language]
    shop = sandbox.settings.business_name
    if found["status"] == "complete":
        return _show(
            "message.html",
            language,
            title=words["thanks_title"],
            text=_thanks(sandbox, found, language),
        )
    if found["status"] == "expired":
        return _over(sandbox, request, locale)
    rows = "".join(
        f"<tr><th scope=row>{escape(one['description'])} × {one['quantity']}</th>"
        f"<td>{escape(_spoken(one['amount_total'], one))}</td></tr>"
        for one in found["_items"]
    )
    amount = _spoken(found["amount_total"], found)
    return _show(
        "checkout.html",
        language,
        raw={"rows": rows, "fields": "".join(_field(one, words) for one in found["custom_fields"])},
        title=words["checkout_title"].format(shop=shop),
        submit=words["pay"].format(amount=amount) if found["mode"] == "payment" else words["save"],
        amount=amount,
        session=session,
        mode=found["mode"],
        key=_page_key(sandbox),
        minor=str(found["amount_total"] or 0),
        currency=found["currency"] or "usd",
        types=" ".join(found["payment_method_types"]),
        known_email=found["customer_email"] or "",
    )


@router.post("/_hosted/checkout/{session}/pay")
async def pay_checkout(session: str, request: Request, sandbox: The) -> Json:
    """Pay with what was typed: answers where to go, or the client secret of an intent that the bank wants to see."""
    form = {name: value for name, value in (await request.form()).items() if isinstance(value, str)}
    fields = {
        name.removeprefix("custom "): value
        for name, value in form.items()
        if name.startswith("custom ") and value
    }
    if "confirmation_token" not in form:
        raise missing_parameter("confirmation_token")
    refusal: ApiError | None = None
    with sandbox.transaction():
        try:
            checkout.pay_session(
                sandbox,
                session,
                confirmation_token=form["confirmation_token"],
                email=form.get("email"),
                custom_fields=fields,
            )
        except ApiError as declined:
            if not declined.keeps:
                raise
            refusal = declined
    if refusal is not None:
        raise refusal
    return _onward(sandbox, sandbox.fetch("checkout.session", session))


@router.post("/_hosted/checkout/{session}/finish")
def finish_checkout(session: str, sandbox: The) -> Json:
    """After the bank's challenge."""
    with sandbox.transaction():
        return _onward(sandbox, checkout.finish_session(sandbox, session))


def _onward(sandbox: Sandbox, session: Json) -> Json:
    if session["status"] == "complete":
        success = (session["success_url"] or "").replace("{CHECKOUT_SESSION_ID}", session["id"])
        return {"next": success or f"/_hosted/checkout/{session['id']}"}
    intent = _any_intent(sandbox, session["payment_intent"] or session["setup_intent"])
    return {"next": None, "client_secret": intent["client_secret"]}


def _thanks(sandbox: Sandbox, session: Json, language: str) -> str:
    link = sandbox.store.get(session["payment_link"] or "")
    confirmation = (link or {}).get("after_completion", {}).get("hosted_confirmation") or {}
    own = confirmation.get("custom_message")
    return own or _WORDS[language]["thanks_text"].format(shop=sandbox.settings.business_name)


def _over(sandbox: Sandbox, request: Request, locale: str, why: str = "") -> Response:
    language = _language(request, locale)
    words = _WORDS[language]
    text = why or words["over_text"].format(shop=sandbox.settings.business_name)
    return _show("message.html", language, title=words["over_title"], text=text)


def _field(field: Json, words: dict[str, str]) -> str:
    """A field of the merchant's own: text, numeric or dropdown."""
    name = escape(f"custom {field['key']}")
    label = escape(field["label"]["custom"] or field["key"])
    needed = "" if field["optional"] else " required"
    note = f" ({words['optional']})" if field["optional"] else ""
    if field["type"] == "dropdown":
        options = "".join(
            f'<option value="{escape(one["value"])}">{escape(one["label"])}</option>'
            for one in field["dropdown"]["options"]
        )
        box = f'<select id="{name}" name="{name}"{needed}>{options}</select>'
    else:
        mode = ' inputmode="numeric"' if field["type"] == "numeric" else ""
        box = f'<input id="{name}" name="{name}"{needed}{mode} />'
    return f'<label for="{name}">{label}{note}</label>{box}'


# --- receipts, mandates and terms ---


@router.get("/_hosted/mandates/{reference}")
def mandate(reference: str, request: Request, sandbox: The, locale: str = "") -> Response:
    """What a debit's mandate says."""
    language = _language(request, locale)
    words = _WORDS[language]
    text = words["mandate_text"].format(shop=sandbox.settings.business_name, reference=reference)
    return _show("message.html", language, title=words["mandate_title"], text=text)


@router.get("/_hosted/receipts/{charge}")
def receipt(charge: str, request: Request, sandbox: The, locale: str = "") -> Response:
    """What ``receipt_url`` shows."""
    found = sandbox.fetch("charge", charge)
    language = _language(request, locale)
    words = _WORDS[language]
    details = found["payment_method_details"]
    paid = details[details["type"]]
    name = str(paid.get("brand") or paid.get("bank_name") or details["type"])
    rows = [
        (
            words["date"],
            datetime.fromtimestamp(found["created"], UTC).strftime("%Y-%m-%d %H:%M UTC"),
        ),
        (words["method"], f"{name.replace('_', ' ')} •••• {paid.get('last4')}"),
        (words["number"], charge),
    ]
    if found["amount_refunded"]:
        rows.insert(0, (words["refunded"], _spoken(found["amount_refunded"], found)))
    for key, value in (paid.get("receipt") or {}).items():
        if value is not None:
            rows.append((key.replace("_", " ").capitalize(), str(value)))
    listed = "".join(
        f"<tr><th scope=row>{escape(a)}</th><td>{escape(b)}</td></tr>" for a, b in rows
    )
    return _show(
        "receipt.html",
        language,
        raw={"rows": listed},
        title=words["receipt"].format(shop=sandbox.settings.business_name),
        amount=_spoken(found["amount_captured"] or found["amount"], found),
    )


@router.get("/_hosted/onboarding/{link}")
def onboarding(link: str, request: Request, locale: str = "") -> Response:
    """Apple's terms, where an administrator accepts them."""
    del link
    language = _language(request, locale)
    words = _WORDS[language]
    return _show("message.html", language, title=words["terms_title"], text=words["terms_text"])


# --- parts ---


def _intent_of(sandbox: Sandbox, identifier: str, secret: str) -> Json:
    found = _any_intent(sandbox, identifier)
    if found["client_secret"] != secret:
        raise no_such(found["object"], identifier, param="intent")
    return found


def _any_intent(sandbox: Sandbox, identifier: str) -> Json:
    found = sandbox.store.get(identifier)
    if found is None or found.get("object") not in _INTENTS:
        raise no_such("payment_intent", identifier, param="intent")
    return found


def _page_key(sandbox: Sandbox) -> str:
    """A publishable key that this sandbox accepts, for its own pages."""
    return next((key for key in sandbox.settings.keys if key.startswith("pk_")), "pk_test_of_pages")


def _spoken(amount: int | None, value: Json) -> str:
    return "" if amount is None else money.spoken(amount, value["currency"])


def _language(request: Request, locale: str) -> str:
    asked = locale or request.headers.get("accept-language", "")
    return "fr" if asked.lower().startswith("fr") else "en"


def _show(name: str, language: str, *, raw: dict[str, str] | None = None, **facts: str) -> Response:
    """A page with its words and facts, all escaped but ``raw``."""
    known = {key: escape(value) for key, value in {**_WORDS[language], **facts}.items()}
    return page(Template(text_of(name)).substitute(known, lang=language, **(raw or {})))
