"""Who is there: what devices say, what their last wills say, and what silence says."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from sqlalchemy import select

from control_plane.audit.actor import SYSTEM
from control_plane.devices import presence, service
from control_plane.devices.lifecycle import DeviceState
from control_plane.devices.models import CONFIGS, READERS
from control_plane.devices.queries import ReaderFilter, reader, readers
from control_plane.devices.status import Reach, Sync, reach_of, sync_of
from protocols.cloud.commands import encode
from protocols.cloud.events import (
    OutboxLevel,
    Presence,
    ReportedConfig,
    ReportedReader,
    ReportedState,
    Telemetry,
)
from protocols.cloud.topics import Channel
from tests.fakes.clock import FakeClock
from tests.fakes.device_outbox import DeviceOutbox
from tests.fakes.fleet import Shop


def say(
    shop: Shop, outbox: DeviceOutbox, state: Literal["online", "offline"], boot: int, conn: int
) -> None:
    shop.say(outbox, Channel.PRESENCE, encode(Presence(state=state, boot=boot, conn=conn)))


def sweep(shop: Shop) -> list[str]:
    with shop.parts.database.connection() as db:
        return presence.show_offline(db)


def is_online(shop: Shop) -> bool:
    return bool(shop.device_row().is_online)


def a_reader(**changes: Any) -> ReportedReader:
    fields: dict[str, Any] = {
        "reader_id": "rd_0001", "name": "counter-1", "profile": "generic-zvt-tcp",
        "address": "tcp://192.0.2.1:20007", "state": "ready",
    }  # fmt: skip
    return ReportedReader(**(fields | changes))


def report(shop: Shop, outbox: DeviceOutbox, *found: ReportedReader, **changes: Any) -> None:
    fields: dict[str, Any] = {
        "ts": shop.clock.now().isoformat(), "boot": 1, "agent_version": "1.2", "accepts": ["cmd.v1"],
        "epoch": 1, "config": ReportedConfig(), "readers": list(found),
        "outbox": OutboxLevel(pending=0, oldest_s=0),
    }  # fmt: skip
    shop.say(outbox, Channel.STATE, encode(ReportedState(**(fields | changes))))


def test_a_device_that_says_so_is_online_at_once_and_active(shop: Shop) -> None:
    outbox = shop.device(state=DeviceState.ENROLLED)

    say(shop, outbox, "online", 1, 1)

    row = shop.device_row()
    assert (row.is_online, row.state, row.last_seen_at) == (
        True,
        DeviceState.ACTIVE,
        shop.clock.now(),
    )
    assert [one.kind for one in shop.events()] == ["device.online"]


def test_a_last_will_shows_only_after_a_pause(shop: Shop, clock: FakeClock) -> None:
    outbox = shop.device()
    say(shop, outbox, "online", 1, 1)
    say(shop, outbox, "offline", 1, 1)

    assert (sweep(shop), is_online(shop)) == ([], True)
    clock.advance(16)
    assert (sweep(shop), is_online(shop)) == (["dev-aaaa"], False)
    assert (sweep(shop), [one.kind for one in shop.events()]) == (
        [],
        ["device.online", "device.offline"],
    )


def test_a_device_that_is_back_within_the_pause_was_never_gone(
    shop: Shop, clock: FakeClock
) -> None:
    outbox = shop.device()
    say(shop, outbox, "online", 1, 1)
    say(shop, outbox, "offline", 1, 1)
    clock.advance(10)
    say(shop, outbox, "online", 1, 2)
    clock.advance(10)

    assert (sweep(shop), is_online(shop)) == ([], True)
    assert [one.kind for one in shop.events()] == ["device.online"]


@pytest.mark.parametrize(("boot", "conn"), [(3, 4), (2, 9), (1, 1)])
def test_the_last_will_of_an_older_connection_says_nothing(
    shop: Shop, clock: FakeClock, boot: int, conn: int
) -> None:
    outbox = shop.device()
    say(shop, outbox, "online", 3, 5)

    say(shop, outbox, "offline", boot, conn)
    clock.advance(20)

    assert (sweep(shop), shop.device_row().presence) == ([], "online")


def test_an_old_greeting_that_comes_again_does_not_raise_the_dead(
    shop: Shop, clock: FakeClock
) -> None:
    outbox = shop.device()
    say(shop, outbox, "online", 1, 1)
    say(shop, outbox, "offline", 1, 1)
    say(shop, outbox, "online", 1, 1)
    clock.advance(20)

    assert sweep(shop) == ["dev-aaaa"]


def test_silence_is_gone_too(shop: Shop, clock: FakeClock) -> None:
    outbox = shop.device()
    say(shop, outbox, "online", 1, 1)
    clock.advance(presence.ONLINE_S + 1)

    assert sweep(shop) == ["dev-aaaa"]
    (_, gone) = shop.events()
    assert gone.facts == {"because": "silence"}


def test_anything_that_is_heard_brings_a_silent_device_back(shop: Shop, clock: FakeClock) -> None:
    outbox = shop.device()
    say(shop, outbox, "online", 1, 1)
    clock.advance(presence.ONLINE_S + 1)
    sweep(shop)

    shop.send(outbox, outbox.sale())

    assert is_online(shop)
    assert shop.device_row().last_seen_at == clock.now()


def test_counters_that_no_database_holds_are_left_alone(shop: Shop) -> None:
    outbox = shop.device()

    say(shop, outbox, "online", 2**64, 1)

    assert (is_online(shop), shop.device_row().boot) == (False, 0)


def test_readers_are_what_their_device_reports(shop: Shop) -> None:
    outbox = shop.device()

    report(
        shop, outbox, a_reader(serial_number="SN 7"), a_reader(reader_id="rd_0002", state="failing")
    )

    rows = shop.rows(select(READERS).order_by(READERS.c.id))
    assert [(row.id, row.device_id, row.state) for row in rows] == [
        ("rd_0001", "dev-aaaa", "ready"), ("rd_0002", "dev-aaaa", "failing"),
    ]  # fmt: skip
    assert rows[0].serial_number == "SN 7"
    assert (rows[0].merchant_id, rows[0].location_id) == (shop.merchant_id, shop.location_id)


def test_a_reader_that_is_no_longer_listed_is_gone_and_may_come_back(
    shop: Shop, clock: FakeClock
) -> None:
    outbox = shop.device()
    report(shop, outbox, a_reader())
    clock.advance(1)
    report(shop, outbox)
    gone = shop.rows(select(READERS))[0].gone_at
    clock.advance(1)
    report(shop, outbox, a_reader())

    assert gone is not None
    assert shop.rows(select(READERS))[0].gone_at is None
    assert [one.kind for one in shop.events() if one.reader_id] == [
        "reader.seen", "reader.gone", "reader.ready",
    ]  # fmt: skip


def test_an_older_report_changes_nothing(shop: Shop, clock: FakeClock) -> None:
    outbox = shop.device()
    clock.advance(100)
    report(shop, outbox, a_reader(state="busy"))

    report(shop, outbox, a_reader(state="ready"), ts="2026-05-04T08:00:01+00:00")
    report(shop, outbox, boot=0)

    (row,) = shop.rows(select(READERS))
    assert (row.state, row.gone_at) == ("busy", None)


def test_a_device_cannot_take_a_reader_from_another(shop: Shop) -> None:
    mine, hostile = shop.device(), shop.device("dev-bbbb")
    report(shop, mine, a_reader())

    report(shop, hostile, a_reader(name="stolen", address="tcp://evil:1"))

    (row,) = shop.rows(select(READERS))
    assert (row.device_id, row.name) == ("dev-aaaa", "counter-1")
    assert shop.alarms() == ["reader.id_taken"]


def test_a_card_number_in_a_report_is_not_stored(shop: Shop) -> None:
    outbox = shop.device()

    report(shop, outbox, a_reader(reason="4761739001010119"), hostname="4761739001010119")

    (row,) = shop.rows(select(READERS))
    assert row.reason == "476173******0119"
    assert "4761739001010119" not in str(shop.device_row())


def test_a_reader_is_shown_on_two_axes(shop: Shop, clock: FakeClock) -> None:
    outbox = shop.device()
    report(shop, outbox, a_reader())
    seen = [axes(shop)]
    say(shop, outbox, "online", 1, 1)
    seen.append(axes(shop))
    with shop.parts.database.transaction() as db:
        service.desire_config(db, shop.scope, "dev-aaaa", {"volume": 3}, by=SYSTEM)
    seen.append(axes(shop))
    digest = shop.rows(select(CONFIGS))[0].hash
    clock.advance(1)
    report(
        shop,
        outbox,
        a_reader(state="disconnected"),
        config=ReportedConfig(version=1, hash=digest, status="applied"),
    )
    seen.append(axes(shop))
    clock.advance(1)
    report(
        shop, outbox, a_reader(), config=ReportedConfig(version=1, hash="old", status="rolled_back")
    )
    seen.append(axes(shop))

    assert seen == [
        (Reach.OFFLINE, Sync.IN_SYNC),
        (Reach.ONLINE, Sync.IN_SYNC),
        (Reach.ONLINE, Sync.PENDING),
        (Reach.DEGRADED, Sync.IN_SYNC),
        (Reach.ONLINE, Sync.FAILED),
    ]


def test_a_configuration_that_is_not_in_force_is_sent_again_unless_it_was_rejected(
    shop: Shop, clock: FakeClock
) -> None:
    outbox = shop.device()
    with shop.parts.database.transaction() as db:
        service.desire_config(db, shop.scope, "dev-aaaa", {"volume": 3}, by=SYSTEM)
    asked = []
    for config in (
        ReportedConfig(version=0, hash="", status="none"),
        ReportedConfig(version=1, hash="x", status="rejected"),
    ):
        with shop.parts.database.connection() as db:
            db.execute(CONFIGS.update().values(must_send=False))
        clock.advance(1)
        report(shop, outbox, config=config)
        asked.append(shop.rows(select(CONFIGS))[0].must_send)

    assert asked == [True, False]


def test_readers_are_found_by_what_is_known_of_them(shop: Shop) -> None:
    outbox = shop.device()
    report(shop, outbox, a_reader(serial_number="SN 7"), a_reader(reader_id="rd_0002", name="bar"))

    with shop.parts.database.reading() as db:
        found = [
            [row.id for row in readers(db, shop.scope, wanted)]
            for wanted in (
                ReaderFilter(text="sn 7"), ReaderFilter(text="BAR"), ReaderFilter(text="%"),
                ReaderFilter(is_online=True), ReaderFilter(device_id="dev-aaaa"),
            )
        ]  # fmt: skip

    assert found == [["rd_0001"], ["rd_0002"], [], [], ["rd_0002", "rd_0001"]]


def test_telemetry_keeps_only_the_newest_and_no_floats(shop: Shop) -> None:
    outbox = shop.device()
    told = Telemetry(
        ts="", boot=1, uptime_s=5, rss_kib=9, load_1m=0.25, disk_free_mib=3, outbox_pending=0,
        readers={"rd_0001": {"temperature_c": 31.5}},
    )  # fmt: skip

    shop.say(outbox, Channel.TELEMETRY, encode(told))

    kept = shop.device_row().telemetry
    assert (kept["load_1m"], kept["readers"]["rd_0001"]["temperature_c"]) == ("0.25", "31.5")


def axes(shop: Shop) -> tuple[Reach, Sync]:
    with shop.parts.database.reading() as db:
        row = reader(db, shop.scope, "rd_0001")
    assert row is not None
    return reach_of(row), sync_of(row)
