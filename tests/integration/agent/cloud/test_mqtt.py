"""The device's line over a real broker with TLS: connect, speak, lose it, come back."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from agent import mqtt_link
from agent.clock import SystemClock
from agent.cloud import CLAIM_AGAIN_S, Cloud, Granted, Way
from agent.mqtt_link import LinkRefused
from agent.timekeeping import DeviceTime
from protocols.cloud.commands import Ack, Grant, ReportNow, encode
from protocols.cloud.events import Presence
from protocols.cloud.topics import Channel, Stream
from tests.fakes.authority import Authority
from tests.support.branch import DEVICE, Site
from tests.support.device import Device, amounts, running
from tests.support.ports import free_port
from tests.support.waiting import eventually_async


@pytest.fixture
async def device(site: Site, state_dir: Path) -> AsyncIterator[Device]:
    made = Device(site.enrolled(state_dir), state_dir, way=Way.MQTT)
    async with running(made):
        await until(lambda: made.cloud.is_open)
        yield made


async def until(condition: object, deadline_s: float = 10) -> None:
    async def probe() -> bool:
        assert callable(condition)
        return bool(condition())

    await eventually_async(probe, deadline_s=deadline_s)


def states(site: Site) -> list[str]:
    return [f"{one.state} {one.boot}.{one.conn}" for one in site.plane.taken(DEVICE).presence]


def forget_everything(state_dir: Path) -> None:
    for path in [*state_dir.glob("journal.db*"), state_dir / "counters.json"]:
        path.unlink()


# --- connecting ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [4, 5], ids=["MQTT 3.1.1", "MQTT 5"])
async def test_a_device_says_that_it_is_there_and_what_it_is(
    site: Site, state_dir: Path, level: int
) -> None:
    identity = site.enrolled(state_dir, broker=site.where(mqtt_level=level))
    async with running(Device(identity, state_dir, way=Way.MQTT)):
        await until(lambda: site.plane.taken(DEVICE).states)

        assert states(site) == ["online 1.1"]
        assert site.plane.taken(DEVICE).states[0].accepts == ["cmd.v1"]

    async def says_goodbye() -> bool:
        first, *others = states(site)
        # A broker that missed our last word says it once more, by the will.
        return first == "online 1.1" and set(others) == {"offline 1.1"}

    await eventually_async(says_goodbye)


async def test_messages_do_not_wait_for_each_other_in_the_socket(device: Device) -> None:
    link = device.cloud.link
    assert link is not None

    assert link.socket_option(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


async def test_a_device_that_dies_is_told_by_its_last_will(site: Site, state_dir: Path) -> None:
    identity = site.enrolled(state_dir)
    will = encode(Presence(state="offline", boot=3, conn=7))
    link = await mqtt_link.connect(identity, SystemClock(), will=will, receive=lambda _: None)

    link.cut()

    await until(lambda: states(site) == ["offline 3.7"])


async def test_a_device_of_another_authority_is_refused(site: Site, state_dir: Path) -> None:
    identity = site.enrolled(state_dir, is_ours=False)

    with pytest.raises(LinkRefused) as refused:
        await mqtt_link.connect(identity, SystemClock(), will=b"", receive=lambda _: None)

    assert refused.value.reason in {"tls", "unreachable", "not_authorised"}
    assert site.plane.taken(DEVICE).presence == []


async def test_a_broker_of_another_authority_is_refused(site: Site, state_dir: Path) -> None:
    identity = site.enrolled(state_dir)
    identity.ca_file.write_text(Authority().pem)

    with pytest.raises(LinkRefused) as refused:
        await mqtt_link.connect(identity, SystemClock(), will=b"", receive=lambda _: None)

    assert refused.value.reason == "certificate"


async def test_a_broker_of_another_name_is_refused(site: Site, state_dir: Path) -> None:
    broker = msgspec.structs.replace(site.where(), server_name="broker.example.org")
    identity = site.enrolled(state_dir, broker=broker)

    with pytest.raises(LinkRefused) as refused:
        await mqtt_link.connect(identity, SystemClock(), will=b"", receive=lambda _: None)

    assert refused.value.reason == "certificate"


async def test_a_port_where_nothing_listens_is_said_so(site: Site, state_dir: Path) -> None:
    identity = site.enrolled(state_dir, broker=site.where(port=free_port()))

    with pytest.raises(LinkRefused, match="nothing listens there") as refused:
        await mqtt_link.connect(identity, SystemClock(), will=b"", receive=lambda _: None)

    assert refused.value.reason == "refused"


async def test_a_wrong_clock_keeps_nobody_away_from_a_broker_that_is_otherwise_right(
    tmp_path_factory: pytest.TempPathFactory,
    authority: Authority,
    start_mosquitto: object,
    state_dir: Path,
) -> None:
    # To a clock that is years behind, today's certificate lies in the future.
    assert callable(start_mosquitto)
    site = Site(
        tmp_path_factory.mktemp("future"),
        authority,
        start_mosquitto,
        server_valid_from=datetime.now(UTC) + timedelta(days=700),
    )
    identity = site.enrolled(state_dir)

    with pytest.raises(LinkRefused, match="clock"):
        await mqtt_link.connect(identity, SystemClock(), will=b"", receive=lambda _: None)
    link = await mqtt_link.connect(
        identity, SystemClock(), will=b"", receive=lambda _: None, ignore_dates=True
    )
    await link.close()

    wrong = DeviceTime(SystemClock(), floor=datetime.now(UTC) + timedelta(days=1))
    assert wrong.is_wall_clock_wrong()


# --- the outbox ------------------------------------------------------------------------------------------------


async def test_what_was_stored_before_the_line_comes_in_order(site: Site, state_dir: Path) -> None:
    made = Device(site.enrolled(state_dir), state_dir, way=Way.MQTT)
    made.journal.start()
    await made.spool.load()
    for number in range(1, 301):
        await made.pay(number)
    await made.journal.close()

    async with running(Device(site.enrolled(state_dir), state_dir, way=Way.MQTT)) as device:
        await until(lambda: device.spool.pending == 0)

    taken = site.plane.taken(DEVICE)
    assert amounts(taken.told(Stream.TRANSACTIONS)) == list(range(1, 301))
    assert taken.broken_links(Stream.TRANSACTIONS) == []
    assert taken.deliveries == [("tx", 1, number) for number in range(1, 301)]


async def test_a_row_is_released_by_the_acknowledgement_alone(device: Device, site: Site) -> None:
    site.plane.acknowledges = False
    await device.pay(1)
    await until(lambda: site.plane.taken(DEVICE).rows)
    pending = device.spool.pending

    taken = site.plane.taken(DEVICE)
    site.plane.publish(DEVICE, Channel.ACK, encode(site.plane.ack_of(taken, "tx", 1)))
    await until(lambda: device.spool.pending == 0)

    assert pending == 1


async def test_lost_acknowledgements_are_asked_for_by_sending_again(
    device: Device, site: Site
) -> None:
    site.plane.acks_to_lose = 2
    await device.pay(1)

    await until(lambda: device.spool.pending == 0, deadline_s=15)

    taken = site.plane.taken(DEVICE)
    assert taken.deliveries == [("tx", 1, 1)] * 3
    assert len(taken.rows) == 1
    assert taken.contradictions == []


async def test_a_gap_is_filled_on_request_from_rows_that_were_acknowledged(
    device: Device, site: Site
) -> None:
    for number in range(1, 6):
        await device.pay(number)
    await until(lambda: device.spool.pending == 0)
    taken = site.plane.taken(DEVICE)
    lost = [taken.rows.pop(("tx", 1, number)) for number in (2, 3)]

    ask = Ack(stream="tx", epoch=1, upto=1, also=[4, 5], resend=[(2, 3)])
    site.plane.publish(DEVICE, Channel.ACK, encode(ask))
    await until(lambda: len(taken.rows) == 5)

    assert [taken.rows["tx", 1, number] for number in (2, 3)] == lost


async def test_while_ingest_is_down_money_waits_on_the_device(device: Device, site: Site) -> None:
    site.plane.say_service(up=False)
    await until(lambda: not device.cloud.pump.is_open)
    await device.pay(1)
    taken = site.plane.taken(DEVICE)
    sent_while_down = list(taken.deliveries)

    site.plane.boot = "boot-2"
    site.plane.say_service(up=True)
    await until(lambda: device.spool.pending == 0)

    assert sent_while_down == []
    assert amounts(taken.told(Stream.TRANSACTIONS)) == [1]
    # A new life of the server is told anew who is there.
    assert states(site) == ["online 1.1", "online 1.1"]


async def test_a_journal_that_was_put_back_begins_a_new_epoch_and_loses_no_money(
    site: Site, state_dir: Path
) -> None:
    async with running(Device(site.enrolled(state_dir), state_dir, way=Way.MQTT)) as device:
        for number in (1, 2, 3):
            await device.pay(number)
        await until(lambda: device.spool.pending == 0)
    forget_everything(state_dir)

    async with running(Device(site.enrolled(state_dir), state_dir, way=Way.MQTT)) as copy:
        # Its first message has a number that the server knows: as a disk that was put back.
        await copy.pay(4)
        await until(lambda: copy.journal.epoch == 2 and copy.spool.pending == 0)
        await copy.pay(5)
        await until(lambda: copy.spool.pending == 0)

    taken = site.plane.taken(DEVICE)
    told = [(one.epoch, *amounts([one.data])) for one in taken.envelopes(Stream.TRANSACTIONS)]
    kinds = [msgspec.structs.asdict(one).get("kind") for one in taken.told(Stream.EVENTS)]
    assert told == [(1, 1), (1, 2), (1, 3), (2, 4), (2, 5)]
    assert kinds == ["journal.older_copy"]


# --- losing and finding the line -------------------------------------------------------------------------------


async def test_a_killed_broker_is_found_again_and_nothing_is_lost(
    device: Device, site: Site
) -> None:
    await device.pay(1)
    await until(lambda: device.spool.pending == 0)

    site.broker.kill()
    await until(lambda: not device.cloud.is_open)
    for number in (2, 3):
        await device.pay(number)
    site.broker.start()
    await until(lambda: device.spool.pending == 0, deadline_s=20)

    taken = site.plane.taken(DEVICE)
    assert amounts(taken.told(Stream.TRANSACTIONS)) == [1, 2, 3]
    assert taken.contradictions == []
    assert states(site)[-1].startswith("online 1.")
    assert states(site)[-1] != "online 1.1"


async def test_the_device_says_why_it_is_not_connected(site: Site, state_dir: Path) -> None:
    identity = site.enrolled(state_dir, broker=site.where(port=free_port()))
    async with running(Device(identity, state_dir, way=Way.MQTT)) as device:
        await until(lambda: device.cloud.trouble)

        assert "nothing listens there" in device.cloud.trouble
        assert not device.cloud.is_open


async def test_a_new_certificate_is_used_at_once(
    device: Device, site: Site, state_dir: Path
) -> None:
    fresh = site.enrolled(state_dir)

    await device.cloud.use(fresh)

    await until(lambda: states(site)[-1] == "online 1.2")
    await device.pay(1)
    await until(lambda: device.spool.pending == 0)


# --- what comes down -------------------------------------------------------------------------------------------


async def test_a_command_comes_with_the_moment_of_its_arrival(device: Device, site: Site) -> None:
    before = device.clock.elapsed()

    command = site.plane.send(DEVICE, ReportNow(), "cmd_0001")
    await until(lambda: device.commands)

    (received,) = device.commands
    assert received.payload == encode(command)
    assert before < received.at <= device.clock.elapsed()
    assert not received.is_retained


async def test_a_retained_command_is_recognised(site: Site, state_dir: Path) -> None:
    site.plane.publish(DEVICE, Channel.COMMAND, b"{}", retain=True)
    async with running(Device(site.enrolled(state_dir), state_dir, way=Way.MQTT)) as device:
        await until(lambda: device.commands)

        assert device.commands[0].is_retained


async def test_unreadable_messages_change_nothing(device: Device, site: Site) -> None:
    for channel in (
        Channel.GRANT,
        Channel.ACK,
        Channel.TIME_ANSWER,
        Channel.CONFIG,
        Channel.RELEASE,
    ):
        site.plane.publish(DEVICE, channel, b"\xffnonsense")
    site.plane.send(DEVICE, ReportNow(), "cmd_0001")
    await until(lambda: device.commands)

    await device.pay(1)
    await until(lambda: device.spool.pending == 0)

    assert device.cloud.is_open


async def test_the_clock_is_compared_with_the_server_s(site: Site, state_dir: Path) -> None:
    site.plane.clock_offset_s = 3600
    async with running(Device(site.enrolled(state_dir), state_dir, way=Way.MQTT)) as device:
        await until(lambda: device.time.offset_ms() is not None)
        offset = device.time.offset_ms()

        assert offset is not None
        assert abs(offset - 3_600_000) < 500
        assert 0 <= device.time.uncertainty_ms() < 500


# --- claims ----------------------------------------------------------------------------------------------------


async def claim(device: Device, *, within_s: float = 5.0) -> Granted | None:
    cloud: Cloud = device.cloud
    return await cloud.claim("cmd_0001", "nonce-01", give_up_at=device.clock.elapsed() + within_s)


async def test_a_claim_is_granted_and_the_lease_counts_from_its_sending(device: Device) -> None:
    before = device.clock.elapsed()

    granted = await claim(device)

    assert granted is not None
    assert granted.grant == Grant(
        command_id="cmd_0001", nonce="nonce-01", granted=True, lease_ms=2000
    )
    assert before <= granted.claimed_at < before + 0.05


async def test_a_lost_grant_is_asked_for_once_more_and_the_lease_is_not_longer_for_it(
    device: Device, site: Site
) -> None:
    site.plane.grants_to_lose = 1
    before = device.clock.elapsed()

    granted = await claim(device)

    assert granted is not None
    assert granted.grant.granted
    assert granted.claimed_at < before + 0.05
    assert device.clock.elapsed() >= before + CLAIM_AGAIN_S
    claims = site.plane.taken(DEVICE).claims
    assert [one.nonce for one in claims] == ["nonce-01", "nonce-01"]


async def test_a_claim_that_nobody_answers_ends_with_the_command(
    device: Device, site: Site
) -> None:
    site.plane.answers_claims = False

    granted = await claim(device, within_s=1.0)

    assert granted is None
    assert len(site.plane.taken(DEVICE).claims) == 2


async def test_a_grant_for_another_nonce_grants_nothing(device: Device, site: Site) -> None:
    site.plane.answers_claims = False
    waiting = asyncio.create_task(claim(device, within_s=1.0))
    await until(lambda: site.plane.taken(DEVICE).claims)

    for nonce in ("nonce-00", ""):
        grant = Grant(command_id="cmd_0001", nonce=nonce, granted=True, lease_ms=2000)
        site.plane.publish(DEVICE, Channel.GRANT, encode(grant))

    assert await waiting is None


async def test_without_a_line_no_claim_is_granted(site: Site, state_dir: Path) -> None:
    identity = site.enrolled(state_dir, broker=site.where(port=free_port()))
    async with running(Device(identity, state_dir, way=Way.MQTT)) as device:
        assert await claim(device, within_s=0.2) is None
    assert site.plane.taken(DEVICE).claims == []


# --- the reported state ----------------------------------------------------------------------------------------


async def test_a_change_is_reported_soon_and_only_once(device: Device, site: Site) -> None:
    await until(lambda: site.plane.taken(DEVICE).states)

    for name in ("a", "b", "till-2"):
        device.hostname = name
        device.cloud.state_changed()
    await until(lambda: site.plane.taken(DEVICE).states[-1].hostname == "till-2")
    device.cloud.state_changed()
    await device.note("after")
    await until(lambda: device.spool.pending == 0)

    assert [one.hostname for one in site.plane.taken(DEVICE).states] == ["till-1", "till-2"]


async def test_everything_is_reported_at_once_on_demand(device: Device, site: Site) -> None:
    device.cloud.report_now()

    await until(lambda: site.plane.taken(DEVICE).telemetry)
    assert states(site) == ["online 1.1", "online 1.1"]
    assert len(site.plane.taken(DEVICE).states) == 2
