"""Phones that take cards: paired once, bound to a shop and a person, driven over the API as a thin app would."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from starlette.testclient import TestClient

from control_plane.accounts.permissions import Permission, Role
from control_plane.accounts.queries import MEMBERSHIPS
from control_plane.sandbox import card_present, readers
from control_plane.sandbox.card_present import at_reader
from control_plane.virtual_terminal.cloud_readers import ReaderFleet
from tests.fixtures.virtual_terminal import Connected
from tests.support.counter_reader import ADDRESS

PHONE = "/v1/terminal/phone"


@dataclass
class App:
    """The thin app on a phone, and the processor's software in it."""

    shop: Connected
    client: TestClient
    token: str = ""

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def post(self, path: str, body: Any = None, **headers: str) -> Any:  # JSON
        return self.client.post(f"{PHONE}{path}", json=body, headers={**self.headers, **headers})

    def tap(self, client_secret: str, number: str | None = None) -> None:
        """The processor's software on the phone takes the card."""
        engine = self.shop.sandbox.engine
        with engine.transaction():
            place = engine.store.find("terminal.location")[0]
            reader = readers.register(engine, "mobile_phone_reader", place, "Phone")
            intent = engine.fetch("payment_intent", client_secret.partition("_secret_")[0])
            card_present.charge(engine, intent, at_reader("card_present", number), reader)


def paired(shop: Connected, client: TestClient) -> App:
    """A phone of an owner, in the only shop, whose address the processor knows."""
    owner = shop.make.client_as(shop.merchant_id, Role.OWNER)
    caller = shop.make.caller(shop.merchant_id, Role.OWNER)
    shop.parts.get(ReaderFleet).register(
        caller, code="simulated-wpe", name="Counter", location_id=shop.location_id, address=ADDRESS
    )
    invited = owner.post(
        "/v1/terminal/pairings", json={"name": "Terrace", "location_id": shop.location_id}
    ).json()
    claimed = client.post(
        "/v1/terminal/pairings/claim", json={"code": invited["code"], "platform": "iOS 26"}
    )
    assert claimed.status_code == 201
    return App(shop, client, claimed.json()["token"])


@pytest.fixture
def app_on_phone(sqlite_connected: Connected, sqlite_client: TestClient) -> App:
    return paired(sqlite_connected, sqlite_client)


def test_a_phone_takes_a_payment_and_our_own_read_says_that_it_is_paid(
    connected: Connected, client: TestClient
) -> None:
    app = paired(connected, client)
    begun = app.post("/payments", {"amount_minor": 1200, "currency": "USD"}).json()
    app.tap(begun["client_secret"])
    done = app.post(f"/payments/{begun['payment_id']}/finished").json()

    assert begun["state"] == "in_progress"
    assert (done["state"], done["client_secret"]) == ("paid", None)
    assert [one["amount_captured"] for one in connected.sandbox.taken()] == [1200]


def test_what_the_app_claims_is_not_believed(app_on_phone: App) -> None:
    begun = app_on_phone.post("/payments", {"amount_minor": 1200, "currency": "USD"}).json()
    claimed = app_on_phone.post(f"/payments/{begun['payment_id']}/finished").json()

    assert claimed["state"] == "in_progress"
    assert app_on_phone.shop.sandbox.taken() == []


def test_a_refused_card_is_told_and_the_same_payment_is_tried_again(app_on_phone: App) -> None:
    begun = app_on_phone.post("/payments", {"amount_minor": 1200, "currency": "USD"}).json()
    app_on_phone.tap(begun["client_secret"], "4000000000009995")
    refused = app_on_phone.post(f"/payments/{begun['payment_id']}/finished").json()
    again = app_on_phone.post("/payments", {"payment_id": begun["payment_id"]}).json()
    app_on_phone.tap(again["client_secret"])
    done = app_on_phone.post(f"/payments/{begun['payment_id']}/finished").json()

    assert (refused["state"], refused["code"]) == ("open", "insufficient_funds")
    assert again["payment_id"] == begun["payment_id"]
    assert done["state"] == "paid"
    assert len(app_on_phone.shop.sandbox.objects("payment_intent")) == 1


