"""How a till is set up, on both databases: what is written is read again, checked and logged."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from control_plane.accounts.caller import Caller
from control_plane.accounts.errors import RightsNotYours
from control_plane.accounts.permissions import Role
from control_plane.audit.service import EVENTS
from control_plane.errors import DomainError, NotFound
from control_plane.parts import Parts
from control_plane.till import queries, service
from control_plane.till.errors import (
    AmountMissing,
    ChoicesMissing,
    CurrencyUnknown,
    KeyForm,
    KeyTaken,
    MethodsMissing,
    MinutesRange,
    NameMissing,
    OwnLimits,
    PercentRange,
    QuickKeyRange,
    TaxGone,
    TooManyTips,
)
from control_plane.till.item_files import Imported, export, import_items
from control_plane.till.limits import NO_LIMITS, MemberLimits
from control_plane.till.models import FIELDS, PRESETS
from control_plane.till.values import (
    Channel,
    CheckPolicy,
    Colour,
    FieldKind,
    TaxMode,
    TaxRate,
    TillField,
    TillItem,
    TillPreset,
)
from control_plane.transactions import found_by
from protocols.money import Money
from tests.fixtures.control_plane import Factory

VAT = TaxRate("", "VAT 20", Decimal(20), TaxMode.INCLUSIVE)
COFFEE = TillItem(id="", name="Coffee", price=Money(250, "EUR"), code="C1")
RETAINER = TillPreset(id="", name="Monthly retainer", amount=Money(15_000, "EUR"), quick_key=1)
ORDER = TillField(
    id="", key="order_number", label_en="Order number", label_fr="N° de commande",
    kind=FieldKind.ORDER_NUMBER, required_for=frozenset({Channel.KEYED, Channel.LINK}),
)  # fmt: skip


@pytest.fixture
def manager(make: Factory) -> Caller:
    return make.caller(make.merchant(), Role.MANAGER)


@pytest.fixture
def stranger(make: Factory) -> Caller:
    return make.caller(make.merchant("Other"), Role.OWNER)


def tags(parts: Parts, caller: Caller) -> list[str]:
    with parts.database.reading() as db:
        mine = EVENTS.select().where(EVENTS.c.merchant_id == caller.merchant_id)
        rows = db.execute(mine.order_by(EVENTS.c.seq))
        return [row.tag for row in rows if row.tag.startswith(("till:", "user:limits"))]


def test_a_till_that_nobody_set_up_has_the_defaults(parts: Parts, manager: Caller) -> None:
    with parts.database.reading_connection() as db:
        settings = queries.settings_of(db, manager.merchant_id)
        catalogue = queries.catalogue_of(db, manager.merchant_id)

    assert settings.currencies == ("EUR",)
    assert settings.duplicate_window == timedelta(minutes=10)
    assert settings.cvc_check is CheckPolicy.BLOCK
    assert (settings.fields, catalogue.items, catalogue.presets) == ((), (), ())


def test_what_is_set_holds_and_is_logged_once(parts: Parts, manager: Caller) -> None:
    with parts.database.transaction() as db:
        tax_id = service.save_tax(db, manager, VAT)
    with parts.database.transaction() as db:
        before = queries.settings_of(db, manager.merchant_id)
        wanted = replace(
            before,
            currencies=("USD", "EUR", "JPY"),
            tip_percents=(Decimal(15), Decimal("12.5")),
            default_tax=before.taxes[0],
            refund_limits={"EUR": 10_000},
            charge_limits={"EUR": 500_000, "JPY": 500_000},
            cvc_check=CheckPolicy.ASK,
            moto=True,
            duplicate_window=timedelta(0),
            link_life=timedelta(hours=24),
        )
        service.update_settings(db, manager, wanted)
    with parts.database.transaction() as db:
        service.update_settings(db, manager, queries.settings_of(db, manager.merchant_id))

    with parts.database.reading() as db:
        after = queries.settings_of(db, manager.merchant_id)
    assert after == replace(
        wanted, currencies=("EUR", "USD", "JPY"), tip_percents=(Decimal("12.5"), Decimal(15))
    )
    assert after.default_tax is not None
    assert after.default_tax.id == tax_id
    assert tags(parts, manager) == ["till:tax:create", "till:settings:update"]


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"currencies": ("EUR", "XXX")}, CurrencyUnknown),
        ({"tip_percents": (Decimal(0),)}, PercentRange),
        ({"tip_percents": (Decimal("10.00001"),)}, PercentRange),
        ({"tip_percents": tuple(map(Decimal, range(5, 10)))}, TooManyTips),
        ({"default_tax": TaxRate("tax_9", "x", Decimal(1), TaxMode.ADDED)}, TaxGone),
        ({"refund_limits": {"EUR": -1}}, AmountMissing),
        ({"charge_limits": {"XXX": 1}}, CurrencyUnknown),
        ({"duplicate_window": timedelta(days=2)}, MinutesRange),
        ({"link_life": timedelta(0)}, MinutesRange),
    ],
)
def test_a_setting_without_sense_is_refused_and_changes_nothing(
    parts: Parts, manager: Caller, change: dict[str, object], refusal: type[DomainError]
) -> None:
    with parts.database.reading() as db:
        before = queries.settings_of(db, manager.merchant_id)

    with pytest.raises(refusal), parts.database.transaction() as db:
        service.update_settings(db, manager, replace(before, **change))  # type: ignore[arg-type]  # each is a field's value

    with parts.database.reading() as db:
        assert queries.settings_of(db, manager.merchant_id) == before
    assert tags(parts, manager) == []


def test_a_removed_tax_is_taken_from_its_items_and_the_till(parts: Parts, manager: Caller) -> None:
    with parts.database.transaction() as db:
        tax_id = service.save_tax(db, manager, VAT)
        item_id = service.save_item(db, manager, replace(COFFEE, tax_id=tax_id))
        settings = queries.settings_of(db, manager.merchant_id)
        service.update_settings(db, manager, replace(settings, default_tax=settings.taxes[0]))

    with parts.database.transaction() as db:
        service.remove_tax(db, manager, tax_id)

    with parts.database.reading() as db:
        settings = queries.settings_of(db, manager.merchant_id)
        (item,) = queries.items_by_id(db, manager.merchant_id, [item_id])
    assert (settings.taxes, settings.default_tax, item.tax_id) == ((), None, None)


def test_fields_keep_the_order_that_they_are_put_in(parts: Parts, manager: Caller) -> None:
    with parts.database.transaction() as db:
        first = service.save_field(db, manager, ORDER)
        second = service.save_field(db, manager, replace(ORDER, key="room", label_en="Room"))
        third = service.save_field(db, manager, replace(ORDER, key="po", label_en="PO"))
        service.move(db, manager, FIELDS, third, -1)
        service.move(db, manager, FIELDS, first, 5)

    with parts.database.reading() as db:
        fields = queries.settings_of(db, manager.merchant_id).fields
    assert [one.id for one in fields] == [third, second, first]
    assert fields[2] == replace(ORDER, id=first)


@pytest.mark.parametrize(
    ("field", "refusal"),
    [
        (replace(ORDER, label_en=" "), NameMissing),
        (replace(ORDER, key="Order Number"), KeyForm),
        (replace(ORDER, kind=FieldKind.CHOICE, choices=("only",)), ChoicesMissing),
    ],
)
def test_a_field_without_sense_is_refused(
    parts: Parts, manager: Caller, field: TillField, refusal: type[DomainError]
) -> None:
    with pytest.raises(refusal), parts.database.transaction() as db:
        service.save_field(db, manager, field)

    with parts.database.reading() as db:
        assert queries.all_fields(db, manager.merchant_id) == []


def test_a_removed_field_stays_known_and_comes_back_under_its_key(
    parts: Parts, manager: Caller
) -> None:
    with parts.database.transaction() as db:
        field_id = service.save_field(db, manager, ORDER)
        with pytest.raises(KeyTaken):
            service.save_field(db, manager, ORDER)
        service.remove_field(db, manager, field_id)
        assert queries.settings_of(db, manager.merchant_id).fields == ()
        assert [one.key for one in queries.all_fields(db, manager.merchant_id)] == ["order_number"]

    with parts.database.transaction() as db:
        again = service.save_field(db, manager, replace(ORDER, label_en="Order"))

    with parts.database.reading() as db:
        (field,) = queries.settings_of(db, manager.merchant_id).fields
    assert (again, field.label_en) == (field_id, "Order")


def test_a_quick_key_goes_to_the_last_who_asked_for_it(parts: Parts, manager: Caller) -> None:
    with parts.database.transaction() as db:
        service.save_item(db, manager, replace(COFFEE, quick_key=1))
        service.save_item(db, manager, replace(COFFEE, name="Tea", code="", quick_key=1))
        service.save_preset(db, manager, RETAINER)
        service.save_preset(db, manager, replace(RETAINER, name="Setup"))

    with parts.database.reading() as db:
        catalogue = queries.catalogue_of(db, manager.merchant_id)
    assert [item.name for item in catalogue.board] == ["Tea"]
    assert [(one.name, one.quick_key) for one in catalogue.presets] == [
        ("Monthly retainer", None), ("Setup", 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("item", "refusal"),
    [
        (replace(COFFEE, name=""), NameMissing),
        (replace(COFFEE, price=Money(0, "EUR")), AmountMissing),
        (replace(COFFEE, quick_key=25), QuickKeyRange),
        (replace(COFFEE, tax_id="tax_9"), TaxGone),
        (replace(COFFEE, id="itm_9"), NotFound),
    ],
)
def test_an_item_without_sense_is_refused(
    parts: Parts, manager: Caller, item: TillItem, refusal: type[DomainError]
) -> None:
    with pytest.raises(refusal), parts.database.transaction() as db:
        service.save_item(db, manager, item)

    with parts.database.reading() as db:
        assert queries.catalogue_of(db, manager.merchant_id).items == ()


def test_a_code_names_one_item(parts: Parts, manager: Caller) -> None:
    with parts.database.transaction() as db:
        service.save_item(db, manager, COFFEE)

    with pytest.raises(KeyTaken), parts.database.transaction() as db:
        service.save_item(db, manager, replace(COFFEE, name="Tea"))

    with parts.database.reading() as db:
        (item,) = queries.catalogue_of(db, manager.merchant_id).items
    assert item.name == "Coffee"


def test_another_merchant_can_neither_see_nor_change_anything(
    parts: Parts, manager: Caller, stranger: Caller
) -> None:
    with parts.database.transaction() as db:
        item_id = service.save_item(db, manager, COFFEE)
        preset_id = service.save_preset(db, manager, RETAINER)
        field_id = service.save_field(db, manager, ORDER)
        tax_id = service.save_tax(db, manager, VAT)

    with parts.database.transaction() as db:
        with pytest.raises(NotFound):
            service.save_item(db, stranger, replace(COFFEE, id=item_id, name="Mine"))
        with pytest.raises(NotFound):
            service.remove_preset(db, stranger, preset_id)
        with pytest.raises(NotFound):
            service.move(db, stranger, PRESETS, preset_id, 1)
        with pytest.raises(NotFound):
            service.remove_field(db, stranger, field_id)
        with pytest.raises(NotFound):
            service.remove_tax(db, stranger, tax_id)
        with pytest.raises(TaxGone):
            service.save_item(db, stranger, replace(COFFEE, tax_id=tax_id))
        assert queries.items_by_id(db, stranger.merchant_id, [item_id]) == []

    with parts.database.reading() as db:
        catalogue = queries.catalogue_of(db, manager.merchant_id)
    assert (catalogue.items[0].name, len(catalogue.presets)) == ("Coffee", 1)


def test_limits_of_a_member_hold_and_are_logged(parts: Parts, manager: Caller, make: Factory) -> None:  # fmt: skip
    cashier = make.user(manager.merchant_id, Role.CASHIER)
    limits = MemberLimits(
        charge={"EUR": 50_000}, day={"EUR": 200_000}, methods=frozenset({Channel.READER})
    )

    with parts.database.transaction() as db:
        service.set_limits(db, manager, cashier, limits)

    with parts.database.reading() as db:
        assert queries.limits_of(db, manager.merchant_id, cashier) == limits
        assert queries.limits_of(db, manager.merchant_id, manager.id) == NO_LIMITS
        assert queries.all_limits(db, manager.scope) == {cashier: limits}
    assert tags(parts, manager) == ["user:limits:change"]


def test_nobody_sets_limits_of_their_own_or_of_who_has_more_rights(
    parts: Parts, manager: Caller, stranger: Caller, make: Factory
) -> None:
    owner = make.user(manager.merchant_id, Role.OWNER)
    cashier = make.user(manager.merchant_id, Role.CASHIER)

    with parts.database.transaction() as db:
        with pytest.raises(OwnLimits):
            service.set_limits(db, manager, manager.id, MemberLimits(charge={"EUR": 1}))
        with pytest.raises(RightsNotYours):
            service.set_limits(db, manager, owner, MemberLimits(charge={"EUR": 1}))
        with pytest.raises(NotFound):
            service.set_limits(db, stranger, cashier, MemberLimits(charge={"EUR": 1}))
        with pytest.raises(MethodsMissing):
            service.set_limits(db, manager, cashier, MemberLimits(methods=frozenset()))

    with parts.database.reading() as db:
        assert queries.all_limits(db, manager.scope) == {}
    assert tags(parts, manager) == []


def test_what_is_exported_can_be_imported_and_changes_nothing(parts: Parts, manager: Caller) -> None:  # fmt: skip
    with parts.database.transaction() as db:
        tax_id = service.save_tax(db, manager, VAT)
        service.save_item(
            db, manager, replace(COFFEE, tax_id=tax_id, quick_key=3, colour=Colour.PINK)
        )
        service.save_item(db, manager, replace(COFFEE, name="=cmd()", code="", price=Money(500, "JPY")))  # fmt: skip
    with parts.database.transaction() as db:
        settings = queries.settings_of(db, manager.merchant_id)
        file = export(settings, queries.catalogue_of(db, manager.merchant_id).items)

        imported = import_items(db, manager, file.encode(), name="items.csv")

    assert file.splitlines()[1] == "C1,Coffee,2.50,EUR,VAT 20,3,pink,yes"
    assert file.splitlines()[2] == ",'=cmd(),500,JPY,,,plain,yes"
    assert imported == Imported(same=2)
    assert "till:item:import" not in tags(parts, manager)


def test_a_file_changes_what_is_there_and_adds_what_is_not(parts: Parts, manager: Caller) -> None:
    with parts.database.transaction() as db:
        service.save_item(db, manager, replace(COFFEE, quick_key=1))
    file = "Code;Name;Price;Quick_key\r\nC1;Espresso;2,80;2\r\n;Thé;3;1\r\n\r\n".encode("cp1252")

    with parts.database.transaction() as db:
        imported = import_items(db, manager, file, name="items.csv")

    with parts.database.reading() as db:
        items = queries.catalogue_of(db, manager.merchant_id).board
    assert imported == Imported(new=1, changed=1)
    assert [(one.name, one.price.minor, one.quick_key) for one in items] == [
        ("Thé", 300, 1), ("Espresso", 280, 2),
    ]  # fmt: skip
    assert tags(parts, manager)[-1] == "till:item:import"


def test_each_wrong_row_is_told_and_nothing_is_taken(parts: Parts, manager: Caller) -> None:
    file = (
        "name,price,currency,tax,quick_key,colour,sold,code\n"
        "Tea,2.50,EUR,,,,,\n"
        ",1,,,,,,\n"
        "Cake,free,,,,,,\n"
        "Pie,1.234,EUR,,,,,\n"
        "Milk,1,XXX,,,,,\n"
        "Bun,1,,VAT 7,99,mauve,perhaps,A1\n"
        "Bap,1,,,,,,A1\n"
    )

    with parts.database.transaction() as db:
        imported = import_items(db, manager, file.encode(), name="items.csv")

    assert [(one.line, one.column) for one in imported.problems] == [
        (3, "name"), (4, "price"), (5, "price"), (6, "currency"), (7, "tax"), (7, "quick_key"),
        (7, "colour"), (7, "sold"), (8, "code"),
    ]  # fmt: skip
    assert str(imported.problems[1]) == "“free” is no price above zero in EUR. Write it like 12.34."
    assert str(imported.problems[-1]) == "“A1” is also in line 7."
    with parts.database.reading() as db:
        assert queries.catalogue_of(db, manager.merchant_id).items == ()
    assert tags(parts, manager) == []


@pytest.mark.parametrize(
    "file",
    [b"", b"\x89PNG\r\n\x1a\n\x00", b"name,cost\nTea,1\n", b"name,price,name\n", b"\xff" * 9],
)
def test_what_is_no_table_of_items_is_refused(parts: Parts, manager: Caller, file: bytes) -> None:
    with pytest.raises(DomainError) as refused, parts.database.transaction() as db:
        import_items(db, manager, file, name="x")

    assert refused.value.facts["field"] == "file"


def test_a_payment_is_found_by_the_beginning_of_a_value(
    parts: Parts, manager: Caller, stranger: Caller
) -> None:
    with parts.database.transaction() as db:
        found_by.remember(db, manager.merchant_id, "pay_1", {"po": "Élan-42", "room": " "})
        found_by.remember(db, manager.merchant_id, "pay_2", {"po": "Zoo"})
        found_by.remember(db, manager.merchant_id, "pay_2", {"po": "elan-43"})
        found_by.remember(db, stranger.merchant_id, "pay_3", {"po": "elan-44"})

    def found(text: str) -> list[str]:
        with parts.database.reading() as db:
            return sorted(db.execute(found_by.payments_with(manager.merchant_id, text)).scalars())

    assert found("ELAN") == ["pay_1", "pay_2"]
    assert found("élan-42") == ["pay_1"]
    assert found("lan") == []
    assert found("Zoo") == []
    assert found("%") == []
