"""Which releases a reader gets, in which order, and why it gets none."""

from __future__ import annotations

from typing import Any

import pytest

from firmware_profiles import load_profile
from firmware_profiles.planner import Approval, Release, UpdatePlan, UpdateStep, plan
from firmware_profiles.profile import FirmwareFile, ReaderProfile, read_profile

FIRMWARE: dict[str, Any] = {  # [firmware] of a file
    "channels": ["stable", "pilot"],
    "version_source": "zvt:05 01",
    "version_format": r"^(?P<lang>[A-Z]{3})-APP-v(?P<major>\d+)\.(?P<minor>\d+)\.(?P<patch>\d+)",
    "compare": "numeric:major,minor,patch",
    "group_must_match": ["lang"],
    "min_allowed": "2.0.0",
    "method": "zvt_0814_push",
    "file": {"max_bytes": 1000, "vendor_signed": True},
}


def profile(**firmware: Any) -> ReaderProfile:
    about = {
        "id": "one",
        "revision": 1,
        "vendor": "FEIG",
        "model": "cVEND",
        "kind": "payment_terminal",
        "family": "zvt",
    }
    tables = {
        "schema": 1,
        "profile": about,
        "protocol": {"name": "zvt"},
        "capabilities": {"firmware_update": True},
        "firmware": {**FIRMWARE, **firmware},
    }
    return read_profile(tables, "one.toml")


def release(version: str, position: int = 0, **more: Any) -> Release:
    settings = {"size": 10, "sha256": "ab" * 32, "is_vendor_signed": True, **more}
    text = f"GER-APP-v{version}" if version[0].isdigit() else version
    return Release(version=text, position=position, **settings)


def ways(planned: UpdatePlan) -> list[str]:
    return [step.release.version for step in planned.steps if step.release]


def codes(planned: UpdatePlan) -> list[str]:
    assert planned.steps == ()
    return [refusal.code for refusal in planned.refusals]


def test_the_newest_release_of_the_channel_is_one_step_away() -> None:
    releases = [release("2.0.9", 1), release("2.0.10", 2), release("2.1.0", 3, channel="pilot")]

    planned = plan(profile(), "GER-APP-v2.0.9", releases)

    assert planned.steps == (UpdateStep("zvt_0814_push", releases[1]),)
    assert planned.refusals == ()
    assert ways(plan(profile(), "GER-APP-v2.0.9", releases, channel="pilot")) == ["GER-APP-v2.1.0"]


def test_what_is_installed_is_not_installed_again() -> None:
    planned = plan(profile(), "GER-APP-v2.0.10", [release("2.0.10")])

    assert planned.is_current
    assert (
        plan(profile(), "GER-APP-v2.0.10", [release("2.0.10")], target="GER-APP-v2.0.10") == planned
    )


def test_a_reader_that_is_ahead_of_its_channel_is_left_alone() -> None:
    assert plan(profile(), "GER-APP-v2.2.0", [release("2.1.0")]).is_current


def test_a_release_that_needs_a_newer_start_is_reached_by_the_fewest_steps() -> None:
    releases = [
        release("2.1.0", 1),
        release("2.2.0", 2),
        release("2.3.0", 3, min_current="2.1.0"),
        release("3.0.0", 4, min_current="2.3.0"),
    ]

    assert ways(plan(profile(), "GER-APP-v2.0.9", releases)) == [
        "GER-APP-v2.2.0",
        "GER-APP-v2.3.0",
        "GER-APP-v3.0.0",
    ]
    assert ways(plan(profile(), "GER-APP-v2.3.0", releases)) == ["GER-APP-v3.0.0"]
    assert ways(plan(profile(), "GER-APP-v2.0.9", releases, target="GER-APP-v2.1.0")) == [
        "GER-APP-v2.1.0"
    ]


@pytest.mark.parametrize(
    "gone", [{"is_withdrawn": True}, {"channel": "pilot"}, {"sha256": ""}, {"size": 1001}]
)
def test_a_stepping_stone_that_may_not_be_installed_leads_nowhere(gone: dict[str, Any]) -> None:
    releases = [release("2.1.0", 1, **gone), release("3.0.0", 2, min_current="2.1.0")]

    planned = plan(profile(), "GER-APP-v2.0.9", releases)

    assert codes(planned) == ["no_path"]
    assert "GER-APP-v3.0.0" in planned.refusals[0].text


@pytest.mark.parametrize(
    ("told", "quoted"), [(None, "does not tell"), ("boot loader 1.1", "'boot loader 1.1'")]
)
def test_a_version_that_cannot_be_read_never_counts_as_old(told: str | None, quoted: str) -> None:
    planned = plan(profile(), told, [release("2.1.0")])

    assert codes(planned) == ["unknown_version"]
    assert quoted in planned.refusals[0].text


def test_a_person_may_approve_what_no_rule_can_compare() -> None:
    approved = plan(
        profile(), "boot loader", [release("2.1.0")], approvals={Approval.UNKNOWN_VERSION}
    )

    assert ways(approved) == ["GER-APP-v2.1.0"]


def test_another_language_is_never_installed() -> None:
    french = release("FRA-APP-v2.1.0", 2)
    approvals = set(Approval)

    assert codes(plan(profile(), "GER-APP-v2.0.9", [french])) == ["no_release"]
    refused = plan(
        profile(), "GER-APP-v2.0.9", [french], target=french.version, approvals=approvals
    )
    assert codes(refused) == ["other_variant"]
    same_number = plan(profile(), "GER-APP-v2.1.0", [french], target=french.version)
    assert codes(same_number) == ["other_variant"]


