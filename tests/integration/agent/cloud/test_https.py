"""The same messages over HTTPS, while the MQTT port is blocked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from agent import identity as identities
from agent.clock import SystemClock
from agent.cloud import Way
from agent.https_client import ControlPlaneRefused, ControlPlaneUnreachable, HttpsClient
from agent.identity import Identity
from agent.timekeeping import DeviceTime
from protocols.cloud.commands import ReportNow
from protocols.cloud.events import CommandResult
from protocols.cloud.http import DESIRED, OUTBOX
from protocols.cloud.topics import Channel, Stream
from tests.fakes.authority import Authority
from tests.support.branch import DEVICE, Site
from tests.support.device import Device, amounts, running
from tests.support.ports import free_port
from tests.support.waiting import eventually_async


async def until(condition: Callable[[], object], deadline_s: float = 10) -> None:
    async def probe() -> bool:
        return bool(condition())

    await eventually_async(probe, deadline_s=deadline_s)


@pytest.fixture
def url(site: Site) -> str:
    """Of the control plane, over TLS."""
    return site.plane.serve(site.server_files)


@pytest.fixture
async def device(site: Site, state_dir: Path, url: str) -> AsyncIterator[Device]:
    identity = site.enrolled(state_dir, control_url=url)
    async with running(Device(identity, state_dir, way=Way.HTTPS)) as made:
        await until(lambda: made.cloud.is_open)
        yield made


async def test_the_device_says_that_it_is_there_and_tells_its_messages(
    device: Device, site: Site
) -> None:
    for number in (1, 2, 3):
        await device.pay(number)
    await until(lambda: device.spool.pending == 0)

    taken = site.plane.taken(DEVICE)
    assert amounts(taken.told(Stream.TRANSACTIONS)) == [1, 2, 3]
    assert [one.state for one in taken.presence] == ["online"]
    assert len(taken.states) == 1


async def test_months_of_messages_go_up_in_batches(site: Site, state_dir: Path, url: str) -> None:
    identity = site.enrolled(state_dir, control_url=url)
    before = Device(identity, state_dir, way=Way.HTTPS)
    before.journal.start()
    await before.spool.load()
    for number in range(1, 251):
        await before.pay(number)
    await before.journal.close()

    async with running(Device(identity, state_dir, way=Way.HTTPS)) as device:
        await until(lambda: device.spool.pending == 0)

    uploads = site.plane.requests.count(("POST", OUTBOX))
    assert amounts(site.plane.taken(DEVICE).told(Stream.TRANSACTIONS)) == list(range(1, 251))
    assert uploads < 25


async def test_a_command_comes_by_the_long_poll_and_its_result_goes_up(
    device: Device, site: Site
) -> None:
    site.plane.send(DEVICE, ReportNow(), "cmd_0001")
    await until(lambda: device.commands)

    await device.spool.record(CommandResult(command_id="cmd_0001", status="succeeded"))
    await until(lambda: device.spool.pending == 0)

    assert device.commands[0].channel is Channel.COMMAND
    assert not device.commands[0].is_retained


async def test_a_command_that_is_told_again_and_again_is_not_asked_for_without_pause(
    device: Device, site: Site
) -> None:
    site.plane.send(DEVICE, ReportNow(), "cmd_0001")
    await until(lambda: len(device.commands) >= 2)
    polls = site.plane.requests.count(("GET", DESIRED))

    await until(lambda: len(device.commands) >= 3)

    assert site.plane.requests.count(("GET", DESIRED)) <= polls + 2


async def test_a_configuration_is_told_once(device: Device, site: Site) -> None:
    await until(lambda: site.plane.requests.count(("GET", DESIRED)) >= 2)
    polls = site.plane.requests.count(("GET", DESIRED))

    for number in range(20):
        await device.pay(number)
    await until(lambda: device.spool.pending == 0)

    # It waits for news now, instead of being told the same at once.
    assert site.plane.requests.count(("GET", DESIRED)) <= polls + 1


async def test_a_claim_is_granted(device: Device) -> None:
    granted = await device.cloud.claim(
        "cmd_0001", "nonce-01", give_up_at=device.clock.elapsed() + 5
    )

    assert granted is not None
    assert (granted.grant.granted, granted.grant.nonce) == (True, "nonce-01")


async def test_every_answer_tells_the_time(device: Device, site: Site) -> None:
    await until(lambda: device.time.offset_ms() is not None)

    assert abs(device.time.offset_ms() or 0) < 1000


async def test_a_new_certificate_is_used_at_once(
    device: Device, site: Site, state_dir: Path, url: str
) -> None:
    # The certificate of before is not good any more, and its key is gone from the disk.
    await device.cloud.use(site.enrolled(state_dir, control_url=url))

    await device.pay(1)
    granted = await device.cloud.claim("cmd_1", "nonce-01", give_up_at=device.clock.elapsed() + 5)
    await until(lambda: device.spool.pending == 0)

    assert granted is not None


async def test_a_server_that_is_away_is_asked_again_and_nothing_is_lost(
    device: Device, site: Site
) -> None:
    site.plane.is_http_down = True
    await device.pay(1)
    requests = len(site.plane.requests)
    await until(lambda: len(site.plane.requests) > requests)
    site.plane.is_http_down = False

    await until(lambda: device.spool.pending == 0, deadline_s=15)

    assert amounts(site.plane.taken(DEVICE).told(Stream.TRANSACTIONS)) == [1]


async def test_https_takes_over_while_the_mqtt_port_is_blocked_and_gives_back(
    site: Site, state_dir: Path, url: str
) -> None:
    site.broker.kill()
    identity = site.enrolled(state_dir, control_url=url)
    async with running(Device(identity, state_dir, fallback_after_s=0.2)) as device:
        await device.pay(1)
        await until(lambda: device.spool.pending == 0)
        over_https = amounts(site.plane.taken(DEVICE).told(Stream.TRANSACTIONS))
        had_link = device.cloud.link is not None

        site.broker.start()
        await until(lambda: device.cloud.link is not None, deadline_s=30)
        await device.pay(2)
        await until(lambda: device.spool.pending == 0)
        requests = len(site.plane.requests)
        await device.pay(3)
        await until(lambda: device.spool.pending == 0)

    assert over_https == [1]
    assert not had_link
    assert amounts(site.plane.taken(DEVICE).told(Stream.TRANSACTIONS)) == [1, 2, 3]
    assert len(site.plane.requests) == requests


async def test_with_mqtt_only_nothing_is_asked_over_https(
    site: Site, state_dir: Path, url: str
) -> None:
    identity = site.enrolled(state_dir, control_url=url, broker=site.where(port=free_port()))
    async with running(Device(identity, state_dir, way=Way.MQTT, fallback_after_s=0)) as device:
        await device.pay(1)
        await until(lambda: device.cloud.trouble)

    assert site.plane.requests == []


# --- one request -----------------------------------------------------------------------------------------------


def client(site: Site, state_dir: Path, url: str, *, ca_pem: str | None = None) -> HttpsClient:
    clock = SystemClock()
    identity = site.enrolled(state_dir, control_url=url)
    return HttpsClient(
        url,
        DeviceTime(clock),
        clock,
        ca_pem=site.authority.pem if ca_pem is None else ca_pem,
        identity=identity,
    )


async def test_a_clock_that_is_a_day_off_is_corrected_by_the_refusal(
    site: Site, state_dir: Path, url: str
) -> None:
    site.plane.clock_offset_s = 86_400
    asking = client(site, state_dir, url)

    await asking.request("GET", f"{DESIRED}?wait=0")
    asking.close()

    assert site.plane.requests == [("GET", DESIRED)] * 2


async def test_a_device_that_is_not_enrolled_is_refused_with_the_reason(
    site: Site, state_dir: Path, url: str
) -> None:
    asking = client(site, state_dir, url)
    site.plane.certificates.clear()

    with pytest.raises(ControlPlaneRefused) as refused:
        await asking.request("GET", f"{DESIRED}?wait=0")
    asking.close()

    assert (refused.value.status, refused.value.problem) == (401, "device_not_trusted")


async def test_a_request_that_somebody_changed_is_refused(
    site: Site, state_dir: Path, url: str
) -> None:
    asking = client(site, state_dir, url)
    # The key of another device signs in the name of this one.
    other = site.enrolled(state_dir.with_name("other"), device_id="dev-other")
    asking.use(Identity(identities.load(state_dir).membership, other.folder))

    with pytest.raises(ControlPlaneRefused) as refused:
        await asking.request("GET", f"{DESIRED}?wait=0")
    asking.close()

    assert refused.value.problem == "device_not_trusted"


async def test_a_connection_that_was_closed_meanwhile_is_opened_anew(
    site: Site, state_dir: Path, url: str
) -> None:
    asking = client(site, state_dir, url)
    await asking.request("GET", f"{DESIRED}?wait=0")
    asking._connection.sock.close()  # type: ignore[union-attr]  # noqa: SLF001 (what an idle proxy does)

    with pytest.raises(ControlPlaneUnreachable):
        await asking.request("GET", f"{DESIRED}?wait=0")
    await asking.request("GET", f"{DESIRED}?wait=0")
    asking.close()


async def test_a_request_is_given_up_at_once_when_nobody_waits_any_more(
    site: Site, state_dir: Path, url: str
) -> None:
    asking = client(site, state_dir, url)
    await asking.request("GET", f"{DESIRED}?wait=0")
    waiting = asyncio.create_task(
        asking.request("GET", f"{DESIRED}?wait=30&config_hash=h1", timeout_s=60)
    )
    requests = len(site.plane.requests)
    await until(lambda: len(site.plane.requests) > requests)

    waiting.cancel()
    async with asyncio.timeout(1):
        await asyncio.gather(waiting, return_exceptions=True)

    assert waiting.cancelled()


async def test_a_server_that_cannot_be_reached_is_said_so(site: Site, state_dir: Path) -> None:
    asking = client(site, state_dir, f"https://localhost:{free_port()}")

    with pytest.raises(ControlPlaneUnreachable, match="check the address") as unreachable:
        await asking.request("GET", DESIRED)

    assert unreachable.value.reason == "refused"


async def test_a_server_of_another_authority_is_not_talked_to(
    site: Site, state_dir: Path, url: str
) -> None:
    asking = client(site, state_dir, url, ca_pem=Authority().pem)

    with pytest.raises(ControlPlaneUnreachable, match="--ca-file") as unreachable:
        await asking.request("GET", DESIRED)

    assert unreachable.value.reason == "certificate"
    assert site.plane.requests == []
