"""The customer gets the customer's copy, and nobody a card number."""

from __future__ import annotations

from agent.receipts import Receipts
from protocols.readers.protocol import Printed


def copies(*pieces: Printed) -> tuple[tuple[str, ...], tuple[str, ...]]:
    receipts = Receipts()
    for piece in pieces:
        receipts.add(piece)
    return receipts.copies()


def test_marked_copies_go_where_they_belong_in_any_order() -> None:
    customer = Printed(("for you",), "customer", complete=True)
    merchant = Printed(("for us",), "merchant", complete=True)

    assert copies(customer, merchant) == (("for you",), ("for us",))
    assert copies(merchant, customer) == (("for you",), ("for us",))


def test_of_unmarked_receipts_the_last_is_the_customers() -> None:
    first, second = (Printed((text,), None, complete=True) for text in ("one", "two"))

    assert copies(first, second) == (("two",), ("one",))
    assert copies(first) == (("one",), ())


def test_pieces_of_one_receipt_are_joined() -> None:
    pieces = [Printed((text,), None) for text in "ab"]

    assert copies(*pieces, Printed(("c",), None, complete=True)) == (("a", "b", "c"), ())


def test_a_piece_of_another_kind_begins_a_new_receipt() -> None:
    assert copies(Printed(("a",), "merchant"), Printed(("b",), "customer")) == (("b",), ("a",))


def test_nothing_printed_is_no_receipt() -> None:
    assert copies() == ((), ())


def test_a_card_number_is_masked_and_a_flood_is_cut() -> None:
    flood = Printed(("PAN 4111 1111 1111 1111",) + ("x",) * 5000, "customer", complete=True)

    customer, shop = copies(flood, Printed(("y",), "merchant", complete=True))

    assert "4111 1111 1111 1111" not in customer[0]
    assert (len(customer), shop) == (500, ())
