"""Keys, versions, idempotency, expansion and faults, as the official SDK meets them."""

from __future__ import annotations

import json
from typing import Any

import pytest
import stripe

from control_plane.sandbox.app import SandboxApi
from control_plane.sandbox.dispatch import Answer, Request
from control_plane.sandbox.faults import Fault, FaultKind
from tests.support.stripe_sandbox import SECRET_KEY, StripeSandbox, client_of

PAY: dict[str, Any] = {
    "amount": 1000,
    "currency": "usd",
    "confirm": True,
    "payment_method": "pm_card_visa",
    "allowed_payment_method_types": ["card"],
}
BODY = b"amount=1000&currency=usd&confirm=true&payment_method=pm_card_visa&allowed_payment_method_types[]=card"


def ask(
    api: SandboxApi,
    *,
    body: bytes = BODY,
    authorization: str = f"Bearer {SECRET_KEY}",
    key: str | None = None,
    version: str | None = None,
) -> Answer:
    headers = {"authorization": authorization, "idempotency-key": key, "stripe-version": version}
    given = {name: value for name, value in headers.items() if value is not None}
    return api.answer(Request(method="POST", path="/v1/payment_intents", headers=given, body=body))


def charges(sandbox: StripeSandbox) -> int:
    return len(sandbox.sandbox.store.find("charge"))


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        ("", 401),
        ("Bearer sk_test_", 401),
        ("Bearer nonsense", 401),
        ("Bearer sk_live_51abc", 401),
        ("Bearer rk_live_51abc", 401),
        ("Bearer pk_test_abc", 403),
    ],
)
def test_only_a_secret_test_key_takes_money(
    stripe_sandbox: StripeSandbox, authorization: str, status: int
) -> None:
    answer = ask(stripe_sandbox.api, authorization=authorization)

    assert answer.status == status
    assert charges(stripe_sandbox) == 0


def test_a_key_is_accepted_as_a_user_name_too(stripe_sandbox: StripeSandbox) -> None:
    basic = "Basic c2tfdGVzdF9hbnk6"  # sk_test_any:

    assert ask(stripe_sandbox.api, authorization=basic).status == 200


def test_another_api_version_is_refused(stripe_sandbox: StripeSandbox) -> None:
    answer = ask(stripe_sandbox.api, version="2020-08-27")

    assert answer.status == 400
    assert charges(stripe_sandbox) == 0


def test_an_unknown_address_is_a_404_of_stripes(stripe_sandbox: StripeSandbox) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="Unrecognized request URL") as refused:
        stripe_sandbox.client.raw_request("get", "/v1/tea")

    assert refused.value.http_status == 404


def test_the_same_key_charges_once_and_says_so(stripe_sandbox: StripeSandbox) -> None:
    first = ask(stripe_sandbox.api, key="one")
    again = ask(stripe_sandbox.api, key="one")

    assert again.body == first.body
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Original-Request"] == first.headers["Request-Id"]
    assert charges(stripe_sandbox) == 1


def test_the_same_key_with_another_body_is_refused(stripe_sandbox: StripeSandbox) -> None:
    ask(stripe_sandbox.api, key="one")
    answer = ask(stripe_sandbox.api, body=BODY + b"&description=x", key="one")

    assert (answer.status, answer.json()["error"]["type"]) == (400, "idempotency_error")
    assert charges(stripe_sandbox) == 1


def test_keys_of_two_accounts_do_not_meet(stripe_sandbox: StripeSandbox) -> None:
    ask(stripe_sandbox.api, key="one")
    ask(stripe_sandbox.api, authorization="Bearer sk_test_other", key="one")

    assert charges(stripe_sandbox) == 2


def test_a_refusal_before_the_endpoint_is_not_remembered(stripe_sandbox: StripeSandbox) -> None:
    wrong = ask(stripe_sandbox.api, body=BODY + b"&tea=1", key="one")
    right = ask(stripe_sandbox.api, key="one")

    assert (wrong.status, right.status) == (400, 200)
    assert charges(stripe_sandbox) == 1


def test_a_decline_is_remembered(stripe_sandbox: StripeSandbox) -> None:
    declined = BODY.replace(b"pm_card_visa", b"pm_card_chargeDeclined")

    answers = [ask(stripe_sandbox.api, body=declined, key="one") for _ in range(2)]

    assert [one.status for one in answers] == [402, 402]
    assert answers[0].body == answers[1].body
    assert charges(stripe_sandbox) == 1


def test_a_key_is_forgotten_after_a_day(stripe_sandbox: StripeSandbox) -> None:
    ask(stripe_sandbox.api, key="one")
    stripe_sandbox.put_forward(days=1.1)
    ask(stripe_sandbox.api, key="one")

    assert charges(stripe_sandbox) == 2


