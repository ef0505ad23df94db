"""How devices come, change and go."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import select

from control_plane.accounts.permissions import Role
from control_plane.audit.actor import SYSTEM
from control_plane.db.scope import Scope
from control_plane.devices import enrollment, queries, service
from control_plane.devices.authority import Authority, CsrRefused
from control_plane.devices.enrollment import CODE_ALPHABET, NewDevice
from control_plane.devices.errors import CodeRefused, LocationUnknown, ReplacementNotPossible
from control_plane.devices.lifecycle import DeviceNotInState, DeviceState
from control_plane.devices.models import CERTIFICATES, CODES, DEVICES, EVENTS
from control_plane.errors import NotFound, RequestRefused
from control_plane.parts import Parts
from protocols.cloud.http import EnrollRequest
from tests.fakes.clock import FakeClock
from tests.fakes.fleet import Shop
from tests.fixtures.control_plane import Factory
from tests.support.certificates import csr_for


@dataclass
class Office:
    """A shop, and who signs for its devices."""

    shop: Shop
    authority: Authority

    def code(self, **options: object) -> str:
        with self.shop.parts.database.transaction() as db:
            _, code = enrollment.issue_code(
                db,
                self.shop.scope,
                self.shop.location_id,
                by=SYSTEM,
                **options,  # type: ignore[arg-type]
            )
        return code.reveal()

    def enrol(self, code: str, **fields: object) -> NewDevice:
        key = ec.generate_private_key(ec.SECP256R1())
        request = EnrollRequest(
            **({"code": code, "csr_pem": csr_for(key), "agent_version": "1.0"} | fields)  # type: ignore[arg-type]
        )
        with self.shop.parts.database.transaction() as db:
            return enrollment.enrol(db, self.authority, request)

    def device(self, **options: object) -> str:
        return self.enrol(self.code(**options)).device_id


@pytest.fixture
def office(shop: Shop, tmp_path: Path, clock: FakeClock) -> Office:
    return Office(shop, Authority.open(tmp_path / "ca", shop.parts.keyring, clock))


def uses(shop: Shop) -> list[int]:
    return [row.used for row in shop.rows(select(CODES))]


def test_a_code_is_short_readable_and_only_its_hash_is_kept(office: Office) -> None:
    code = office.code()

    assert len(code) == 9
    assert set(code.replace("-", "")) <= set(CODE_ALPHABET)
    (row,) = office.shop.rows(select(CODES))
    assert code.replace("-", "") not in str(tuple(row))
    assert row.hint == code[-2:]


def test_a_box_with_a_code_becomes_a_device_of_its_location(
    office: Office, clock: FakeClock
) -> None:
    new = office.enrol(office.code(), hostname="till-1", serial_number="SN 1")

    row = office.shop.device_row(new.device_id)
    assert (row.merchant_id, row.location_id, row.name, row.state) == (
        office.shop.merchant_id, office.shop.location_id, "till-1", DeviceState.ENROLLED,
    )  # fmt: skip
    assert (new.merchant_name, new.location_name, new.epoch) == ("Café Lumière", "Lyon", 1)
    (certificate,) = office.shop.rows(select(CERTIFICATES))
    assert (certificate.device_id, certificate.serial) == (new.device_id, new.issued.serial)
    assert row.certificate_expires_at == clock.now() + timedelta(days=90)
    assert [one.kind for one in office.shop.events()] == ["device.enrolled"]


@pytest.mark.parametrize("style", ["lower", "blank", "padded"])
def test_a_code_may_be_typed_carelessly(office: Office, style: str) -> None:
    code = office.code()
    typed = {"lower": code.lower(), "blank": code.replace("-", " "), "padded": f"  {code}\n"}

    office.enrol(typed[style])

    assert uses(office.shop) == [1]


def test_a_code_works_as_often_as_it_was_made_for(office: Office) -> None:
    code = office.code(max_uses=2)
    devices = {office.enrol(code).device_id, office.enrol(code).device_id}

    with pytest.raises(CodeRefused) as refused:
        office.enrol(code)

    assert refused.value.facts == {"why": "used up"}
    assert {row.id for row in office.shop.rows(select(DEVICES))} == devices
    assert uses(office.shop) == [2]


def test_an_expired_a_withdrawn_and_an_unknown_code_let_nobody_in(
    office: Office, clock: FakeClock
) -> None:
    expired = office.code(lifetime=timedelta(minutes=5))
    clock.advance(301)
    withdrawn = office.code()
    code_id = office.shop.rows(select(CODES.c.id).where(CODES.c.hint == withdrawn[-2:]))[0].id
    with office.shop.parts.database.transaction() as db:
        enrollment.revoke_code(db, office.shop.scope, code_id, by=SYSTEM)

    reasons = []
    for code in (expired, withdrawn, "AAAA-AAAA"):
        with pytest.raises(CodeRefused) as refused:
            office.enrol(code)
        reasons.append(refused.value.facts["why"])

    assert reasons == ["expired", "withdrawn", "unknown"]
    assert office.shop.rows(select(DEVICES)) == []


def test_a_refused_request_uses_no_code_up(office: Office) -> None:
    code = office.code()

    with pytest.raises(CsrRefused):
        office.enrol(code, csr_pem="no request")

    assert uses(office.shop) == [0]
    assert office.shop.rows(select(DEVICES)) == []
    office.enrol(code)


def test_ten_boxes_race_for_a_code_that_works_three_times(office: Office) -> None:
    code = office.code(max_uses=3)
    outcomes: list[str] = []
    ready = threading.Barrier(10)

    def try_it() -> None:
        ready.wait()
        try:
            outcomes.append(office.enrol(code).device_id)
        except CodeRefused:
            outcomes.append("refused")

    threads = [threading.Thread(target=try_it) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert outcomes.count("refused") == 7
    assert len(office.shop.rows(select(DEVICES))) == 3
    assert uses(office.shop) == [3]


@pytest.mark.parametrize(
    "options",
    [
        {"max_uses": 0},
        {"max_uses": 10_001},
        {"lifetime": timedelta(0)},
        {"lifetime": timedelta(days=91)},
    ],
    ids=["no use", "too many uses", "no time", "too much time"],
)
def test_a_code_without_bounds_is_not_made(office: Office, options: dict[str, object]) -> None:
    with pytest.raises(RequestRefused):
        office.code(**options)

    assert office.shop.rows(select(CODES)) == []


def test_a_code_for_the_location_of_another_merchant_is_not_made(
    office: Office, make: Factory
) -> None:
    foreign = make.location(make.merchant("Other"))

    with office.shop.parts.database.transaction() as db, pytest.raises(LocationUnknown):
        enrollment.issue_code(db, office.shop.scope, foreign, by=SYSTEM)

    assert office.shop.rows(select(CODES)) == []


def test_a_fresh_certificate_leaves_the_old_one_good(office: Office, clock: FakeClock) -> None:
    device_id = office.device()
    clock.advance(timedelta(days=60))
    with office.shop.parts.database.transaction() as db:
        device = queries.device_by_id(db, device_id)
        assert device is not None
        enrollment.renew(
            db, office.authority, device, csr_for(ec.generate_private_key(ec.SECP256R1()))
        )

    with office.shop.parts.database.reading() as db:
        keys = queries.public_keys(db, device_id, clock.now())
        later = queries.public_keys(db, device_id, clock.now() + timedelta(days=31))
    assert (len(keys), len(later)) == (2, 1)
    expires = office.shop.device_row(device_id).certificate_expires_at
    assert expires == clock.now() + timedelta(days=90)


def test_revoking_ends_every_certificate_and_shuts_the_broker(
    office: Office, clock: FakeClock
) -> None:
    device_id, other = office.device(), office.device()
    before = _access(office)

    with office.shop.parts.database.transaction() as db:
        service.revoke(db, office.shop.scope, device_id, by=SYSTEM)

    after = _access(office)
    assert (set(before.allowed), before.denied) == ({device_id, other}, ())
    assert (after.allowed, after.denied) == ((other,), (device_id,))
    assert [at for _, at in after.revoked] == [clock.now()]
    with office.shop.parts.database.reading() as db:
        assert queries.public_keys(db, device_id, clock.now()) == []


def test_a_device_of_another_merchant_cannot_be_touched(office: Office, make: Factory) -> None:
    device_id = office.device()
    stranger = Scope(make.merchant("Other"))

    for act in (service.revoke, service.retire, service.suspend, service.resume):
        with office.shop.parts.database.transaction() as db, pytest.raises(NotFound):
            act(db, stranger, device_id, by=SYSTEM)

    assert office.shop.device_row(device_id).state is DeviceState.ENROLLED


def test_a_cashier_of_one_shop_sees_no_device_of_another(office: Office, make: Factory) -> None:
    device_id = office.device()
    elsewhere = make.location(office.shop.merchant_id)
    caller = make.caller(office.shop.merchant_id, Role.IT, location_ids=[elsewhere])

    with office.shop.parts.database.reading() as db:
        assert queries.device(db, caller.scope, device_id) is None
        assert queries.devices(db, caller.scope, queries.DeviceFilter()) == []


def test_a_retired_device_stays_retired(office: Office) -> None:
    device_id = office.device()
    with office.shop.parts.database.transaction() as db:
        service.retire(db, office.shop.scope, device_id, by=SYSTEM)

    with office.shop.parts.database.transaction() as db, pytest.raises(DeviceNotInState):
        service.resume(db, office.shop.scope, device_id, by=SYSTEM)

    assert office.shop.device_row(device_id).state is DeviceState.RETIRED


def test_a_new_box_takes_the_place_of_a_broken_one(office: Office) -> None:
    old = office.device()
    with office.shop.parts.database.transaction() as db:
        service.change(db, office.shop.scope, old, by=SYSTEM, name="Counter 1")
        service.desire_config(db, office.shop.scope, old, {"volume": 3}, by=SYSTEM)

    new = office.enrol(office.code(replaces_id=old)).device_id

    assert office.shop.device_row(old).state is DeviceState.REPLACED
    row = office.shop.device_row(new)
    assert (row.name, row.replaces_id, row.state) == ("Counter 1", old, DeviceState.ENROLLED)
    with office.shop.parts.database.reading() as db:
        config = queries.desired_config(db, new)
    assert config is not None
    assert (config.document, config.must_send) == ({"volume": 3}, True)
    assert _access(office).denied == (old,)


def test_a_spare_box_gives_up_its_own_configuration_for_that_of_the_replaced_one(
    office: Office,
) -> None:
    shop = office.shop
    old, spare = office.device(), office.device()
    with shop.parts.database.transaction() as db:
        service.desire_config(db, shop.scope, old, {"volume": 3}, by=SYSTEM)
        own = service.desire_config(db, shop.scope, spare, {"volume": 9}, by=SYSTEM)

    with shop.parts.database.transaction() as db:
        service.replace(db, shop.scope, old, spare, by=SYSTEM)

    with shop.parts.database.reading() as db:
        config = queries.desired_config(db, spare)
    assert config is not None
    assert (config.document, config.must_send) == ({"volume": 3}, True)
    assert config.version > own, "a box takes no version that it had before"


def test_replacing_says_from_where_on_the_old_device_is_incomplete(office: Office) -> None:
    shop = office.shop
    outbox = shop.device("dev-old-box")
    shop.send(outbox, outbox.sale(), outbox.sale())
    new = office.device()

    with shop.parts.database.transaction() as db:
        service.replace(db, shop.scope, "dev-old-box", new, by=SYSTEM)

    (closed,) = [one for one in shop.events() if one.kind == "stream.closed"]
    assert closed.facts == {"stream": "tx", "epoch": "1", "incomplete_from": "3"}
    assert shop.cursors()[0].closed_at is not None
    assert shop.send(outbox, outbox.sale(), intake=shop.new_intake()) == []
    assert shop.seqs() == [1, 2]


def test_a_device_cannot_take_its_own_place_nor_a_revoked_one_anybodys(office: Office) -> None:
    one, other = office.device(), office.device()
    with office.shop.parts.database.transaction() as db:
        service.revoke(db, office.shop.scope, other, by=SYSTEM)

    for taker in (one, other):
        with office.shop.parts.database.transaction() as db, pytest.raises(ReplacementNotPossible):
            service.replace(db, office.shop.scope, one, taker, by=SYSTEM)

    assert office.shop.device_row(one).state is DeviceState.ENROLLED


def test_a_box_that_was_here_before_is_joined_to_its_history_and_ends_nobody(
    office: Office,
) -> None:
    before = office.device()

    again = office.enrol(office.code(), previous_device_id=before).device_id

    assert office.shop.device_row(again).replaces_id == before
    assert office.shop.device_row(before).state is DeviceState.ENROLLED


def test_a_box_cannot_claim_the_history_of_another_merchants_device(
    office: Office, make: Factory, parts: Parts
) -> None:
    mine = office.device()
    merchant = make.merchant("Other")
    location = make.location(merchant)
    with parts.database.transaction() as db:
        _, code = enrollment.issue_code(db, Scope(merchant), location, by=SYSTEM)

    new = office.enrol(code.reveal(), previous_device_id=mine).device_id

    assert office.shop.device_row(new).replaces_id is None


def test_each_step_of_a_device_is_in_the_activity_log_and_on_its_timeline(office: Office) -> None:
    device_id = office.device()
    with office.shop.parts.database.transaction() as db:
        service.suspend(db, office.shop.scope, device_id, by=SYSTEM)
        service.resume(db, office.shop.scope, device_id, by=SYSTEM)
        service.revoke(db, office.shop.scope, device_id, by=SYSTEM)

    kinds = [
        row.kind
        for row in office.shop.rows(
            select(EVENTS).where(EVENTS.c.device_id == device_id).order_by(EVENTS.c.id)
        )
    ]
    assert kinds == ["device.enrolled", "device.suspended", "device.active", "device.revoked"]


def _access(office: Office) -> queries.Access:
    with office.shop.parts.database.reading() as db:
        return queries.access(db, office.shop.clock.now())