def test_a_payment_that_was_given_up_can_take_nothing_later(app_on_phone: App) -> None:
    begun = app_on_phone.post("/payments", {"amount_minor": 1200, "currency": "USD"}).json()
    given_up = app_on_phone.post(f"/payments/{begun['payment_id']}/cancel").json()

    assert given_up["state"] == "open"
    (intent,) = app_on_phone.shop.sandbox.objects("payment_intent")
    assert intent["status"] == "canceled"


def test_the_same_key_is_the_same_sale(app_on_phone: App) -> None:
    wish = {"amount_minor": 1200, "currency": "USD"}
    first = app_on_phone.post("/payments", wish, **{"Idempotency-Key": "sale-1"}).json()
    second = app_on_phone.post("/payments", wish, **{"Idempotency-Key": "sale-1"}).json()

    assert first["payment_id"] == second["payment_id"]
    assert len(app_on_phone.shop.sandbox.objects("payment_intent")) == 1


def test_a_code_pairs_one_phone_once(app_on_phone: App) -> None:
    shop = app_on_phone.shop
    owner = shop.make.client_as(shop.merchant_id, Role.OWNER)
    code = owner.post("/v1/terminal/pairings", json={"location_id": shop.location_id}).json()[
        "code"
    ]
    answers = [
        app_on_phone.client.post("/v1/terminal/pairings/claim", json={"code": code}).status_code
        for _ in range(2)
    ]

    assert answers == [201, 422]


def test_an_old_code_pairs_nothing(app_on_phone: App) -> None:
    shop = app_on_phone.shop
    owner = shop.make.client_as(shop.merchant_id, Role.OWNER)
    code = owner.post("/v1/terminal/pairings", json={"location_id": shop.location_id}).json()[
        "code"
    ]
    shop.parts.clock.advance(16 * 60)  # type: ignore[attr-defined]  # tests run on a FakeClock
    refused = app_on_phone.client.post("/v1/terminal/pairings/claim", json={"code": code})

    assert refused.status_code == 422
    assert refused.json()["code"] == "phone_code_refused"


def test_a_revoked_phone_gets_nothing_more(app_on_phone: App) -> None:
    shop = app_on_phone.shop
    owner = shop.make.client_as(shop.merchant_id, Role.OWNER)
    (phone,) = owner.get("/v1/terminal/pairings").json()
    before = app_on_phone.post("/connection_tokens").status_code
    owner.delete(f"/v1/terminal/pairings/{phone['id']}")
    after = [
        app_on_phone.post("/connection_tokens").status_code,
        app_on_phone.post("/payments", {"amount_minor": 1, "currency": "USD"}).status_code,
    ]

    assert before == 201
    assert after == [401, 401]
    assert shop.sandbox.objects("payment_intent") == []


def test_a_phone_of_somebody_who_left_gets_nothing_more(app_on_phone: App) -> None:
    shop = app_on_phone.shop
    with shop.parts.database.transaction() as db:
        db.execute(MEMBERSHIPS.update().values(disabled_at=shop.parts.clock.now()))

    assert app_on_phone.post("/connection_tokens").status_code == 401


def test_connection_tokens_are_counted_and_written_into_the_activity_log(
    app_on_phone: App,
) -> None:
    answers = [app_on_phone.post("/connection_tokens").status_code for _ in range(8)]
    shop = app_on_phone.shop
    owner = shop.make.client_as(shop.merchant_id, Role.OWNER)
    tags = [one["tag"] for one in owner.get("/v1/audit-events?limit=100").json()["items"]]

    assert answers.count(201) == 5
    assert answers[-1] == 429
    assert tags.count("reader:token:create") == 5


def test_an_api_key_without_the_permission_gets_no_token(app_on_phone: App) -> None:
    shop = app_on_phone.shop
    program = shop.make.client_with_key(shop.merchant_id, [Permission.READER_VIEW])
    refused = program.post("/v1/terminal/connection_tokens", json={"location_id": shop.location_id})

    assert refused.status_code == 403


def test_an_owner_gets_the_address_of_apples_terms_and_others_do_not(app_on_phone: App) -> None:
    shop = app_on_phone.shop
    owner = shop.make.client_as(shop.merchant_id, Role.OWNER)
    manager = shop.make.client_as(shop.merchant_id, Role.MANAGER)
    link = owner.post("/v1/terminal/onboarding_link")

    assert link.status_code == 201
    assert link.json()["url"].startswith("http")
    assert manager.post("/v1/terminal/onboarding_link").status_code == 403
