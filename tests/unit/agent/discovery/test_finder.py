"""What is seen becomes readers with a place, whoever moves, restarts, leaves, or is nobody we know."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import pytest

from agent.config import DiscoveryConfig, ReaderConfig
from agent.discovery.finder import Discovery, is_meant
from agent.discovery.probing import Probed
from agent.discovery.sighting import Gone, Sighting
from agent.supervisor import Severity, Stranger
from firmware_profiles import ReaderProfile
from firmware_profiles.matching import BleSeen, UsbSeen
from protocols.readers.protocol import Identity
from tests.fakes.virtual_time import VirtualClock, VirtualLoop, run_virtually

DYNAFLEX = UsbSeen(0x0801, 0x2020, "MagTek", "DynaFlex", "B5A0001", frozenset({3}))
READER = Sighting("usb 1-2", "usb://0801:2020/B5A0001", DYNAFLEX)
LOADER = Sighting("usb 1-2", "usb://0801:2021?bus=1&port=2", UsbSeen(0x0801, 0x2021))
SECOND_LOADER = Sighting("usb 1-2", "usb://0801:2022?bus=1&port=2", UsbSeen(0x0801, 0x2022))
ODD = Sighting("usb 1-9", "usb://0801:2020/ODD", replace(DYNAFLEX, serial="ODD"))
NAME = "DynaFlex B5A0001"
DAY_S = 86_400.0


@dataclass
class Shelf:
    """A supervisor that only remembers."""

    readers: dict[str, ReaderConfig] = field(default_factory=dict)
    strangers: dict[str, Stranger] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)
    events: list[tuple[str, str]] = field(default_factory=list)
    retried: list[str] = field(default_factory=list)
    is_needed: bool = False

    def add(self, config: ReaderConfig) -> None:
        self.readers[config.name] = config

    def show(self, name: str, address: str, stranger: Stranger) -> None:
        self.strangers[name] = stranger

    def remove(self, name: str) -> None:
        self.readers.pop(name, None)
        self.strangers.pop(name, None)

    def retry(self, name: str) -> None:
        self.retried.append(name)

    def remark(self, name: str, words: str) -> None:
        self.remarks[name] = words

    def tell(self, name: str, kind: str, severity: Severity, text: str) -> None:
        self.events.append((name, kind))

    def may_forget(self, name: str) -> bool:
        return not self.is_needed


@dataclass
class Box:
    """Discovery with a shelf, and somebody who answers its questions."""

    discovery: Discovery
    shelf: Shelf
    asked: list[tuple[str, str]]
    answers: dict[str, Identity | None]
    """Address to who answers there; None denies; who is not named is silent."""

    def addresses(self) -> list[str]:
        return [one.address for one in self.shelf.readers.values()]

    async def see(self, *seen: Sighting | Gone) -> None:
        for one in seen:
            self.discovery.saw(one)
        await asyncio.sleep(0.5)


def in_shop(
    story: Callable[[Box], Awaitable[None]],
    config: DiscoveryConfig | None = None,
    configured: tuple[ReaderConfig, ...] = (),
) -> None:
    async def day() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        shelf = Shelf()
        asked: list[tuple[str, str]] = []
        answers: dict[str, Identity | None] = {
            READER.address: Identity(serial_number="B5A0001", model="DynaFlex")
        }

        async def ask(profile: ReaderProfile, address: str) -> Probed:
            asked.append((profile.id, address))
            if address == ODD.address:
                raise OSError("it answers in tongues")
            await asyncio.sleep(0.01)
            identity = answers.get(address)
            is_silent = address not in answers
            return Probed(profile.id, identity, "" if identity else "says no", is_silent)

        discovery = Discovery(
            config or DiscoveryConfig(), configured, shelf, VirtualClock(loop), ask=ask
        )
        working = asyncio.create_task(discovery.follow())
        try:
            await story(Box(discovery, shelf, asked, answers))
        finally:
            working.cancel()

    run_virtually(day())


def test_a_reader_that_answers_gets_a_place_under_its_own_number() -> None:
    async def story(box: Box) -> None:
        await box.see(READER)

        (reader,) = box.shelf.readers.values()
        assert reader.name == NAME
        assert reader.address == READER.address
        assert reader.profile == box.asked[-1][0]
        assert box.shelf.strangers == {}

    in_shop(story)


def test_a_reader_that_comes_back_is_not_asked_again() -> None:
    async def story(box: Box) -> None:
        await box.see(READER, Gone(READER.place))
        asked = list(box.asked)
        await box.see(READER)

        assert box.asked == asked
        assert box.shelf.retried == [NAME]

    in_shop(story)


def test_a_reader_in_another_port_keeps_its_place() -> None:
    async def story(box: Box) -> None:
        await box.see(READER, Gone(READER.place))
        await box.see(replace(READER, place="usb 1-3"))

        assert box.addresses() == [READER.address]
        assert box.shelf.retried == [NAME]

    in_shop(story)


def test_a_reader_without_a_number_on_its_plug_is_known_by_what_it_says() -> None:
    async def story(box: Box) -> None:
        seen = replace(DYNAFLEX, serial="")
        here, there = (
            Sighting(f"usb 1-{port}", f"usb://0801:2020?bus=1&port={port}", seen) for port in "23"
        )
        box.answers |= {one.address: Identity(serial_number="B5A0001") for one in (here, there)}
        await box.see(here, Gone(here.place), there)

        assert list(box.shelf.readers) == [NAME]
        assert box.addresses() == [there.address]

    in_shop(story)


def test_two_with_the_same_number_are_two() -> None:
    async def story(box: Box) -> None:
        twin = Sighting("usb 1-3", "usb://0801:2020?bus=1&port=3", DYNAFLEX)
        box.answers[twin.address] = box.answers[READER.address]
        await box.see(READER, twin)

        assert box.addresses() == [READER.address, twin.address]
        assert len(box.shelf.readers) == 2

    in_shop(story)


def test_one_device_that_breaks_the_search_does_not_end_it() -> None:
    async def story(box: Box) -> None:
        await box.see(ODD, READER)
        await asyncio.sleep(5)

        assert box.addresses() == [READER.address]

    in_shop(story)


def test_who_is_not_recognised_is_shown_with_what_was_seen_and_tried() -> None:
    async def story(box: Box) -> None:
        box.answers.clear()
        await box.see(READER)

        ((name, stranger),) = box.shelf.strangers.items()
        assert name == "Unknown usb 1-2"
        assert "0801:2020 MagTek DynaFlex, number B5A0001, at usb 1-2" in stranger.reason
        assert f"{box.asked[0][0]}: says no" in stranger.reason
        assert (stranger.vendor, stranger.model) == ("MagTek", "DynaFlex")
        assert len(box.asked) == 1, "the same protocol was asked again"
        assert box.shelf.readers == {}

        await box.see(Gone(READER.place))
        assert box.shelf.strangers == {}

    in_shop(story)


def test_a_reader_that_was_still_starting_is_asked_again_and_then_left_alone() -> None:
    async def story(box: Box) -> None:
        box.answers.clear()
        await box.see(READER)
        await box.see(READER)
        await asyncio.sleep(DAY_S)
        assert len(box.asked) == 4

        box.answers[READER.address] = Identity(serial_number="B5A0001")
        await box.see(Gone(READER.place), READER)
        assert list(box.shelf.readers) == [NAME]
        assert box.shelf.strangers == {}

    in_shop(story)


def test_what_no_reader_maker_made_is_nobody_s_business() -> None:
    async def story(box: Box) -> None:
        await box.see(Sighting("usb 1-5", "usb://0781:5567/4C53", UsbSeen(0x0781, 0x5567)))

        assert box.asked == []
        assert box.shelf == Shelf()

    in_shop(story)


def test_a_maker_s_other_device_is_shown_and_never_asked() -> None:
    async def story(box: Box) -> None:
        await box.see(Sighting("usb 1-5", "usb://0801:0001", UsbSeen(0x0801, 0x0001, "MagTek")))

        assert box.asked == []
        assert [one.reason for one in box.shelf.strangers.values()] == [
            "0801:0001 MagTek, at usb 1-5. No profile fits."
        ]

    in_shop(story)


def test_a_configured_reader_is_never_asked_by_anybody_else() -> None:
    async def story(box: Box) -> None:
        await box.see(READER)

        assert box.asked == []
        assert box.shelf.readers == {}
        assert box.shelf.retried == ["counter-1"]

    configured = ReaderConfig(name="counter-1", profile="x", address="usb://0801:2020")
    in_shop(story, configured=(configured,))


def test_a_serial_bridge_is_asked_only_what_was_allowed() -> None:
    chip = UsbSeen(0x0403, 0x6001, "FTDI", "FT232R", is_serial_bridge=True)
    bridge = Sighting("usb 1-6", "serial:///dev/ttyUSB0", chip, "/dev/ttyUSB0")

    async def nobody(box: Box) -> None:
        await box.see(bridge)
        assert box.asked == []

    async def zvt_only(box: Box) -> None:
        await box.see(bridge)
        assert {profile for profile, _ in box.asked} == {"generic-zvt-serial"}

    in_shop(nobody)
    in_shop(zvt_only, DiscoveryConfig(serial=["generic-zvt-serial"]))


def test_a_boot_loader_is_the_reader_that_was_there() -> None:
    async def story(box: Box) -> None:
        await box.see(READER, Gone(READER.place), LOADER)
        assert list(box.shelf.readers) == [NAME]
        assert box.shelf.strangers == {}
        assert "boot loader" in box.shelf.remarks[NAME]

        await box.see(Gone(LOADER.place), replace(READER, seen=replace(DYNAFLEX, product="New")))
        await asyncio.sleep(DAY_S / 2)
        assert list(box.shelf.readers) == [NAME]
        assert box.shelf.remarks[NAME] == ""
        assert box.shelf.events == []
        assert len(box.asked) == 1

    in_shop(story)


def test_a_reader_that_stays_in_its_boot_loader_is_told_once() -> None:
    async def story(box: Box) -> None:
        await box.see(READER, Gone(READER.place), LOADER)
        await asyncio.sleep(100)
        await box.see(Gone(LOADER.place), SECOND_LOADER)
        await asyncio.sleep(25)
        assert box.shelf.events == [(NAME, "reader.stuck_in_bootloader")]
        assert "installed again" in box.shelf.remarks[NAME]

        await asyncio.sleep(DAY_S / 2)
        assert len(box.shelf.events) == 1

    in_shop(story)


def test_a_boot_loader_without_a_history_is_shown_and_told_of_when_it_stays() -> None:
    async def story(box: Box) -> None:
        await box.see(LOADER)
        assert list(box.shelf.strangers) == ["Boot loader usb 1-2"]
        await asyncio.sleep(150)
        assert box.shelf.events == [("Boot loader usb 1-2", "reader.stuck_in_bootloader")]

        await box.see(Gone(LOADER.place), READER)
        assert list(box.shelf.readers) == [NAME]
        assert box.shelf.strangers == {}
        assert {address for _, address in box.asked} == {READER.address}

    in_shop(story)


def test_a_reader_that_is_away_for_long_is_forgotten() -> None:
    async def story(box: Box) -> None:
        await box.see(READER, Gone(READER.place))
        await asyncio.sleep(DAY_S - 10)
        assert list(box.shelf.readers) == [NAME]
        await asyncio.sleep(20)
        assert box.shelf.readers == {}

    in_shop(story)


def test_a_radio_reader_that_is_connected_is_not_away_though_nobody_hears_it() -> None:
    service = "0cba14b7-ff24-47b0-be09-26440538530c"
    heard = Sighting(
        "ble C0:FF:EE:12:34:56",
        "ble://C0:FF:EE:12:34:56",
        BleSeen(frozenset({service}), "DynaFlex II GO"),
    )

    async def story(box: Box) -> None:
        box.answers[heard.address] = Identity(serial_number="B7")
        box.shelf.is_needed = True
        await box.see(heard)
        await box.see(heard)
        await asyncio.sleep(3 * DAY_S)
        assert box.addresses() == [heard.address]

        box.shelf.is_needed = False
        await asyncio.sleep(DAY_S)
        assert box.addresses() == []

    in_shop(story)


@pytest.mark.parametrize(
    ("address", "is_it"),
    [
        ("usb://0801:2020", True),
        ("usb://0801:2020/B5A0001", True),
        ("usb://0801:2020?bus=1&port=2", True),
        ("usb://0801:2020/B5A0002", False),
        ("usb://0801:2020?bus=1&port=3", False),
        ("usb://0801:2024", False),
        ("serial:///dev/ttyUSB0", False),
        ("tcp://10.0.0.5:20007", False),
        ("nonsense", False),
    ],
)
def test_a_configured_address_means_a_device_or_not(address: str, is_it: bool) -> None:
    assert is_meant(address, READER) is is_it
