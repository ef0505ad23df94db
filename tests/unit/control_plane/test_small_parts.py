"""Rate limit, time slots, back-off, scope, columns, logs, problems: no I/O."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum

import pytest
from sqlalchemy.engine.default import DefaultDialect
from starlette.exceptions import HTTPException

from control_plane.accounts.models import Location, Membership, User
from control_plane.accounts.service import normalized_email
from control_plane.audit.service import hash_of
from control_plane.db.columns import TextEnum, UtcDateTime
from control_plane.db.scope import Scope
from control_plane.errors import NotFound, RequestRefused, TooManyRequests
from control_plane.http.problems import problem_of
from control_plane.http.rate_limit import RateLimit
from control_plane.jobs.job_queue import backoff
from control_plane.jobs.scheduler import slot_of
from control_plane.logs import hide_secrets
from protocols.errors import MoneyMismatch
from protocols.secret import Secret

DIALECT = DefaultDialect()


class Seconds:
    """A monotonic clock that stands still."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_caller_may_burst_then_waits_then_may_again() -> None:
    clock = Seconds()
    limit = RateLimit(60, monotonic=clock)

    passed = [limit.seconds_to_wait("ada") for _ in range(11)]
    clock.now += 1

    assert passed == [0] * 10 + [1]
    assert limit.seconds_to_wait("ada") == 0
    assert limit.seconds_to_wait("ada") == 1


def test_one_caller_does_not_use_up_what_another_has() -> None:
    limit = RateLimit(6, monotonic=Seconds())

    assert [limit.seconds_to_wait("ada"), limit.seconds_to_wait("ada")] == [0, 10]
    assert limit.seconds_to_wait("noé") == 0


def test_slots_of_all_processes_agree_whenever_they_started() -> None:
    every = timedelta(minutes=15)
    first = slot_of(datetime(2026, 5, 4, 8, 14, 59, tzinfo=UTC), every)
    second = slot_of(datetime(2026, 5, 4, 8, 0, 1, tzinfo=UTC), every)

    assert first == second == datetime(2026, 5, 4, 8, 0, tzinfo=UTC)
    assert slot_of(datetime(2026, 5, 4, 8, 15, tzinfo=UTC), every) == first + every


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 2), (5, 32), (12, 3600), (5000, 3600)])
def test_a_failed_job_waits_twice_as_long_each_time_up_to_an_hour(
    attempt: int, seconds: int
) -> None:
    waits = [backoff(attempt).total_seconds() for _ in range(50)]

    assert min(waits) >= 0.8 * seconds
    assert max(waits) <= 1.2 * seconds
    assert len(set(waits)) > 1


def test_a_scope_selects_its_merchant_and_its_locations() -> None:
    scope = Scope("mer_1", frozenset({"loc_2", "loc_1"}))

    assert [str(one) for one in scope.conditions(Location)] == [
        "location.merchant_id = :merchant_id_1"
    ]
    assert "membership.merchant_id" in str(scope.select(Membership))
    assert scope.covers("loc_1")
    assert not scope.covers("loc_3")
    assert not scope.covers(None)
    assert not scope.covers_all(None)
    assert not scope.covers_all(["loc_1", "loc_3"])


def test_a_table_without_merchant_is_no_tenants_table() -> None:
    with pytest.raises(TypeError, match="merchant_id"):
        Scope("mer_1").select(User)


def test_a_moment_without_time_zone_is_not_stored() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        UtcDateTime().process_bind_param(datetime(2026, 1, 1), DIALECT)  # noqa: DTZ001 - the point


def test_a_moment_comes_back_in_utc_from_either_database() -> None:
    moment = datetime(2026, 1, 1, 12, tzinfo=UTC)
    naive = moment.replace(tzinfo=None)
    elsewhere = moment.astimezone(timezone(timedelta(hours=5)))

    assert UtcDateTime().process_result_value(naive, DIALECT) == moment
    back = UtcDateTime().process_result_value(elsewhere, DIALECT)
    assert back is not None
    assert (back, back.tzinfo) == (moment, UTC)


def test_a_text_enum_refuses_what_is_no_member() -> None:
    class Colour(StrEnum):
        RED = "red"

    column = TextEnum(Colour)

    assert column.process_bind_param(Colour.RED, DIALECT) == "red"
    assert column.process_result_value("red", DIALECT) is Colour.RED
    with pytest.raises(ValueError, match="blue"):
        column.process_bind_param("blue", DIALECT)


@pytest.mark.parametrize("text", ["", "ada", "@x.fr", "ada@host", "a da@x.fr", "a" * 250 + "@x.fr"])
def test_what_cannot_be_an_address_is_refused(text: str) -> None:
    with pytest.raises(RequestRefused):
        normalized_email(text)


def test_addresses_are_compared_without_case_and_blanks() -> None:
    assert normalized_email(" Ada@Example.COM ") == "ada@example.com"


def test_the_log_hides_secrets_and_card_numbers_wherever_they_stand() -> None:
    event = hide_secrets(
        None,
        "info",
        {
            "event": "paid with 4242 4242 4242 4242",
            "password": "hunter2",
            "nested": {"Authorization": "Bearer x", "note": ["5555555555554444"]},
            "number": 4111111111111111,
            "wrapped": Secret("x"),
            "amount_minor": 1234,
            "at": 1764000000000,
        },
    )

    written = repr(event)
    assert "4242 4242 4242" not in written
    assert "hunter2" not in written
    assert "Bearer" not in written
    assert "5555555555554444" not in written
    assert "4111111111111111" not in written
    assert event["amount_minor"] == 1234


def test_a_problem_tells_what_its_error_tells() -> None:
    problem = problem_of(NotFound("reader", "rd_1"))

    body = problem.body("req_1")

    assert (body["status"], body["code"], body["retryable"]) == (404, "not_found", False)
    assert body["detail"].startswith("There is no reader rd_1 ")
    assert body["facts"] == {"kind": "reader", "id": "rd_1"}
    assert body["request_id"] == "req_1"


def test_a_problem_of_haste_says_when_to_come_back() -> None:
    assert problem_of(TooManyRequests(retry_after_s=7)).headers == {"Retry-After": "7"}


def test_what_nobody_expected_is_told_without_its_details() -> None:
    problem = problem_of(RuntimeError("password=hunter2"))

    assert problem.status == 500
    assert "hunter2" not in str(problem.body("req_1"))


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (HTTPException(404), 404, "not_found"),
        (HTTPException(405), 405, "method_not_allowed"),
        (MoneyMismatch("currency is not known"), 422, "money_mismatch"),
    ],
)
def test_every_kind_of_error_has_its_problem(error: Exception, status: int, code: str) -> None:
    problem = problem_of(error)

    assert (problem.status, problem.code) == (status, code)


def test_the_hash_of_an_event_covers_each_of_its_fields() -> None:
    event = {
        "id": "aud_1",
        "merchant_id": "mer_1",
        "seq": 1,
        "at": datetime(2026, 1, 1, tzinfo=UTC),
        "tag": "user:role:change",
        "actor_kind": "user",
        "actor_id": "usr_1",
        "actor_name": "Ada",
        "object_id": "usr_2",
        "object_name": "Noé",
        "before": {"role": "cashier"},
        "after": None,
        "ip": "192.0.2.1",
        "user_agent": "x",
    }
    original = hash_of(event, "0" * 64)

    others = {hash_of({**event, name: "other"}, "0" * 64) for name in event}
    others.add(hash_of(event, "1" * 64))

    assert original not in others
    assert len(others) == len(event) + 1
