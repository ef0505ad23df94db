"""Readers as things: how they are, what they show and ask, who else sees them."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Role
from control_plane.devices.timeline import readers_topic
from control_plane.errors import NotFound
from control_plane.virtual_terminal import cloud_readers
from control_plane.virtual_terminal.cloud_readers import CloudReaderView, ReaderFleet
from control_plane.virtual_terminal.errors import CloudReaderDrivenElsewhere, CloudReaderHeld
from control_plane.virtual_terminal.models import CLOUD_READERS
from control_plane.virtual_terminal.processor import ReaderInput
from tests.support.counter_reader import ADDRESS, Counter


def fleet_of(counter: Counter) -> ReaderFleet:
    return counter.shop.parts.get(ReaderFleet)


def owner_of(counter: Counter) -> Caller:
    return counter.shop.make.caller(counter.shop.merchant_id, Role.OWNER)


def seen(counter: Counter) -> CloudReaderView:
    with counter.shop.parts.database.reading() as db:
        return cloud_readers.reader(db, counter.caller.scope, counter.reader.id)


def test_a_reader_that_falls_silent_is_told_to_pages_that_show_it(any_counter: Counter) -> None:
    counter = any_counter
    told: list[str] = []
    stop = counter.shop.parts.live.listen(
        readers_topic(counter.shop.merchant_id), lambda: told.append("changed")
    )
    fleet_of(counter).sync(counter.shop.merchant_id)
    quiet = list(told)
    counter.unplug()
    fleet_of(counter).sync(counter.shop.merchant_id)
    offline = seen(counter)
    counter.plug_in()
    fleet_of(counter).sync(counter.shop.merchant_id)
    stop()

    assert counter.reader.is_online
    assert quiet == []
    assert not offline.is_online
    assert seen(counter).is_online
    assert len(told) >= 2


def test_a_reader_that_somebody_registered_at_stripe_appears_and_goes(counter: Counter) -> None:
    client = counter.shop.sandbox.server.client().v1
    place = client.terminal.locations.list().data[0]
    made = client.terminal.readers.create(
        {"registration_code": "simulated-s700", "location": place.id, "label": "Elsewhere"}
    )
    fleet_of(counter).sync(counter.shop.merchant_id)
    with counter.shop.parts.database.reading() as db:
        names = [one.name for one in cloud_readers.readers(db, counter.caller.scope)]
    client.terminal.readers.delete(made.id)
    fleet_of(counter).sync(counter.shop.merchant_id)
    with counter.shop.parts.database.reading() as db:
        left = [one.name for one in cloud_readers.readers(db, counter.caller.scope)]

    assert names == ["Counter 1", "Elsewhere"]
    assert left == ["Counter 1"]


def test_the_place_is_made_at_stripe_once(counter: Counter) -> None:
    fleet_of(counter).register(
        owner_of(counter),
        code="simulated-s700",
        name="Counter 2",
        location_id=counter.reader.location_id,
    )

    (place,) = counter.shop.sandbox.objects("terminal.location")
    assert place["address"]["line1"] == ADDRESS["line1"]


def test_what_the_customer_answers_on_the_reader_is_read_back(counter: Counter) -> None:
    fleet = fleet_of(counter)
    asked = (
        ReaderInput(kind="email", title="Your e-mail"),
        ReaderInput(kind="selection", title="A bag?", choices=("Yes", "No"), required=True),
    )
    fleet.ask(counter.caller, counter.reader.id, asked, key="ask_1")
    before = fleet.answers(counter.caller, counter.reader.id).action
    counter.answer()
    after = fleet.answers(counter.caller, counter.reader.id).action

    assert before is not None
    assert before.status == "in_progress"
    assert after is not None
    assert [one["value"] for one in after.inputs] == ["sam@example.com", "Yes"]


def test_a_reader_with_a_sale_shows_and_asks_nothing_else(counter: Counter) -> None:
    counter.sell()
    with pytest.raises(CloudReaderHeld):
        fleet_of(counter).ask(
            counter.caller, counter.reader.id, (ReaderInput(kind="text", title="?"),), key="ask_1"
        )

    action = counter.action()
    assert action is not None
    assert action["type"] == "process_payment_intent"


def test_a_reader_that_an_app_drives_is_listed_and_not_offered(counter: Counter) -> None:
    with counter.shop.parts.database.transaction() as db:
        db.execute(update(CLOUD_READERS).values(device_type="stripe_m2"))
    with pytest.raises(CloudReaderDrivenElsewhere):
        counter.sell()
    with counter.shop.parts.database.reading() as db:
        assert cloud_readers.readers_for_payment(db, counter.caller.scope) == []
        assert len(cloud_readers.readers(db, counter.caller.scope)) == 1
    assert counter.intents() == []


def test_readers_of_another_merchant_and_another_shop_are_not_there(counter: Counter) -> None:
    make, shop = counter.shop.make, counter.shop
    stranger = make.caller(make.merchant("Another"), Role.OWNER)
    elsewhere = make.caller(
        shop.merchant_id, Role.CASHIER, location_ids=[make.location(shop.merchant_id)]
    )
    with shop.parts.database.reading() as db:
        assert cloud_readers.readers(db, stranger.scope) == []
        assert cloud_readers.readers(db, elsewhere.scope) == []
        with pytest.raises(NotFound):
            cloud_readers.reader(db, stranger.scope, counter.reader.id)
        with pytest.raises(NotFound):
            cloud_readers.reader(db, elsewhere.scope, counter.reader.id)