def test_a_release_may_tell_its_variant_beside_its_version() -> None:
    bare = Release(version="2.1.0", position=1, size=1, sha256="ab", is_vendor_signed=True)

    assert codes(plan(profile(), "GER-APP-v2.0.9", [bare])) == ["variant_unknown"]
    told = Release(
        version="2.1.0",
        position=1,
        size=1,
        sha256="ab",
        is_vendor_signed=True,
        variant={"lang": "GER"},
    )
    assert ways(plan(profile(), "GER-APP-v2.0.9", [told])) == ["2.1.0"]


@pytest.mark.parametrize(
    ("policy", "approvals", "expected"),
    [
        ("deny", set(Approval), ["downgrade_denied"]),
        ("allow_with_approval", set(), ["downgrade_needs_approval"]),
        ("allow_with_approval", {Approval.DOWNGRADE}, []),
        ("allow", set(), []),
    ],
)
def test_going_back_needs_what_the_profile_says(
    policy: str, approvals: set[str], expected: list[str]
) -> None:
    older = release("2.0.5", 1)

    planned = plan(
        profile(downgrade=policy),
        "GER-APP-v2.1.0",
        [older, release("2.1.0", 2)],
        target=older.version,
        approvals=approvals,
    )

    assert [refusal.code for refusal in planned.refusals] == expected
    assert ways(planned) == ([] if expected else [older.version])


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"is_withdrawn": True}, "withdrawn"),
        ({"channel": "pilot"}, "other_channel"),
        ({"sha256": ""}, "hash_missing"),
        ({"size": 1001}, "too_large"),
        ({"is_vendor_signed": False}, "not_vendor_signed"),
    ],
)
def test_a_release_that_may_not_be_installed_is_refused_with_its_reason(
    wanted: dict[str, Any], expected: str
) -> None:
    named = release("2.1.0", **wanted)

    planned = plan(
        profile(), "GER-APP-v2.0.9", [named], target=named.version, approvals=set(Approval)
    )

    assert codes(planned) == [expected]


def test_nothing_older_than_the_oldest_allowed_is_installed_even_with_approval() -> None:
    old = release("1.9.9", 1)
    lenient = profile(downgrade="allow")

    assert codes(
        plan(lenient, "GER-APP-v2.1.0", [old], target=old.version, approvals=set(Approval))
    ) == ["below_min_allowed"]


def test_all_reasons_are_told_at_once() -> None:
    bad = release("FRA-APP-v1.9.9", 1, sha256="", is_withdrawn=True)

    assert codes(plan(profile(), "GER-APP-v2.1.0", [bad], target=bad.version)) == [
        "withdrawn",
        "below_min_allowed",
        "hash_missing",
        "other_variant",
        "downgrade_denied",
    ]


def test_a_release_or_a_channel_that_there_is_not_is_refused() -> None:
    assert codes(plan(profile(), "GER-APP-v2.0.9", [], target="2.9")) == ["release_unknown"]
    assert codes(plan(profile(), "GER-APP-v2.0.9", [])) == ["no_release"]
    pilot_only = profile(channels=["pilot"])
    assert codes(plan(pilot_only, "GER-APP-v2.0.9", [release("2.1.0")])) == ["channel_not_offered"]


EXACT: dict[str, Any] = {  # of [firmware]
    "compare": "exact",
    "version_format": "",
    "group_must_match": [],
    "min_allowed": "",
    "file": None,
}


def test_where_texts_have_no_order_the_list_of_releases_has_one() -> None:
    listed = [release("1000-AA0", 1), release("1000-AB0", 2), release("1000-AC0", 3)]
    versions = ["GER-APP-v" + text for text in ("1000-AA0", "1000-AB0", "1000-AC0")]
    exact = profile(**EXACT)

    assert ways(plan(exact, versions[0], listed)) == [versions[2]]
    assert plan(exact, versions[2], listed).is_current
    assert codes(plan(exact, versions[2], listed, target=versions[0])) == ["downgrade_denied"]
    assert codes(plan(exact, "1000-ZZ9", listed)) == ["unknown_version"]


def test_each_component_has_releases_of_its_own() -> None:
    main, ble = release("2.1.0", 1, component="main"), release("2.2.0", 2, component="ble")

    assert ways(plan(profile(), "GER-APP-v2.0.0", [main, ble], component="main")) == [main.version]
    assert ways(plan(profile(), "GER-APP-v2.0.0", [main, ble], component="ble")) == [ble.version]


def test_a_reader_that_fetches_its_software_needs_no_release() -> None:
    planned = plan(profile(method="zvt_0810_pull"), "SIM 1.02.3")

    assert planned.steps == (UpdateStep("zvt_0810_pull"),)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("generic-ecr17-tcp", "updated_by_host"),
        ("generic-concert-cdc", "updated_by_host"),
        ("idtech-vp3300", "updated_by_vendor_tool"),
        ("generic-zvt-tcp", "update_not_offered"),
    ],
)
def test_a_reader_that_somebody_else_updates_says_who(name: str, code: str) -> None:
    planned = plan(load_profile(name), "1", [release("2.1.0")], approvals=set(Approval))

    assert codes(planned) == [code]


def test_the_file_limits_are_those_of_the_profile() -> None:
    found = profile().firmware

    assert found is not None
    assert found.file == FirmwareFile(max_bytes=1000, vendor_signed=True)
