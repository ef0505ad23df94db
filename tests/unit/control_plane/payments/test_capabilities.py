"""What a model cannot do is not asked of it."""

from __future__ import annotations

import pytest

from control_plane.devices.lifecycle import DeviceState
from control_plane.payments.capabilities import require
from control_plane.payments.errors import ReaderCannot
from control_plane.payments.queries import ReaderForPayment


def reader(profile: str) -> ReaderForPayment:
    return ReaderForPayment(
        "rd_1",
        "Counter 1",
        "mer_1",
        "loc_1",
        "dev-1",
        DeviceState.ACTIVE,
        True,
        "ready",
        False,
        profile,
    )


@pytest.mark.parametrize("capability", ["refund", "reversal"])
@pytest.mark.parametrize("profile", ["generic-zvt-tcp", "generic-zvt-serial"])
def test_the_built_in_models_give_money_back(profile: str, capability: str) -> None:
    require(reader(profile), capability)


def test_what_a_profile_denies_is_refused_in_words() -> None:
    with pytest.raises(ReaderCannot, match="Counter 1 is of a model that has no firmware_update"):
        require(reader("generic-zvt-tcp"), "firmware_update")


def test_a_model_that_is_not_known_here_is_left_to_its_device() -> None:
    require(reader("from-a-newer-catalogue"), "refund")
