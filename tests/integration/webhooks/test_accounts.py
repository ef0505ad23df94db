"""Connecting an account, and what is refused. Its keys are sealed in the database."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Role
from control_plane.sandbox.faults import FaultKind
from control_plane.virtual_terminal import accounts
from control_plane.virtual_terminal.accounts import Accounts, Keys, refuse_mismatch
from control_plane.virtual_terminal.errors import (
    AlreadyConnected,
    KeyRefused,
    LiveKeyElsewhere,
    LiveKeyInDemo,
    NotConnected,
    PaymentsOpen,
    SandboxInLive,
)
from control_plane.virtual_terminal.processor import Processors
from protocols.secret import Secret
from tests.fixtures.virtual_terminal import Connected
from tests.support.counter_reader import counter_of
from tests.support.stripe_sandbox import PUBLISHABLE_KEY, SECRET_KEY

LIVE = "sk_" + "live_0123456789"


def keys(shop: Connected, **changes: object) -> Keys:
    wanted: dict[str, object] = {
        "secret_key": Secret(SECRET_KEY),
        "publishable_key": PUBLISHABLE_KEY,
        "api_base": shop.sandbox.url,
        **changes,
    }
    return Keys(**wanted)  # type: ignore[arg-type]  # names and types are those above


def owner(shop: Connected) -> Caller:
    return shop.make.caller(shop.merchant_id, Role.OWNER)


@pytest.fixture
def fresh(connected: Connected) -> Connected:
    """Not connected yet, on both databases in turn."""
    connected.parts.get(Accounts).disconnect(connected.merchant_id, owner(connected).actor)
    return connected


def test_a_connected_account_was_asked_who_it_is_and_what_it_may(fresh: Connected) -> None:
    account = fresh.parts.get(Accounts).connect(
        fresh.merchant_id,
        owner(fresh).actor,
        keys(fresh),
        webhook_url="https://shop.example/webhooks/stripe",
    )

    assert (account.account_id, account.livemode) == ("acct_1Sandbox00000001", False)
    assert (account.country, account.default_currency) == ("US", "USD")
    assert account.moto_enabled is True
    assert account.webhook_secrets == 1
    (endpoint,) = fresh.sandbox.objects("webhook_endpoint")
    assert endpoint["url"] == f"https://shop.example/webhooks/stripe/{account.id}"
    assert "terminal.reader.action_failed" in endpoint["enabled_events"]


def test_keys_are_sealed_where_they_are_stored(fresh: Connected) -> None:
    fresh.parts.get(Accounts).connect(
        fresh.merchant_id,
        owner(fresh).actor,
        keys(fresh, webhook_secret=Secret("whsec_sealed_0123456789")),
    )
    with fresh.parts.database.reading_connection() as db:
        row = db.execute(text("SELECT secret_key, webhook_secrets FROM processor_account")).one()

    assert SECRET_KEY not in row.secret_key
    assert "whsec" not in row.webhook_secrets
    assert fresh.parts.get(Processors).of(fresh.merchant_id).account().id == "acct_1Sandbox00000001"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"secret_key": Secret("pk_test_omnitill")}, "secret_key"),
        ({"secret_key": Secret("hello")}, "secret_key"),
        ({"publishable_key": "hello"}, "publishable_key"),
        ({"publishable_key": "pk_" + "live_0123"}, "publishable_key"),
        ({"webhook_secret": Secret("hello")}, "webhook_secret"),
        ({"api_base": "ftp://elsewhere"}, "api_base"),
    ],
)
def test_what_cannot_be_a_key_is_refused_beside_its_field_and_not_stored(
    fresh: Connected, change: dict[str, object], field: str
) -> None:
    with pytest.raises(KeyRefused) as refused:
        fresh.parts.get(Accounts).connect(
            fresh.merchant_id, owner(fresh).actor, keys(fresh, **change)
        )

    assert refused.value.facts["field"] == field
    with fresh.parts.database.reading() as db:
        assert accounts.account_of(db, fresh.merchant_id) is None


@pytest.mark.parametrize(
    ("key", "base", "mode", "error"),
    [
        (LIVE, "http://127.0.0.1:1", "live", LiveKeyElsewhere),
        (LIVE, "https://api.stripe.com.evil.example", "live", LiveKeyElsewhere),
        (LIVE, "", "demo", LiveKeyInDemo),
        (LIVE, "", "test", LiveKeyInDemo),
        (SECRET_KEY, "http://127.0.0.1:1", "live", SandboxInLive),
    ],
)
def test_real_money_goes_to_stripe_alone_and_play_money_never_where_it_is_real(
    key: str, base: str, mode: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        refuse_mismatch(key, base, mode)


@pytest.mark.parametrize(
    ("key", "base", "mode"),
    [
        (LIVE, "", "live"),
        (LIVE, "https://api.stripe.com", "live"),
        (SECRET_KEY, "", "live"),
        (SECRET_KEY, "http://127.0.0.1:1", "demo"),
    ],
)
def test_what_goes_together_is_taken(key: str, base: str, mode: str) -> None:
    refuse_mismatch(key, base, mode)


def test_another_account_does_not_slip_in_under_a_connected_one(
    sqlite_connected: Connected,
) -> None:
    shop = sqlite_connected
    with shop.parts.database.transaction() as db:
        db.execute(text("UPDATE processor_account SET account_id = 'acct_other'"))
    with pytest.raises(AlreadyConnected):
        shop.parts.get(Accounts).connect(shop.merchant_id, owner(shop).actor, keys(shop))


def test_a_closed_gate_is_found_when_it_is_asked_for_again(sqlite_connected: Connected) -> None:
    shop = sqlite_connected
    engine = shop.sandbox.engine
    engine.settings = type(engine.settings)(
        **{
            name: getattr(engine.settings, name)
            for name in engine.settings.__dataclass_fields__
            if name != "moto_enabled"
        },
        moto_enabled=False,
    )
    account = shop.parts.get(Accounts).probe(shop.merchant_id, owner(shop).actor)

    assert account.moto_enabled is False
    assert shop.sandbox.taken() == []


def test_an_account_that_does_not_answer_is_not_taken_for_a_refusal(fresh: Connected) -> None:
    fresh.sandbox.fault(FaultKind.SERVER_ERROR, "GET /v1/account*", times=100)
    with pytest.raises(Exception, match="does not answer"):
        fresh.parts.get(Accounts).connect(fresh.merchant_id, owner(fresh).actor, keys(fresh))

    with fresh.parts.database.reading() as db:
        assert accounts.account_of(db, fresh.merchant_id) is None


def test_an_account_is_not_let_go_while_payments_wait_for_their_outcome(
    sqlite_connected: Connected,
) -> None:
    shop = sqlite_connected
    counter = counter_of(shop)
    counter.sell()
    book = shop.parts.get(Accounts)
    with pytest.raises(PaymentsOpen):
        book.disconnect(shop.merchant_id, owner(shop).actor)
    counter.tap()
    counter.look()
    book.disconnect(shop.merchant_id, owner(shop).actor)

    with pytest.raises(NotConnected):
        shop.parts.get(Processors).of(shop.merchant_id)