def test_a_key_in_use_is_a_conflict(stripe_sandbox: StripeSandbox) -> None:
    api = stripe_sandbox.api
    held = Request(
        method="POST",
        path="/v1/payment_intents",
        headers={"authorization": f"Bearer {SECRET_KEY}", "idempotency-key": "one"},
    )

    with api.api.claimed(held):
        answer = ask(api, key="one")

    assert (answer.status, answer.json()["error"]["code"]) == (409, "idempotency_key_in_use")
    assert charges(stripe_sandbox) == 0
    assert ask(api, key="one").status == 200


def test_objects_expand_through_each_other(stripe_sandbox: StripeSandbox) -> None:
    v1 = stripe_sandbox.v1
    paid = v1.payment_intents.create({**PAY, "capture_method": "automatic"})

    listed = v1.payment_intents.list(
        {"expand": ["data.latest_charge.balance_transaction", "data.payment_method"]}
    )

    (one,) = listed.data
    charge: Any = one.latest_charge
    assert (one.id, charge.balance_transaction.net) == (paid.id, 941)
    assert one.payment_method.card.last4 == "4242"


@pytest.mark.parametrize("path", ["nothing", "amount.x.y", "latest_charge.tea", "a.b.c.d.e"])
def test_what_cannot_be_expanded_is_refused_and_nothing_happens(
    stripe_sandbox: StripeSandbox, path: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="expand"):
        stripe_sandbox.v1.payment_intents.create({**PAY, "expand": [path]})

    assert charges(stripe_sandbox) == 0


@pytest.mark.parametrize(
    ("kind", "error", "after_fault", "after_repetition"),
    [
        (FaultKind.LOST_REQUEST, stripe.APIConnectionError, 0, 1),
        (FaultKind.LOST_ANSWER, stripe.APIConnectionError, 1, 1),
        (FaultKind.TIMEOUT_AFTER_SUCCESS, stripe.APIConnectionError, 1, 1),
        (FaultKind.SERVER_ERROR, stripe.APIError, 0, 1),
        (FaultKind.CONFLICT, stripe.APIError, 0, 1),
        (FaultKind.RATE_LIMIT, stripe.RateLimitError, 0, 1),
    ],
)
def test_a_fault_then_the_same_key_charges_once(
    stripe_sandbox: StripeSandbox,
    kind: FaultKind,
    error: type[Exception],
    after_fault: int,
    after_repetition: int,
) -> None:
    stripe_sandbox.sandbox.faults.add(Fault(kind=kind, on="POST /v1/payment_intents"))
    create = stripe_sandbox.v1.payment_intents.create

    with pytest.raises(error):
        create(PAY, {"idempotency_key": "one"})
    assert charges(stripe_sandbox) == after_fault

    paid = create(PAY, {"idempotency_key": "one"})
    assert (paid.status, charges(stripe_sandbox)) == ("succeeded", after_repetition)


def test_a_server_error_after_success_is_what_the_key_remembers(
    stripe_sandbox: StripeSandbox,
) -> None:
    stripe_sandbox.sandbox.faults.add(Fault(kind=FaultKind.SERVER_ERROR_AFTER_SUCCESS))

    statuses = [ask(stripe_sandbox.api, key="one").status for _ in range(2)]

    assert statuses == [500, 500]
    assert charges(stripe_sandbox) == 1


def test_the_sdks_own_retry_after_a_lost_answer_charges_once(stripe_sandbox: StripeSandbox) -> None:
    stripe_sandbox.sandbox.faults.add(Fault(kind=FaultKind.LOST_ANSWER, on="POST *"))
    client: Any = client_of(stripe_sandbox.api, retries=1)

    paid = client.v1.payment_intents.create(PAY)

    assert (paid.status, charges(stripe_sandbox)) == ("succeeded", 1)


def test_answers_name_their_request(stripe_sandbox: StripeSandbox) -> None:
    answer = ask(stripe_sandbox.api, key="one")

    assert answer.headers["Request-Id"].startswith("req_")
    (event,) = stripe_sandbox.sandbox.store.find("event", type="payment_intent.created")
    assert event["request"] == {"id": answer.headers["Request-Id"], "idempotency_key": "one"}


def test_nothing_of_the_sandboxs_own_memory_is_in_an_answer(stripe_sandbox: StripeSandbox) -> None:
    ask(stripe_sandbox.api)

    listed = stripe_sandbox.v1.events.list({"limit": 100})
    texts = [json.dumps(one.to_dict()) for one in listed.data]

    assert texts
    assert not any('"_' in text for text in texts)
