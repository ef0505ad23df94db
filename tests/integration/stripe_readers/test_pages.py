"""Pages of readers, phones and the account, without a browser."""

from __future__ import annotations

from control_plane.accounts.permissions import Role
from control_plane.virtual_terminal import accounts, cloud_readers, pairing
from control_plane.virtual_terminal.accounts import Accounts
from tests.fixtures.virtual_terminal import Connected
from tests.support.counter_reader import ADDRESS, Counter
from tests.support.stripe_sandbox import PUBLISHABLE_KEY, SECRET_KEY


def test_an_owner_registers_a_reader_by_its_words_and_finds_it_in_the_list(
    sqlite_connected: Connected,
) -> None:
    shop = sqlite_connected
    browser = shop.make.client_as(shop.merchant_id, Role.OWNER)
    form = {"code": "simulated-wpe", "name": "Counter 1", "location": shop.location_id, **ADDRESS}
    asked = browser.get("/readers/add/stripe")
    made = browser.post("/readers/add/stripe", data=form)
    listed = browser.get("/readers")

    assert asked.status_code == 200
    assert made.status_code == 200
    assert "Counter 1" in made.text
    assert "simulated" in made.text
    assert "Counter 1" in listed.text


def test_a_code_that_stripe_does_not_take_is_explained_beside_its_field(
    sqlite_connected: Connected,
) -> None:
    shop = sqlite_connected
    browser = shop.make.client_as(shop.merchant_id, Role.OWNER)
    form = {"code": "no such words", "location": shop.location_id, **ADDRESS}
    refused = browser.post("/readers/add/stripe", data=form)

    assert refused.status_code == 422
    assert 'id="code-why"' in refused.text
    assert "no such words" in refused.text
    with shop.parts.database.reading() as db:
        caller = shop.make.caller(shop.merchant_id, Role.OWNER)
        assert cloud_readers.readers(db, caller.scope) == []


def test_a_shop_without_an_address_is_asked_for_it(sqlite_connected: Connected) -> None:
    shop = sqlite_connected
    browser = shop.make.client_as(shop.merchant_id, Role.OWNER)
    refused = browser.post(
        "/readers/add/stripe", data={"code": "simulated-wpe", "location": shop.location_id}
    )

    assert refused.status_code == 422
    assert 'id="address-why"' in refused.text
    assert shop.sandbox.objects("terminal.location") == []


def test_a_reader_is_renamed_and_removed_on_its_page(counter: Counter) -> None:
    shop = counter.shop
    browser = shop.make.client_as(shop.merchant_id, Role.OWNER)
    page = f"/readers/stripe/{counter.reader.id}"
    renamed = browser.post(f"{page}/rename", data={"name": "Window"})
    removed = browser.post(f"{page}/remove")

    assert "Window" in renamed.text
    assert removed.url.path == "/readers"
    assert "Window" not in removed.text
    assert browser.get(page).status_code == 404


def test_a_reader_with_a_payment_is_not_removed(counter: Counter) -> None:
    shop = counter.shop
    browser = shop.make.client_as(shop.merchant_id, Role.OWNER)
    counter.sell()
    refused = browser.post(f"/readers/stripe/{counter.reader.id}/remove")

    assert refused.status_code == 409
    assert "Another payment is running on Counter 1." in refused.text
    assert counter.action() is not None


def test_a_cashier_sees_readers_and_changes_none(counter: Counter) -> None:
    shop = counter.shop
    browser = shop.make.client_as(shop.merchant_id, Role.CASHIER)

    assert browser.get(f"/readers/stripe/{counter.reader.id}").status_code == 200
    assert browser.get("/readers/add/stripe").status_code == 403
    assert browser.post(f"/readers/stripe/{counter.reader.id}/remove").status_code == 403
    assert browser.get("/settings/payments").status_code == 403


def test_a_phone_is_paired_with_a_code_that_is_drawn_once(sqlite_connected: Connected) -> None:
    shop = sqlite_connected
    browser = shop.make.client_as(shop.merchant_id, Role.OWNER)
    drawn = browser.post("/readers/phones", data={"name": "Terrace", "location": shop.location_id})
    later = browser.get("/readers/phones")

    assert "<svg" in drawn.text
    assert 'class="code-big"' in drawn.text
    assert 'class="code-big"' not in later.text
    assert "Terrace" in later.text
    with shop.parts.database.reading() as db:
        caller = shop.make.caller(shop.merchant_id, Role.OWNER)
        (phone,) = pairing.phones(db, caller.scope)
    revoked = browser.post(f"/readers/phones/{phone.id}/revoke")
    assert "Revoked" in revoked.text


def test_the_page_of_the_account_tells_what_is_connected_in_both_languages(
    sqlite_connected: Connected,
) -> None:
    shop = sqlite_connected
    browser = shop.make.client_as(shop.merchant_id, Role.OWNER)
    english = browser.get("/settings/payments")
    browser.cookies.set("omnitill-language", "fr")
    french = browser.get("/settings/payments")

    assert "acct_1Sandbox00000001" in english.text
    assert "This is the sandbox" in english.text
    assert f"/webhooks/stripe/{shop.account_id}" in english.text
    assert SECRET_KEY not in english.text
    assert "C’est le bac à sable" in french.text


def test_an_owner_connects_an_account_on_the_page(sqlite_connected: Connected) -> None:
    shop = sqlite_connected
    owner = shop.make.caller(shop.merchant_id, Role.OWNER)
    shop.parts.get(Accounts).disconnect(shop.merchant_id, owner.actor)
    browser = shop.make.client_as(shop.merchant_id, Role.OWNER)
    keys = {"secret_key": SECRET_KEY, "publishable_key": PUBLISHABLE_KEY}
    refused = browser.post("/settings/payments/connect", data={**keys, "secret_key": "pk_test_x"})
    made = browser.post("/settings/payments/connect", data={**keys, "api_base": shop.sandbox.url})

    assert refused.status_code == 422
    assert "This is the publishable key." in refused.text
    assert "Connected" in made.text
    assert "Cards can be typed in" in made.text
    with shop.parts.database.reading() as db:
        account = accounts.account_of(db, shop.merchant_id)
    assert account is not None
    assert account.webhook_secrets == 1
