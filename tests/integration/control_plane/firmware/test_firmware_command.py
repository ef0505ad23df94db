"""`omnitill firmware`, on a database of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from control_plane.cli import main
from control_plane.firmware.models import RELEASES
from control_plane.parts import Parts
from tests.fixtures.control_plane import Factory


@pytest.fixture(autouse=True)
def installation(sqlite_parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same installation for the program."""
    settings = sqlite_parts.settings
    monkeypatch.setenv("OMNITILL_MODE", str(settings.mode))
    monkeypatch.setenv("OMNITILL_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("OMNITILL_DATABASE_URL", settings.effective_database_url)
    monkeypatch.setenv("OMNITILL_SECRET_KEY", settings.secret_key.get_secret_value())


def test_a_file_becomes_a_signed_release(
    sqlite_parts: Parts, sqlite_make: Factory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sqlite_make.merchant()
    image = tmp_path / "cvend.bin"
    image.write_bytes(b"image" * 100)
    words = ["firmware", "add", str(image), "--profile", "feig-cvend-plug", "--number", "0x20"]

    added = main([*words, "--version", "GER-APP-v2.0.12", "--vendor-signed"])
    again = main([*words, "--version", "GER-APP-v2.0.12"])
    misfit = main(["firmware", "add", str(image), "--profile", "generic-zvt-tcp", "--version", "1"])
    capsys.readouterr()
    main(["firmware", "list"])

    assert (added, again, misfit) == (0, 1, 1)
    with sqlite_parts.database.reading() as db:
        (row,) = db.execute(select(RELEASES)).all()
    assert (row.number, row.size, row.state.value, bool(row.signature)) == (32, 500, "ready", True)
    assert "GER-APP-v2.0.12" in capsys.readouterr().out
