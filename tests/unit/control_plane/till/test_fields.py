"""Checking what is written into a merchant's own fields."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.till.fields import check_fields, example_of, reference_of, searchable
from control_plane.till.values import Channel, FieldKind, TillField, TillSettings


def settings_with(*fields: TillField) -> TillSettings:
    return TillSettings(merchant_id="mer_1", currency="EUR", currencies=("EUR",), fields=fields)


def field(kind: FieldKind = FieldKind.TEXT, **more: object) -> TillField:
    values = {"id": "fld_1", "key": "thing", "label_en": "Thing", "label_fr": "Chose", **more}
    return TillField(kind=kind, **values)  # type: ignore[arg-type]  # the tests name real fields


@pytest.mark.parametrize(
    ("kind", "written", "kept"),
    [
        (FieldKind.TEXT, "  a   b\t", "a b"),
        (FieldKind.TEXT, "a\x00b", "a b"),
        (FieldKind.NUMBER, "1 234,50", "1234.50"),
        (FieldKind.DATE, "2026-11-23", "2026-11-23"),
        (FieldKind.POSTAL_CODE, "sw1a 1aa", "SW1A 1AA"),
        (FieldKind.EMAIL, "Ada@Example.COM", "ada@example.com"),
        (FieldKind.ORDER_NUMBER, "A-1042/7", "A-1042/7"),
    ],
)
def test_a_value_is_kept_in_one_form(kind: FieldKind, written: str, kept: str) -> None:
    checked = check_fields(settings_with(field(kind)), "keyed", {"thing": written})

    assert checked.clean == {"thing": kept}
    assert checked.problems == {}


@pytest.mark.parametrize(
    ("kind", "written", "said"),
    [
        (FieldKind.NUMBER, "twelve", "Write Thing as a number, like 12.5."),
        (FieldKind.NUMBER, "Infinity", "Write Thing as a number, like 12.5."),
        (FieldKind.DATE, "23/11/2026", "Write Thing as a day, like 2026-11-23."),
        (FieldKind.POSTAL_CODE, "?", "Write Thing like 75011."),
        (FieldKind.EMAIL, "ada", "Write Thing like name@example.com."),
        (FieldKind.ORDER_NUMBER, "--", "Write Thing like 1042."),
        (FieldKind.TEXT, "x" * 201, "Write Thing in at most 200 characters."),
    ],
)
def test_a_value_of_another_form_is_not_kept(kind: FieldKind, written: str, said: str) -> None:
    checked = check_fields(settings_with(field(kind)), "keyed", {"thing": written})

    assert checked.clean == {}
    assert str(checked.problems["thing"]) == said


def test_a_choice_is_one_of_the_list() -> None:
    settings = settings_with(field(FieldKind.CHOICE, choices=("Shop", "Phone")))

    assert check_fields(settings, "keyed", {"thing": "Phone"}).clean == {"thing": "Phone"}
    assert "thing" in check_fields(settings, "keyed", {"thing": "phone"}).problems


def test_a_field_is_asked_for_only_where_it_is_required() -> None:
    settings = settings_with(field(required_for=frozenset({Channel.KEYED})))

    assert str(check_fields(settings, "keyed", {}).problems["thing"]) == "Write Thing."
    assert check_fields(settings, "reader", {"thing": "  "}).problems == {}


def test_what_is_no_field_is_not_kept() -> None:
    checked = check_fields(settings_with(field()), "keyed", {"other": "1", "thing": "2"})

    assert checked.clean == {"thing": "2"}


def test_a_pattern_tells_an_example_of_itself() -> None:
    settings = settings_with(field(FieldKind.ORDER_NUMBER, pattern="AA-9999.*"))

    refused = check_fields(settings, "keyed", {"thing": "1042"}).problems["thing"]

    assert refused.example == "AB-1234.A"
    assert check_fields(settings, "keyed", {"thing": refused.example}).problems == {}
    assert check_fields(settings, "keyed", {"thing": "AB-1234xA"}).problems


@given(
    st.text("9A*-/. #", min_size=1, max_size=30).filter(lambda text: text == " ".join(text.split()))
)
def test_the_example_of_every_pattern_fits_it(pattern: str) -> None:
    settings = settings_with(field(pattern=pattern))

    assert check_fields(settings, "keyed", {"thing": example_of(pattern)}).problems == {}


@given(st.sampled_from(FieldKind), st.text(max_size=300))
def test_any_text_is_kept_or_explained(kind: FieldKind, text: str) -> None:
    checked = check_fields(settings_with(field(kind, choices=("A", "B"))), "link", {"thing": text})

    assert len(checked.clean) + len(checked.problems) <= 1
    assert "\x00" not in checked.clean.get("thing", "")


def test_a_problem_is_told_with_the_label_of_the_language() -> None:
    problem = check_fields(
        settings_with(field(required_for=frozenset(Channel))), "keyed", {}
    ).problems["thing"]

    assert problem.said("Indiquez : {label}.", "fr") == "Indiquez : Chose."


def test_the_order_number_is_the_reference() -> None:
    order = field(FieldKind.ORDER_NUMBER, key="order")
    settings = settings_with(field(searchable=False), order)

    assert reference_of(settings, {"thing": "x", "order": "1042"}) == "1042"
    assert reference_of(settings, {"thing": "x"}) == ""
    assert searchable(settings, {"thing": "x", "order": "1042"}) == {"order": "1042"}
