"""What may be set on a reader: one rule for the console, the agent and JSON Schema."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_profiles import load_all, load_profile
from firmware_profiles import settings as schema
from firmware_profiles.errors import SettingRefused
from firmware_profiles.profile import ReaderProfile, read_profile

SETTINGS: dict[str, Any] = {  # [settings] of a file
    "timeout_s": {"type": "int", "scope": "agent", "min": 5, "max": 255, "default": 60, "sets": "timeouts_ms.result"},
    "mode": {"type": "enum", "scope": "agent", "values": ["a", "b"], "default": "a", "sets": "mode"},
    "beep": {"type": "bool", "scope": "agent"},
    "closing": {"type": "time", "scope": "agent", "requires": ["idle", "end_of_day_done"]},
    "password": {"type": "digits", "scope": "agent", "length": 6, "secret": True, "default": "000000"},
    "slogan": {"type": "string", "scope": "agent", "length": 10},
    "hidden": {"type": "bool", "scope": "device", "enabled": False},
}  # fmt: skip


@pytest.fixture
def profile() -> ReaderProfile:
    about = {
        "id": "one",
        "revision": 1,
        "vendor": "Any",
        "model": "Reader",
        "kind": "payment_terminal",
        "family": "any",
    }
    protocol = {"name": "zvt", "mode": "a", "timeouts_ms": {"result": 60_000}}
    return read_profile(
        {"schema": 1, "profile": about, "protocol": protocol, "settings": SETTINGS}, "one.toml"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timeout_s", 5),
        ("timeout_s", 255),
        ("mode", "b"),
        ("beep", False),
        ("closing", "03:30"),
        ("closing", "23:59"),
        ("password", "012345"),
        ("slogan", "Thank you!"),
    ],
)
def test_a_value_within_its_limits_is_taken_as_it_is(
    profile: ReaderProfile, name: str, value: object
) -> None:
    assert schema.check(profile, {name: value}) == {name: value}


@pytest.mark.parametrize(
    ("name", "value", "fix"),
    [
        ("timeout_s", 4, "takes a whole number from 5 to 255"),
        ("timeout_s", 256, "takes a whole number from 5 to 255"),
        ("timeout_s", "60", "takes a whole number from 5 to 255"),
        ("timeout_s", True, "takes a whole number from 5 to 255"),
        ("timeout_s", 60.0, "takes a whole number from 5 to 255"),
        ("mode", "c", "takes one of a, b"),
        ("mode", 1, "takes one of a, b"),
        ("beep", 1, "takes true or false"),
        ("beep", "true", "takes true or false"),
        ("closing", "24:00", "takes a time of day such as 03:30"),
        ("closing", "3:30", "takes a time of day such as 03:30"),
        ("password", "12345", "takes exactly 6 digits"),
        ("password", "12345x", "takes exactly 6 digits"),
        ("password", "123456\n", "takes exactly 6 digits"),
        ("password", "١٢٣٤٥٦", "takes exactly 6 digits"),
        ("slogan", "", "takes a text of 1 to 10 characters, on one line"),
        ("slogan", "x" * 11, "takes a text of 1 to 10 characters, on one line"),
        ("slogan", "a\nb", "takes a text of 1 to 10 characters, on one line"),
        ("hidden", True, "Any Reader has no such setting; it has timeout_s, mode, beep, closing, password, slogan"),
        ("typo", 1, "Any Reader has no such setting; it has timeout_s, mode, beep, closing, password, slogan"),
    ],
)  # fmt: skip
def test_a_value_that_is_not_taken_is_refused_with_its_field_and_what_it_takes(
    profile: ReaderProfile, name: str, value: object, fix: str
) -> None:
    with pytest.raises(SettingRefused) as refused:
        schema.check(profile, {name: value})

    assert (refused.value.field, refused.value.fix) == (name, fix)


def test_what_somebody_typed_becomes_a_value_of_its_type(profile: ReaderProfile) -> None:
    settings = schema.offered(profile)

    assert schema.from_text("timeout_s", settings["timeout_s"], " 90 ") == 90
    assert schema.from_text("beep", settings["beep"], "false") is False
    assert schema.from_text("mode", settings["mode"], "b") == "b"
    for name, text in (("timeout_s", "9.5"), ("timeout_s", ""), ("beep", "yes"), ("mode", "")):
        with pytest.raises(SettingRefused):
            schema.from_text(name, settings[name], text)


def test_a_setting_stands_in_for_the_option_that_it_sets(profile: ReaderProfile) -> None:
    set_up = schema.configured(profile, {"timeout_s": 90, "mode": "b", "beep": True})

    assert set_up.protocol.options == {"mode": "b"}
    assert set_up.protocol.timeouts_ms == {"result": 90_000}
    assert profile.protocol.options == {"mode": "a"}
    assert schema.configured(profile, {}) == profile


def test_a_secret_is_never_told_as_a_default(profile: ReaderProfile) -> None:
    assert schema.defaults(profile) == {"timeout_s": 60, "mode": "a"}
    assert schema.json_schema(profile)["properties"]["password"] == {
        "type": "string",
        "pattern": "^[0-9]{6}$",
        "writeOnly": True,
    }


def test_what_must_hold_before_it_is_written_is_told(profile: ReaderProfile) -> None:
    closing = profile.settings["closing"]

    assert schema.unmet(closing, {"idle": True}) == ("end_of_day_done",)
    assert schema.unmet(closing, {"idle": True, "end_of_day_done": True}) == ()
    assert schema.unmet(closing, {}) == ("idle", "end_of_day_done")


@given(
    st.sampled_from(sorted(SETTINGS)),
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12)),
)
def test_nothing_but_what_a_setting_takes_gets_through(name: str, value: object) -> None:
    settings = read_profile(
        {
            "schema": 1,
            "profile": {"id": "one", "revision": 1, "vendor": "Any", "model": "Reader",
                        "kind": "payment_terminal", "family": "any"},
            "protocol": {"name": "zvt"},
            "settings": SETTINGS,
        },
        "one.toml",
    )  # fmt: skip
    refused = None
    taken = None
    try:
        taken = schema.check(settings, {name: value})
    except SettingRefused as told:
        refused = told.field

    assert (taken, refused) in (({name: value}, None), (None, name))
    assert name != "hidden" or refused == name


@pytest.mark.parametrize("name", sorted(load_all()[0]))
def test_each_model_takes_its_own_defaults(name: str) -> None:
    model = load_profile(name)

    assert schema.check(model, schema.defaults(model)) == schema.defaults(model)
    assert schema.configured(model, schema.defaults(model)).protocol == model.protocol
