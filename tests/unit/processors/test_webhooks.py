"""Webhooks are believed only when one of our secrets signed them, and only for five minutes."""

from __future__ import annotations

import json
import time

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from control_plane.processors.stripe.webhooks import verify
from control_plane.virtual_terminal.processor import NotVerified

OLD, NEW = "whsec_the_former_one", "whsec_the_present_one"
EVENT = {
    "id": "evt_1",
    "object": "event",
    "type": "payment_intent.succeeded",
    "created": 1_700_000_000,
    "livemode": False,
    "data": {"object": {"id": "pi_1", "object": "payment_intent"}},
}
BODY = json.dumps(EVENT)


def signed(body: str = BODY, secret: str = NEW, *, age_s: int = 0) -> str:
    header: str = stripe.WebhookSignature.generate_signature_header(
        body, secret, timestamp=int(time.time()) - age_s
    )
    return header


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_any_secret_in_use_is_accepted(secret: str) -> None:
    event = verify(BODY.encode(), signed(secret=secret), [OLD, NEW])

    assert (event.id, event.kind) == ("evt_1", "payment_intent.succeeded")
    assert (event.object_kind, event.object_id) == ("payment_intent", "pi_1")
    assert event.payload == EVENT


def test_a_header_signed_with_two_secrets_is_accepted_by_who_knows_one() -> None:
    stamp, _, other = signed(secret="whsec_of_nobody").partition(",")
    mine = signed(secret=NEW).partition(",")[2]

    assert verify(BODY.encode(), f"{stamp},{other},{mine}", [NEW]).id == "evt_1"


@pytest.mark.parametrize(
    ("body", "signature", "secrets"),
    [
        (BODY.encode(), signed(secret="whsec_of_nobody"), [OLD, NEW]),
        (BODY.encode() + b" ", signed(), [NEW]),
        (BODY.encode(), signed(age_s=301), [NEW]),
        (BODY.encode(), signed(), []),
        (BODY.encode(), signed(), [""]),
        (BODY.encode(), "", [NEW]),
        (BODY.encode(), "t=now,v1=00", [NEW]),
        (b"\xff\xfe", signed(), [NEW]),
    ],
    ids=[
        "stranger",
        "altered",
        "old",
        "no secret",
        "empty secret",
        "unsigned",
        "garbled",
        "no text",
    ],
)
def test_what_does_not_hold_is_refused(body: bytes, signature: str, secrets: list[str]) -> None:
    with pytest.raises(NotVerified):
        verify(body, signature, secrets)


@pytest.mark.parametrize("body", ["[]", "{}", '{"id": "evt_1"}', "{", '{"data": {"object": 1}}'])
def test_a_well_signed_body_that_is_no_event_is_refused(body: str) -> None:
    with pytest.raises(NotVerified):
        verify(body.encode(), signed(body), [NEW])


@given(st.text(max_size=200))
def test_any_header_at_all_is_refused_quietly(header: str) -> None:
    with pytest.raises(NotVerified):
        verify(BODY.encode(), header, [NEW])
