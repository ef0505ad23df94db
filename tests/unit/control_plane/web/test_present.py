"""How rows are written for people."""

from __future__ import annotations

import pytest

from control_plane.web.present import maker_and_model


@pytest.mark.parametrize(
    ("vendor", "model", "shown"),
    [
        ("CCV", "Base Next", "CCV Base Next"),
        ("any", "Omnitill SIM", "Omnitill SIM"),
        ("any", None, ""),
        (None, "VX 820", "VX 820"),
    ],
)
def test_a_maker_is_shown_only_when_it_is_one(
    vendor: str | None, model: str | None, shown: str
) -> None:
    assert maker_and_model(vendor, model) == shown
