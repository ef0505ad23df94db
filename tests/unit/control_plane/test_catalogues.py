"""Errors, audit tags, permissions and settings: each member is complete."""

from __future__ import annotations

import re
import string
from collections import Counter
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import pytest

import control_plane
from control_plane.accounts.permissions import ROLES, Permission, Role
from control_plane.audit.tags import AuditTag
from control_plane.config import CONFIG_VARIABLE, Settings
from control_plane.errors import DomainError


def errors() -> list[type[DomainError]]:
    for module in walk_packages(control_plane.__path__, "control_plane."):
        # Migrations run only within Alembic, and a program runs when it is imported.
        if "migrations" not in module.name and not module.name.endswith("__main__"):
            import_module(module.name)
    found: list[type[DomainError]] = []
    waiting = list(DomainError.__subclasses__())
    while waiting:
        kind = waiting.pop()
        if kind.__module__.startswith("control_plane."):
            found.append(kind)
        waiting += kind.__subclasses__()
    return found


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_each_error_has_a_code_of_its_own() -> None:
    kinds: set[type[DomainError]] = {*errors(), DomainError}
    codes = Counter(kind.code for kind in kinds)

    assert [code for code, count in codes.items() if count > 1] == []


def test_each_error_says_what_happened_without_blame() -> None:
    blaming = re.compile(r"(?i)\b(invalid|error|please|illegal|bad)\b")

    assert [kind.__name__ for kind in errors() if blaming.search(kind.message)] == []
    assert [kind.__name__ for kind in errors() if not 400 <= kind.status < 600] == []


def test_a_message_without_its_facts_is_still_a_sentence() -> None:
    assert DomainError().detail("{name} is offline.") == "– is offline."


@pytest.mark.parametrize("tag", AuditTag, ids=str)
def test_each_audit_tag_has_three_parts_and_both_languages(tag: AuditTag) -> None:
    assert re.fullmatch(r"[a-z]+:[a-z_]+:[a-z_]+", tag)
    assert tag.english
    assert tag.french
    assert tag.english != tag.french
    assert fields(tag.english) == fields(tag.french)
    assert fields(tag.english) <= {"actor", "object"}


def test_no_two_audit_tags_are_the_same() -> None:
    assert len({tag.value for tag in AuditTag}) == len(AuditTag.__members__)


def test_an_owner_may_do_everything_and_each_role_something_less() -> None:
    assert ROLES[Role.OWNER] == frozenset(Permission)
    assert all(ROLES[role] < ROLES[Role.OWNER] for role in Role if role is not Role.OWNER)
    assert set(ROLES) == set(Role)


def test_a_cashier_takes_payments_and_manages_nothing_but_customers() -> None:
    assert Permission.PAYMENT_SESSION_CREATE in ROLES[Role.CASHIER]
    managing = [one for one in ROLES[Role.CASHIER] if one.endswith((":manage", ":enroll"))]
    assert managing == [Permission.CUSTOMER_MANAGE]


def test_only_those_who_handle_money_can_start_a_payment() -> None:
    able = {role for role in Role if Permission.PAYMENT_SESSION_CREATE in ROLES[role]}

    assert able == {Role.CASHIER, Role.MANAGER, Role.OWNER}


def test_the_environment_wins_over_the_file_and_the_file_over_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "omnitill.toml"
    file.write_text('port = 9000\nhost = "0.0.0.0"\n[broker]\nport = 1234\nkind = "mosquitto"\n')
    monkeypatch.setenv(CONFIG_VARIABLE, str(file))
    monkeypatch.setenv("OMNITILL_PORT", "9001")
    monkeypatch.setenv("OMNITILL_BROKER__PORT", "4321")

    settings = Settings()

    assert (settings.port, settings.host) == (9001, "0.0.0.0")
    assert (settings.broker.port, settings.broker.kind) == (4321, "mosquitto")
    assert settings.worker_threads == 4


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("", "sqlite:///data/omnitill.sqlite3"),
        ("postgres://u@h/d", "postgresql+psycopg://u@h/d"),
        ("postgresql://u@h/d", "postgresql+psycopg://u@h/d"),
        ("postgresql+psycopg://u@h/d", "postgresql+psycopg://u@h/d"),
    ],
)
def test_the_database_address_gets_our_driver(given: str, used: str) -> None:
    assert Settings(data_dir=Path("data"), database_url=given).effective_database_url == used


def test_secrets_in_settings_hide_themselves() -> None:
    settings = Settings.model_validate({"secret_key": "c2VjcmV0", "metrics_token": "hunter2"})

    assert "hunter2" not in repr(settings)
    assert "c2VjcmV0" not in repr(settings)
