"""Two boxes with one identity: found, both stopped until a person decides, and nothing of either is lost or booked."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from control_plane.accounts import service as accounts
from control_plane.audit.actor import SYSTEM
from control_plane.db.scope import Scope
from control_plane.devices import clones, enrollment, service
from control_plane.devices.lifecycle import DeviceState
from control_plane.devices.models import DEVICES, EVENTS
from protocols.cloud.commands import encode
from protocols.cloud.events import Presence
from protocols.cloud.topics import Channel
from tests.fakes.device_outbox import DeviceOutbox
from tests.fakes.fleet import Shop
from tests.support.agent_program import run_agent, start_agent
from tests.support.installation import BROKERS, Kind, running
from tests.support.waiting import eventually


def says(
    shop: Shop, box: DeviceOutbox, life: str, boot: int = 4, conn: int = 1, state: str = "online"
) -> None:
    word = Presence(state=state, boot=boot, conn=conn, life=life)  # type: ignore[arg-type]  # one of the two
    shop.say(box, Channel.PRESENCE, encode(word))


def state_of(shop: Shop, box: DeviceOutbox) -> DeviceState:
    return DeviceState(shop.device_row(box.device_id).state)


@pytest.fixture
def box(shop: Shop) -> DeviceOutbox:
    return shop.device()


def test_two_lives_of_one_boot_suspend_the_device_and_raise_an_alarm(
    shop: Shop, box: DeviceOutbox
) -> None:
    says(shop, box, "a", conn=3)
    says(shop, box, "b", conn=2)

    assert state_of(shop, box) is DeviceState.SUSPENDED
    assert shop.alarms() == ["device.cloned"]
    row = shop.device_row(box.device_id)
    with shop.parts.database.reading() as db:
        assert {one.life for one in clones.lives_of(db, row)} == {"a", "b"}


def test_what_a_clone_sells_is_not_booked_and_not_acknowledged_and_comes_when_one_is_left(
    shop: Shop, box: DeviceOutbox
) -> None:
    says(shop, box, "a")
    says(shop, box, "b")
    sale = box.sale()

    assert shop.send(box, sale) == []
    assert shop.ledger() == []

    shop.clock.advance(timedelta(minutes=5))
    with shop.parts.database.transaction() as db:
        service.resume(db, shop.scope, box.device_id, by=SYSTEM)
    shop.intake.forget_devices()
    shop.clock.advance(timedelta(seconds=1))
    says(shop, box, "a", conn=9)

    assert len(shop.send(box, sale)) == 1
    assert shop.seqs() == [1]
    assert state_of(shop, box) is DeviceState.ACTIVE


def test_a_clone_that_is_still_there_when_a_person_resumes_is_found_again(
    shop: Shop, box: DeviceOutbox
) -> None:
    says(shop, box, "a")
    says(shop, box, "b")
    shop.clock.advance(timedelta(minutes=5))
    with shop.parts.database.transaction() as db:
        service.resume(db, shop.scope, box.device_id, by=SYSTEM)
    shop.intake.forget_devices()
    shop.clock.advance(timedelta(seconds=1))

    says(shop, box, "a", conn=5)
    before = state_of(shop, box)
    says(shop, box, "b", conn=6)

    assert (before, state_of(shop, box)) == (DeviceState.ACTIVE, DeviceState.SUSPENDED)
    assert shop.alarms() == ["device.cloned", "device.cloned"]


@pytest.mark.parametrize(
    "words",
    [
        [("a", 4, 1, "online"), ("a", 4, 2, "online"), ("a", 4, 1, "online")],
        [("a", 4, 1, "online"), ("b", 5, 1, "online"), ("c", 6, 1, "online")],
        [("a", 4, 1, "online"), ("b", 5, 1, "online"), ("a", 4, 1, "offline")],
        [("", 4, 1, "online"), ("", 4, 2, "online"), ("a", 4, 3, "online")],
    ],
    ids=["it comes back", "it was restarted", "an old last will", "an agent of before"],
)
def test_one_box_is_one_box(
    shop: Shop, box: DeviceOutbox, words: list[tuple[str, int, int, str]]
) -> None:
    for life, boot, conn, state in words:
        says(shop, box, life, boot, conn, state)

    assert state_of(shop, box) is DeviceState.ACTIVE
    assert shop.alarms() == []


def test_lives_that_nobody_hears_of_are_forgotten(shop: Shop, box: DeviceOutbox) -> None:
    says(shop, box, "a")
    shop.clock.advance(timedelta(days=91))

    with shop.parts.database.transaction() as db:
        assert clones.forget_old(db) == 1


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("broker", BROKERS)
def test_two_agents_on_copies_of_one_disk_are_both_stopped(broker: Kind, tmp_path: Path) -> None:
    original, copy = tmp_path / "original", tmp_path / "copy"
    with ExitStack() as stack:
        installation, parts = stack.enter_context(running(tmp_path, broker))
        with parts.database.transaction() as db:
            merchant_id = accounts.create_merchant(db, "Café Lumière")
            location_id = accounts.create_location(db, merchant_id, "Lyon")
            _, code = enrollment.issue_code(db, Scope(merchant_id), location_id, by=SYSTEM)
        enrolled = run_agent(
            "enroll", "--url", installation.settings.base_url, "--code", code.reveal(),
            "--state-dir", str(original),
        )  # fmt: skip
        assert enrolled.code == 0, enrolled.complaint
        shutil.copytree(original, copy)

        def devices() -> list[Any]:
            with parts.database.reading() as db:
                return list(db.execute(select(DEVICES)).all())

        for folder in (original, copy):
            agent = stack.enter_context(start_agent("run", "--state-dir", str(folder)))
            stack.callback(agent.kill)
        eventually(lambda: [one.state for one in devices()] == [DeviceState.SUSPENDED], 40)
        with parts.database.reading() as db:
            [kind] = db.execute(select(EVENTS.c.kind).where(EVENTS.c.severity == "error")).scalars()

    assert kind == "device.cloned"
