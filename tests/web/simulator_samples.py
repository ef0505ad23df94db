"""A sample of the demo's page of simulated readers."""

from __future__ import annotations

from control_plane.web.pages.demo_simulators import Button, SimulatedReader
from tests.web.samples import Sample

_GONE = SimulatedReader(
    name="Garden",
    protocol="",
    address="",
    is_there=False,
    is_up=False,
    said="",
    href="http://127.0.0.1:9/",
    buttons=[],
    stories=[],
    faults=[],
)
_THERE = SimulatedReader(
    name="Counter",
    protocol="zvt",
    address="serial:///tmp/counter.tty",
    is_there=True,
    is_up=True,
    said="the next PIN is wrong",
    href="http://127.0.0.1:9/",
    buttons=[
        Button("tap", "Tap a card", "hold a card to a terminal that waits for one"),
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
