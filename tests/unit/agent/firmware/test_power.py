"""Whether a reader has the power for new software."""

from __future__ import annotations

import pytest

from agent.firmware.updates import power_objection
from firmware_profiles.profile import Firmware, Preconditions

MOBILE = Firmware(
    version_source="x", preconditions=Preconditions(battery_min_pct=30, external_power="required")
)


@pytest.mark.parametrize(
    ("told", "objection"),
    [
        ({}, ""),
        ({"battery_percent": "30"}, ""),
        ({"battery_percent": "29"}, "has 29 % battery left and needs 30 %"),
        ({"battery_percent": "80", "external_power": "yes"}, ""),
        ({"battery_percent": "80", "external_power": "no"}, "must be on its charger"),
    ],
)
def test_a_reader_is_updated_with_enough_power_only(told: dict[str, str], objection: str) -> None:
    assert power_objection(MOBILE, told) == objection


def test_a_model_that_does_not_care_is_updated_on_battery() -> None:
    firmware = Firmware(version_source="x", preconditions=Preconditions())

    assert power_objection(firmware, {"battery_percent": "1", "external_power": "no"}) == ""
