"""Puts a swarm's devices into the database, with certificates of this installation's own authority."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy import insert, select

from control_plane.accounts import queries as accounts
from control_plane.accounts import service as account_service
from control_plane.db.engine import Database
from control_plane.devices.authority import Authority, write_private
from control_plane.devices.enrollment import FIRST_CELL
from control_plane.devices.lifecycle import DeviceState
from control_plane.devices.models import CERTIFICATES, DEVICES
from control_plane.swarm.member import Remembered

#: What marks a device of a swarm.
PLATFORM: Final = "swarm"
MERCHANT: Final = "Swarm"
#: Devices that share a shop.
SHOP_SIZE: Final = 16
_PIECE: Final = 500
_MEMORY: Final = "memory.json"


@dataclass(frozen=True, slots=True)
class Seeded:
    """One device that may connect."""

    device_id: str
    cell: str
    number: int


class Pen:
    """The folder of a swarm: one key for all, a certificate for each, what they remember."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.key_file = folder / "key.pem"
        if not self.key_file.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            pem = key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            write_private(self.key_file, pem)

    def request(self) -> str:
        """A certificate request of the one key; who is named in it counts for nothing."""
        key = serialization.load_pem_private_key(self.key_file.read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError(f"{self.key_file} holds another kind of key")
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, PLATFORM)])
        builder = x509.CertificateSigningRequestBuilder().subject_name(name)
        signed = builder.sign(key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM).decode()

    def certificate_file(self, device_id: str) -> Path:
        """Where a device's certificate lies."""
        return self._folder / f"{device_id}.crt"

    def tls(self, ca_pem: str) -> Callable[[str], ssl.SSLContext]:
        """Makes the TLS context of a device."""

        def make(device_id: str) -> ssl.SSLContext:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(cadata=ca_pem)
            context.load_cert_chain(self.certificate_file(device_id), self.key_file)
            return context

        return make

    def memory(self) -> dict[str, Remembered]:
        """What the last run kept."""
        try:
            content = (self._folder / _MEMORY).read_bytes()
        except FileNotFoundError:
            return {}
        return msgspec.json.decode(content, type=dict[str, Remembered])

    def remember(self, memory: dict[str, Remembered]) -> None:
        """For the next run."""
        write_private(self._folder / _MEMORY, msgspec.json.encode(memory))


def seed(
    database: Database,
    authority: Authority,
    pen: Pen,
    count: int,
    now: datetime,
    *,
    merchant: str = "",
    on_progress: Callable[[int], None] = lambda _: None,
) -> list[Seeded]:
    """The first ``count`` devices of the swarm; those that are missing are made, shops too.

    Raises LookupError when the merchant is not there.
    """
    there = _there(database, pen)
    missing = count - len(there)
    if missing > 0:
        merchant_id = _merchant(database, merchant)
        csr = pen.request()
        made = 0
        for piece in _pieces(range(len(there), count)):
            shops = _shops(database, merchant_id, {number // SHOP_SIZE for number in piece})
            rows = [
                _device(merchant_id, shops[number // SHOP_SIZE], number, now) for number in piece
            ]
            certificates = []
            for row in rows:
                issued = authority.sign_device(csr, row["id"])
                pen.certificate_file(row["id"]).write_text(issued.certificate_pem)
                row["certificate_expires_at"] = issued.not_after
                certificates.append(
                    {
                        "serial": issued.serial,
                        "merchant_id": merchant_id,
                        "device_id": row["id"],
                        "fingerprint": issued.fingerprint,
                        "public_key": issued.public_key_pem,
                        "not_after": issued.not_after,
                        "issued_at": now,
                    }
                )
            with database.transaction() as db:
                db.execute(insert(DEVICES), rows)
                db.execute(insert(CERTIFICATES), certificates)
            made += len(rows)
            on_progress(len(there) + made)
        there = _there(database, pen)
    return there[:count]


def _there(database: Database, pen: Pen) -> list[Seeded]:
    with database.reading() as db:
        rows = db.execute(
            select(DEVICES.c.id, DEVICES.c.cell, DEVICES.c.serial_number)
            .where(DEVICES.c.platform == PLATFORM, DEVICES.c.id.like("dev-swarm%"))
            .order_by(DEVICES.c.id)
        ).all()
    return [
        Seeded(row.id, row.cell, int(row.id.removeprefix("dev-swarm")))
        for row in rows
        if pen.certificate_file(row.id).exists()
    ]


def _merchant(database: Database, wanted: str) -> str:
    table = accounts.MERCHANTS
    with database.transaction() as db:
        rows = db.execute(table.select()).all()
        found = [row.id for row in rows if wanted and wanted in (row.id, row.name)]
        if wanted and not found:
            names = ", ".join(row.name for row in rows) or "none"
            raise LookupError(f"There is no merchant {wanted}. There are: {names}.")
        found = found or [row.id for row in rows if row.name == MERCHANT]
        return str(found[0]) if found else account_service.create_merchant(db, MERCHANT)


def _shops(database: Database, merchant_id: str, numbers: set[int]) -> dict[int, str]:
    table = accounts.LOCATIONS
    with database.transaction() as db:
        rows = db.execute(table.select().where(table.c.merchant_id == merchant_id)).all()
        by_name = {row.name: row.id for row in rows}
        return {
            number: by_name.get(_shop_name(number))
            or account_service.create_location(db, merchant_id, _shop_name(number))
            for number in sorted(numbers)
        }


def _shop_name(number: int) -> str:
    return f"Shop {number + 1:04d}"


def _device(merchant_id: str, location_id: str, number: int, now: datetime) -> dict[str, Any]:
    return {
        "id": f"dev-swarm{number:07d}",
        "merchant_id": merchant_id,
        "location_id": location_id,
        "name": f"till-{number}",
        "state": DeviceState.ENROLLED,
        "state_since": now,
        "cell": FIRST_CELL,
        "serial_number": f"SW{number:08d}",
        "hostname": f"till-{number}",
        "platform": PLATFORM,
        "agent_version": "",
        "boot": 0,
        "conn": 0,
        "presence": "unknown",
        "is_online": False,
        "reported": {},
        "telemetry": {},
        "epoch": 1,
        "enrolled_at": now,
        "created_at": now,
    }


def _pieces(numbers: range) -> Iterator[range]:
    for start in range(numbers.start, numbers.stop, _PIECE):
        yield range(start, min(start + _PIECE, numbers.stop))
