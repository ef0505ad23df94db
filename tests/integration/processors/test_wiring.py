"""Which client a merchant gets."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from control_plane.parts import Parts
from control_plane.virtual_terminal.errors import (
    LiveKeyElsewhere,
    LiveKeyInDemo,
    NotConnected,
    SandboxInLive,
)
from control_plane.virtual_terminal.models import ACCOUNTS
from control_plane.virtual_terminal.processor import Processors
from control_plane.wiring.processors import StripeProcessors
from protocols.secret import Secret
from tests.fixtures.control_plane import Factory
from tests.fixtures.virtual_terminal import Connected


def test_a_merchant_without_an_account_has_no_processor(parts: Parts, make: Factory) -> None:
    merchant_id = make.merchant()

    with pytest.raises(NotConnected):
        parts.get(Processors).of(merchant_id)


def test_a_client_is_kept_as_long_as_key_and_address_stay(connected: Connected) -> None:
    first = connected.processor

    assert connected.processor is first
    _change(connected, secret_key="sk_test_another_key")

    assert connected.processor is not first


def test_a_live_key_never_meets_another_server(connected: Connected) -> None:
    _change(connected, secret_key="sk_live_0123456789")

    with pytest.raises(LiveKeyElsewhere):
        _ = connected.processor
    assert connected.sandbox.objects("_answer") == []


def test_an_installation_in_live_mode_knows_no_sandbox(connected: Connected) -> None:
    live = StripeProcessors(connected.parts.database, "live")

    with pytest.raises(SandboxInLive):
        live.of(connected.merchant_id)


@pytest.mark.parametrize(
    ("key", "base", "mode", "refusal"),
    [
        ("sk_live_0123456789", "http://127.0.0.1:1", "live", LiveKeyElsewhere),
        ("rk_live_0123456789", "", "demo", LiveKeyInDemo),
        ("sk_test_0123456789", "http://127.0.0.1:1", "live", SandboxInLive),
    ],
)
def test_a_key_that_is_not_stored_yet_is_held_to_the_same(
    sqlite_parts: Parts, key: str, base: str, mode: str, refusal: type[Exception]
) -> None:
    processors = StripeProcessors(sqlite_parts.database, mode)

    with pytest.raises(refusal):
        processors.with_key(Secret(key), base)


def _change(connected: Connected, **values: str) -> None:
    with connected.parts.database.connection() as db:
        db.execute(update(ACCOUNTS).where(ACCOUNTS.c.id == connected.account_id).values(**values))
