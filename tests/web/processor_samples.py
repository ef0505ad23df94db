"""Samples of the pages of a processor's account, its readers and phones."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from markupsafe import Markup

from control_plane.card_present.accounts import CardAccountView
from control_plane.virtual_terminal.accounts import AccountView
from control_plane.virtual_terminal.cloud_readers import CloudReaderView
from control_plane.virtual_terminal.importing import ImportView
from control_plane.virtual_terminal.inbox import MOST_TRIES, EventView
from control_plane.virtual_terminal.pairing import PhoneView
from control_plane.web.pages.cloud_readers import Invitation, PhoneRow
from control_plane.web.pages.settings_payments import MOTO, Connection
from control_plane.web.views import Choice
from tests.web.samples import NOW, Sample

ACCOUNT = AccountView(
    id="acc_1",
    merchant_id="mer_1",
    account_id="acct_1Sandbox00000001",
    publishable_key="pk_test_1",
    api_base="http://127.0.0.1:12111",
    script_url="http://127.0.0.1:12111/sandbox-stripe.js",
    livemode=False,
    country="FR",
    default_currency="EUR",
    moto_enabled=False,
    moto_probed_at=NOW - timedelta(days=2),
    connected_at=NOW - timedelta(days=40),
    swept_until=NOW - timedelta(minutes=3),
    webhook_secrets=2,
    key_hint="demo",
)
CARD_ACCOUNT = CardAccountView(
    id="cpa_1",
    merchant_id="mer_1",
    processor="cybersource",
    organization="cafe_lumiere",
    key_id="08c94330-f618-42a3-b09d-e1e43be5efda",
    livemode=False,
    api_base="",
    connected_at=NOW - timedelta(days=3),
    problem="",
)
_EVENT = EventView(
    id="acc_1/evt_1",
    merchant_id="mer_1",
    event_id="evt_1",
    kind="payment_intent.succeeded",
    object_id="pi_1",
    created_at=NOW - timedelta(minutes=2),
    received_at=NOW - timedelta(minutes=2),
    deliveries=1,
    processed_at=NOW - timedelta(minutes=2),
    attempts=1,
    last_error=None,
)
_HISTORY = ImportView(
    id="imp_1",
    merchant_id="mer_1",
    since=NOW - timedelta(days=90),
    cursor="ch_1",
    payments=412,
    refunds=17,
    disputes=1,
    reached_at=NOW - timedelta(days=30),
    last_error=None,
    started_by="Ada",
    started_at=NOW - timedelta(minutes=6),
    updated_at=NOW - timedelta(seconds=4),
    finished_at=None,
)
CONNECTION = Connection(
    account=ACCOUNT,
    moto=MOTO[False],
    webhook_url="https://till.example.com/webhooks/stripe/acc_1",
    events=[
        replace(_EVENT, kind="charge.refunded", processed_at=None, attempts=0),
        replace(_EVENT, kind="charge.dispute.created", processed_at=None, attempts=MOST_TRIES),
        _EVENT,
    ],
    parked=1,
    history=_HISTORY,
)
_READER = CloudReaderView(
    id="rd_9",
    merchant_id="mer_1",
    location_id="loc_1",
    processor_id="tmr_1",
    name="Till 3",
    device_type="stripe_s700",
    serial_number="STRM26000001",
    software_version="2.42.1",
    status="online",
    last_seen_at=NOW - timedelta(seconds=20),
    checked_at=NOW,
    shows_cart=False,
    removed_at=None,
    created_at=NOW - timedelta(days=12),
    held_by=None,
)
CLOUD = [
    (_READER, "Lyon"),
    (
        replace(
            _READER, id="rd_10", name="Handheld", device_type="bbpos_wisepos_e", status="offline"
        ),
        "Annecy",
    ),
]
_PHONE = PhoneView(
    id="phn_1",
    merchant_id="mer_1",
    location_id="loc_1",
    user_id="usr_1",
    user_name="Camille Roux",
    name="Terrace",
    platform="Android 16",
    app_version="1.0",
    code_expires_at=NOW + timedelta(minutes=9),
    paired_at=NOW - timedelta(days=3),
    last_seen_at=NOW - timedelta(minutes=1),
    revoked_at=None,
    created_at=NOW - timedelta(days=3),
)
_WAITING = replace(_PHONE, id="phn_2", name="Garden", paired_at=None, last_seen_at=None)
_PLACES = [Choice("loc_1", "Lyon"), Choice("loc_2", "Annecy")]
_NOTHING = dict.fromkeys(
    ("code", "name", "location", "line1", "city", "state", "postal_code", "country"), ""
)
_STRIPE: dict[str, Any] = {
    "connection": CONNECTION,
    "card_account": None,
    "written": {
        "publishable_key": "",
        "api_base": "",
        "since": "",
        "card_organization": "",
        "card_key_id": "",
        "card_api_base": "",
    },
    "problems": {},
    "may": True,
    "base_url": "https://till.example.com/webhooks/stripe",
    "is_live": False,
}
_REGISTER: dict[str, Any] = {
    "account": ACCOUNT,
    "places": _PLACES,
    "known": ["loc_1"],
    "written": _NOTHING,
    "problems": {},
}
_PHONES: dict[str, Any] = {
    "account": ACCOUNT,
    "phones": [PhoneRow(_PHONE, "Lyon", "paired"), PhoneRow(_WAITING, "Annecy", "waiting")],
    "places": _PLACES,
    "invitation": None,
    "problem": "",
}

PROCESSOR_SAMPLES = {
    "stripe": Sample("settings/payments.html", "/settings/payments", _STRIPE),
    "stripe-none": Sample(
        "settings/payments.html",
        "/settings/payments",
        _STRIPE | {"connection": None, "problems": {"secret_key": "A secret key begins with sk_."}},
        status=422,
    ),
    "card-present": Sample(
        "settings/payments.html", "/settings/payments", _STRIPE | {"card_account": CARD_ACCOUNT}
    ),
    "card-present-refused": Sample(
        "settings/payments.html",
        "/settings/payments",
        _STRIPE
        | {
            "card_account": replace(CARD_ACCOUNT, problem="HTTP_401: Authentication Failed"),
            "problems": {"card_secret": "CyberSource does not know this key. Copy it once more."},
        },
    ),
    "stripe-reader-add": Sample("readers/add_stripe.html", "/readers/add/stripe", _REGISTER),
    "stripe-reader-refused": Sample(
        "readers/add_stripe.html",
        "/readers/add/stripe",
        _REGISTER | {"problems": {"code": "No reader shows these words."}},
        status=422,
    ),
    "phones": Sample("readers/phones.html", "/readers/phones", _PHONES),
    "phones-code": Sample(
        "readers/phones.html",
        "/readers/phones",
        _PHONES
        | {
            "invitation": Invitation(
                _WAITING, "K7QF-2M9X", Markup("<svg></svg>"), _WAITING.code_expires_at
            )
        },
    ),
    "phones-none": Sample(
        "readers/phones.html", "/readers/phones", _PHONES | {"phones": [], "account": None}
    ),
}
