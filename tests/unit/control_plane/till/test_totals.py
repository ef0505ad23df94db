"""Sums of a sale: lines, taxes, tip."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.errors import RequestRefused
from control_plane.till.totals import AskedLine, Line, lines_of, tip_of, total
from control_plane.till.values import TaxMode, TaxRate, TillItem, TillSettings
from protocols.money import Money

VAT = TaxRate("tax_1", "VAT 20", Decimal(20), TaxMode.INCLUSIVE)
SALES = TaxRate("tax_2", "Sales tax", Decimal("8.875"), TaxMode.ADDED)
SETTINGS = TillSettings(
    merchant_id="mer_1", currency="EUR", currencies=("EUR",), taxes=(VAT, SALES), default_tax=VAT
)
COFFEE = TillItem(id="itm_1", name="Coffee", price=Money(250, "EUR"))

RATES = st.builds(
    lambda percent, mode: TaxRate(f"{percent}{mode}", "Tax", percent, mode),
    st.decimals(0, 100, places=4),
    st.sampled_from(TaxMode),
)


def lines_in(currency: str) -> st.SearchStrategy[list[Line]]:
    one = st.builds(
        lambda minor, quantity, tax: Line(
            name="Thing", unit=Money(minor, currency), quantity=quantity, tax=tax
        ),
        st.integers(1, 10_000_000),
        st.integers(1, 9_999),
        st.none() | RATES,
    )
    return st.lists(one, min_size=1, max_size=8)


def test_a_price_with_tax_in_it_stays_what_it_is() -> None:
    counted = total([Line(name="Coffee", unit=Money(250, "EUR"), quantity=3, tax=VAT)])

    assert counted.total == Money(750, "EUR")
    assert (counted.net, counted.tax) == (Money(625, "EUR"), Money(125, "EUR"))


def test_a_tax_that_is_added_comes_on_top_of_the_price() -> None:
    counted = total([Line(name="Bagel", unit=Money(400, "USD"), tax=SALES)])

    # 4.00 x 8.875 % = 0.355, of which the half cent goes up.
    assert counted.tax == Money(36, "USD")
    assert counted.total == Money(436, "USD")


def test_each_line_is_rounded_by_itself() -> None:
    ten_cents = Line(name="Sweet", unit=Money(10, "EUR"), tax=TaxRate("t", "T", Decimal(5), TaxMode.ADDED))  # fmt: skip

    counted = total([ten_cents, ten_cents])

    # 0.5 cents each: one cent twice, not one cent for both.
    assert counted.tax == Money(2, "EUR")


def test_taxes_are_summed_for_each_rate() -> None:
    counted = total(
        [
            Line(name="Coffee", unit=Money(250, "EUR"), tax=VAT),
            Line(name="Book", unit=Money(1_000, "EUR"), tax=SALES),
            Line(name="Tea", unit=Money(350, "EUR"), tax=VAT),
            Line(name="Stamp", unit=Money(100, "EUR")),
        ]
    )

    assert [(one.rate, one.net.minor, one.tax.minor) for one in counted.taxes] == [
        (VAT, 208 + 292, 42 + 58),
        (SALES, 1_000, 89),
    ]


def test_a_tip_is_on_top_and_no_tax_is_on_it() -> None:
    counted = total([Line(name="Coffee", unit=Money(250, "EUR"), tax=VAT)], Money(50, "EUR"))

    assert counted.total == Money(300, "EUR")
    assert counted.tax == Money(42, "EUR")


def test_a_tip_in_percent_is_rounded_half_up() -> None:
    assert tip_of(Money(1_050, "EUR"), Decimal("5")) == Money(53, "EUR")
    assert tip_of(Money(333, "JPY"), Decimal("12.5")) == Money(42, "JPY")


@pytest.mark.parametrize("currency", ["EUR", "JPY", "KWD"])
@given(data=st.data(), tip=st.integers(0, 1_000_000))
def test_the_parts_always_add_up(currency: str, data: st.DataObject, tip: int) -> None:
    lines = data.draw(lines_in(currency))

    counted = total(lines, Money(tip, currency))

    assert counted.net + counted.tax + counted.tip == counted.total
    assert sum(one.total.minor for one in counted.lines) + tip == counted.total.minor
    assert sum(one.tax.minor for one in counted.taxes) == counted.tax.minor
    assert all(one.net + one.tax == one.total for one in counted.lines)


@given(data=st.data())
def test_a_tax_is_never_more_than_half_a_unit_from_exact(data: st.DataObject) -> None:
    line = data.draw(lines_in("EUR"))[0]

    one = total([line]).lines[0]

    percent = Decimal(0) if line.tax is None else line.tax.percent
    assert abs(one.net.minor * percent - one.tax.minor * 100) <= 50 + percent / 2


@given(data=st.data())
def test_the_order_of_lines_changes_no_sum(data: st.DataObject) -> None:
    lines = data.draw(lines_in("EUR"))
    shuffled = data.draw(st.permutations(lines))

    one, other = total(lines), total(shuffled)

    assert (one.net, one.tax, one.total) == (other.net, other.tax, other.total)


def test_the_price_of_an_item_is_the_catalogues() -> None:
    asked = [AskedLine(item_id="itm_1", quantity=2, unit=Money(1, "EUR"), name="Cheap")]

    (line,) = lines_of(SETTINGS, [COFFEE], asked)

    assert (line.name, line.unit, line.tax) == ("Coffee", Money(250, "EUR"), VAT)


@pytest.mark.parametrize(
    "asked",
    [
        AskedLine(item_id="itm_9"),
        AskedLine(item_id="itm_1", quantity=0),
        AskedLine(item_id="itm_1", quantity=10_000),
        AskedLine(name="Free", unit=Money(0, "EUR")),
        AskedLine(name="Back", unit=Money(-100, "EUR")),
        AskedLine(name="Nothing"),
        AskedLine(name="Taxed", unit=Money(1, "EUR"), tax_id="tax_9"),
    ],
    ids=["gone", "none of it", "too many", "free", "negative", "no price", "no such tax"],
)
def test_a_line_that_makes_no_sense_is_refused(asked: AskedLine) -> None:
    with pytest.raises(RequestRefused):
        lines_of(SETTINGS, [COFFEE], [asked])


def test_an_item_that_is_no_longer_sold_is_refused() -> None:
    gone = TillItem(id="itm_1", name="Coffee", price=Money(250, "EUR"), active=False)

    with pytest.raises(RequestRefused):
        lines_of(SETTINGS, [gone], [AskedLine(item_id="itm_1")])


def test_two_currencies_do_not_mix_on_one_sale() -> None:
    with pytest.raises(RequestRefused):
        total([Line(name="A", unit=Money(1, "EUR")), Line(name="B", unit=Money(1, "USD"))])


def test_a_sum_that_no_bank_can_carry_is_refused() -> None:
    with pytest.raises(RequestRefused):
        total([Line(name="Yacht", unit=Money(999_999_999_999, "EUR"), quantity=2)])


def test_what_is_stored_of_a_line_is_exact() -> None:
    stored = total([Line(name="Bagel", unit=Money(400, "USD"), tax=SALES)]).lines[0].stored()

    assert stored == {
        "name": "Bagel", "quantity": 1, "unit_minor": 400, "tax_rate": "8.875",
        "tax_name": "Sales tax", "tax_minor": 36, "total_minor": 436, "item_id": None,
    }  # fmt: skip
