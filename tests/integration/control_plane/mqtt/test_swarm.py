"""A swarm against a whole installation: what well-behaved devices say is all there, whatever the others do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from control_plane.devices.models import DEVICES, EVENTS
from control_plane.ingest.models import QUARANTINE
from control_plane.parts import Parts
from control_plane.swarm.member import VICES, Vice
from control_plane.transactions.models import TRANSACTIONS
from tests.support.installation import BROKERS, Installation, Kind, running


def rows(parts: Parts, statement: Any) -> list[Any]:
    with parts.database.reading() as db:
        return list(db.execute(statement).all())


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("broker", BROKERS)
def test_what_good_devices_say_is_kept_once_whatever_bad_ones_do(
    broker: Kind, tmp_path: Path
) -> None:
    with running(tmp_path, broker) as (shop, parts):
        code, said, complaint = shop.swarm(
            "--devices", "40", "--readers", "2", "--sale-every", "8", "--heartbeat", "2",
            "--connect-within", "3", "--misbehave", "0.4", "--seconds", "35",
        )  # fmt: skip
        assert (code, complaint.count("Traceback")) == (0, 0), complaint[-2000:]
        ledger = rows(
            parts,
            select(TRANSACTIONS.c.session_id),
        )
        devices = {row.id: row for row in rows(parts, select(DEVICES))}
        kept = rows(parts, select(QUARANTINE.c.device_id))
        told = rows(parts, select(EVENTS.c.device_id, EVENTS.c.kind))

    assert len(ledger) == len({row.session_id for row in ledger})
    assert said["acknowledged"] <= len(ledger) <= said["sales"]
    # The one that is forged by the spy: nobody ever said a word for it but itself.
    assert said["sales"] - said["acknowledged"] == said["waiting"]
    victim = devices["dev-swarm0000039"]
    gone = [row.kind for row in told if row.device_id == victim.id and row.kind == "device.offline"]
    assert (victim.conn, gone) == (1, [])
    assert f"dev-swarm{VICES.index(Vice.GARBLING):07d}" in {row.device_id for row in kept}
    assert all(devices[f"dev-swarm{number:07d}"].is_online for number in range(16, 39))


@pytest.mark.timeout(120)
def test_a_swarm_that_comes_again_goes_on_with_its_numbers(tmp_path: Path) -> None:
    options = ("--devices", "3", "--sale-every", "1", "--connect-within", "1", "--seconds", "6")
    with running(tmp_path, "embedded_nats") as (shop, parts):
        first, second = shop.swarm(*options)[1], shop.swarm(*options)[1]
        ledger = rows(parts, select(func.count()).select_from(TRANSACTIONS))[0][0]
        epochs = {row.epoch for row in rows(parts, select(TRANSACTIONS.c.epoch))}
        count = rows(parts, select(func.count()).select_from(DEVICES))[0][0]

    assert (count, epochs) == (3, {1})
    assert first["acknowledged"] + second["acknowledged"] <= ledger
    assert ledger <= first["sales"] + second["sales"]


def test_a_swarm_is_refused_where_money_is_real(tmp_path: Path) -> None:
    shop = Installation(tmp_path, "embedded_nats")
    shop.environment["OMNITILL_MODE"] = "live"

    code, figures, complaint = shop.swarm("--devices", "3")

    assert (code, figures) == (1, {})
    assert "A swarm is for demo and test" in complaint
    assert not (tmp_path / "data" / "swarm").exists()


@pytest.mark.parametrize(
    ("option", "fix"),
    [
        (["--devices", "0"], "1 to 100000"),
        (["--misbehave", "2"], "0 to 1"),
        (["--vices", "rude"], "there is no rude"),
    ],
)
def test_a_wish_that_cannot_be_is_explained(tmp_path: Path, option: list[str], fix: str) -> None:
    code, _, complaint = Installation(tmp_path, "embedded_nats").swarm(*option)

    assert code == 2
    assert fix in complaint
