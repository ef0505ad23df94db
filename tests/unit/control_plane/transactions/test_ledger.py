"""Rows of the ledger from what devices report."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from control_plane.transactions.ledger import DEVICE_COLUMNS, device_row, transaction_id
from control_plane.transactions.models import TRANSACTIONS
from protocols.ids import new_id, uuid7
from tests.fakes.device_outbox import sale

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def columns_of(**changes: object) -> dict[str, object]:
    row = device_row(
        "tx_1", "mer_1", "loc_1", "dev-1", sale(**changes),
        digest="d" * 32, epoch=3, seq=9, occurred_at=NOW, received_at=NOW, original_id=None,
    )  # fmt: skip
    return dict(zip(DEVICE_COLUMNS, row, strict=True))


def test_a_sale_fills_the_columns_of_its_names() -> None:
    columns = columns_of(reference="order 7", session_id="ts_0001", cashier_id="usr_1")

    assert columns["kind"] == "sale"
    assert columns["status"] == "approved"
    assert (columns["amount_minor"], columns["currency"]) == (1234, "EUR")
    assert (columns["source"], columns["external_id"]) == ("reader", "ts_0001")
    assert (columns["card_last4"], columns["card_masked"]) == ("0119", "476173******0119")
    assert columns["receipt"] == "Café Lumière\n12.34 EUR\nAPPROVED"
    assert (columns["epoch"], columns["seq"], columns["message_hash"]) == (3, 9, "d" * 32)
    assert (columns["reference"], columns["cashier_id"]) == ("order 7", "usr_1")
    assert columns["note"] is None


def test_a_mask_without_last_digits_gives_none() -> None:
    assert columns_of(masked_pan="476173******")["card_last4"] is None
    assert columns_of(masked_pan=None)["card_last4"] is None


def test_each_value_goes_into_a_column_that_exists_once() -> None:
    assert len(set(DEVICE_COLUMNS)) == len(DEVICE_COLUMNS)
    assert set(DEVICE_COLUMNS) <= set(TRANSACTIONS.c.keys())
    required = {
        column.name
        for column in TRANSACTIONS.c
        if not column.nullable and column.name not in DEVICE_COLUMNS
    }
    assert required == set()


@given(st.uuids())
def test_an_id_is_made_from_its_uuid_and_from_nothing_else(name: UUID) -> None:
    made = transaction_id(str(name))

    assert made == transaction_id(str(name).upper())
    number = 0
    for character in made.removeprefix("tx_"):
        number = number << 5 | "0123456789abcdefghjkmnpqrstvwxyz".index(character)
    assert number == name.int


def test_ids_look_and_sort_like_our_other_ids() -> None:
    first, second, third = transaction_id(str(uuid7())), new_id("tx"), transaction_id(str(uuid7()))

    assert len(first) == len(second)
    assert first[:10] <= second[:10] <= third[:10]
