"""The command on a database of its own: what an operator types, and what comes of it."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from control_plane.cli import main
from control_plane.configuration.models import REVISIONS
from control_plane.devices.models import CONFIGS
from control_plane.parts import Parts
from tests.fakes.fleet import Shop
from tests.integration.control_plane.configuration.test_configuration_api import (
    ECR,
    box,
    settings_of,
)


@pytest.fixture(autouse=True)
def installation(shop: Shop, parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same installation for the program, with a box in it."""
    box(shop, rd_1=ECR)
    settings = parts.settings
    monkeypatch.setenv("OMNITILL_MODE", str(settings.mode))
    monkeypatch.setenv("OMNITILL_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("OMNITILL_DATABASE_URL", settings.effective_database_url)
    monkeypatch.setenv("OMNITILL_SECRET_KEY", settings.secret_key.get_secret_value())


def test_an_operator_sets_looks_pushes_and_goes_back(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", "set", "organisation", "result_timeout_s=60"]) == 0
    told = capsys.readouterr().out
    assert "Revision 1. Nothing is sent yet." in told
    assert "It touches 1 readers on 1 boxes." in told
    assert (
        main(["config", "set", "location", shop.location_id, "lrc_mode=std", "--profile", ECR]) == 0
    )
    assert main(["config", "push", "--all"]) == 0
    assert settings_of(shop) == {"rd_1": {"lrc_mode": "std", "result_timeout_s": 60}}
    assert main(["config", "set", "location", shop.location_id, "lrc_mode=", "--profile", ECR]) == 0
    capsys.readouterr()
    assert main(["config", "diff", "2", "3"]) == 0
    assert 'lrc_mode: "std" -> null' in capsys.readouterr().out
    assert main(["config", "restore", "2"]) == 0
    main(["config", "device", "dev-aaaa"])
    assert f'lrc_mode = "std"  (location:{shop.location_id})' in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["set", "organisation", "result_timeout_s=1"],
        ["set", "organisation", "colour=red"],
        ["set", "location", "Nowhere", "lrc_mode=std"],
        ["restore", "9"],
        ["push", "--device", "dev-nobody"],
        ["device", "dev-nobody"],
    ],
)
def test_what_is_refused_is_told_and_changes_nothing(
    shop: Shop, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert main(["config", *words]) == 1

    assert capsys.readouterr().err.strip()
    assert shop.rows(select(func.count()).select_from(REVISIONS)) == [(0,)]
    assert shop.rows(select(CONFIGS)) == []


def test_a_trial_changes_nothing(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "set", "organisation", "result_timeout_s=60", "--dry-run"]) == 0

    assert "It touches 1 readers on 1 boxes." in capsys.readouterr().out
    assert shop.rows(select(func.count()).select_from(REVISIONS)) == [(0,)]
