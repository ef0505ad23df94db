"""A sample of the demo's page of simulated readers."""

from __future__ import annotations

from control_plane.web.pages.demo_simulators import Button, SimulatedReader, Taken
from protocols.money import Money
from tests.web.samples import Sample

_GONE = SimulatedReader(
    number=2,
    name="Garden",
    protocol="",
    address="",
    is_there=False,
    is_up=False,
    said="",
    last="",
    taken=[],
    href="http://127.0.0.1:9/",
    cards=[],
    others=[],
    troubles=[],
    stories=[],
    faults=[],
)
_THERE = SimulatedReader(
    number=1,
    name="Counter",
    protocol="zvt",
    address="serial:///tmp/counter.tty",
    is_there=True,
    is_up=True,
    said="the next PIN is wrong",
    last="the next PIN is wrong",
    taken=[Taken(Money(12_34, "EUR"), "sale", "done")],
    href="http://127.0.0.1:9/",
    cards=[Button("tap", "Tap a card", "hold a card to a terminal that waits for one", "tap")],
    others=[Button("red_key", "Press the red key", "press the red key")],
    troubles=[
        Button("wrong_pin", "Wrong PIN", "the next PIN is wrong, then right"),
        Button("unplug", "Pull the cable", "pull the cable"),
    ],
    stories=[("approve", "approved, contactless"), ("decline", "declined by the bank")],
    faults=[("nak", "refuses a good frame")],
)

SIMULATOR_SAMPLES = {
    "simulated-readers": Sample(
        "simulated_readers.html", "/simulated-readers", {"readers": [_THERE, _GONE]}
    ),
}
