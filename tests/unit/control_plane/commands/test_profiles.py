"""The command ``omnitill profiles``."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from control_plane.app import build
from control_plane.commands import profiles
from control_plane.config import Settings
from firmware_profiles import Catalogue, load_all

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    parser = argparse.ArgumentParser()
    profiles.register(parser.add_subparsers())

    def run_it(*words: str) -> tuple[int, str, str]:
        chosen = parser.parse_args(["profiles", *words])
        code = chosen.run(chosen)
        told = capsys.readouterr()
        return code, told.out, told.err

    return run_it


def as_json(run: Run, *words: str) -> Any:  # whatever was printed
    code, out, err = run(*words, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    tmp_path.joinpath("our-reader.toml").write_text(
        'schema = 1\n[profile]\nid = "our-reader"\ninherits = "magtek-dynaflex"\nmodel = "Ours"\n'
        "[[match.usb]]\nvid = 0x0801\npid = 0x2020\ninterface_class = 3\nproduct = '^Ours$'\n"
        '[profile.verified]\n"match.usb[0]" = "its label"\n'
    )
    return tmp_path


def test_the_list_has_every_model(run: Run) -> None:
    code, out, _ = run("list")

    assert code == 0
    for name in Catalogue().names:
        assert f"\n{name} " in out
    assert "magtek-mms-base" not in out


def test_the_list_can_be_narrowed(run: Run) -> None:
    ids = [one["id"] for one in as_json(run, "list", "--kind", "card_reader")]

    assert "magtek-dynaflex" in ids
    assert "generic-zvt-tcp" not in ids
    assert {one["protocol"] for one in as_json(run, "list", "--protocol", "zvt")} == {"zvt"}


def test_one_model_is_shown_with_what_nobody_has_verified(run: Run) -> None:
    code, out, _ = run("show", "magtek-dynaflex-ii-go")

    assert code == 0
    for part in ("Recognised by", "Settings", "Verified", "Unverified", "0801:2020", "mms_d801"):
        assert part in out
    assert "secret" in run("show", "feig-cvend-plug")[1]
    assert "000000" not in run("show", "feig-cvend-plug")[1]


def test_the_json_of_one_model_has_the_schema_of_its_settings(run: Run) -> None:
    shown = as_json(run, "show", "generic-ecr17-tcp")

    assert shown["profile"]["id"] == "generic-ecr17-tcp"
    assert shown["settings_schema"]["properties"]["lrc_mode"]["enum"][0] == "std"


def test_a_model_that_there_is_not_is_answered_with_those_that_are(run: Run) -> None:
    code, out, err = run("show", "magtek")

    assert (code, out) == (1, "")
    assert "magtek-dynaflex" in err


@pytest.mark.parametrize(
    ("seen", "first"),
    [
        (["--usb", "0801:2020"], "magtek-dynaflex"),
        (["--usb", "0801:2020", "--product", "DynaFlex II GO"], "magtek-dynaflex-ii-go"),
        (["--usb", "0acd:3530"], "idtech-vp3300"),
        (["--ble", "1820", "--name", "IDTECH-VP3300-00001"], "idtech-vp3300"),
        (["--ble", "0CBA14B7-ff24-47b0-be09-26440538530c"], "magtek-dynaflex-ii-go"),
        (["--tcp", "22000"], "feig-cvend-plug"),
        (["--tcp", "20007"], "generic-zvt-tcp"),
    ],
)
def test_a_device_is_matched_best_first(run: Run, seen: list[str], first: str) -> None:
    found = as_json(run, "match", *seen)

    assert found[0]["id"] == first
    assert [one["score"] for one in found] == sorted((one["score"] for one in found), reverse=True)


@pytest.mark.parametrize(
    "seen", [["--usb", "1234:5678"], ["--serial", "10c4:ea60"], ["--tcp", "80"]]
)
def test_what_fits_no_profile_is_said_with_what_to_do(run: Run, seen: list[str]) -> None:
    code, out, _ = run("match", *seen)

    assert code == 1
    assert "omnitill profiles list" in out


def test_numbers_that_are_none_are_explained(run: Run) -> None:
    code, _, err = run("match", "--usb", "dynaflex")

    assert code == 1
    assert "0801:2020" in err


def test_nothing_of_the_catalogue_is_to_be_mended(run: Run) -> None:
    code, out, _ = run("lint")

    assert (code, out.count("mend  ")) == (0, 0), out
    assert "note" in run("lint", "--notes")[1]


def test_an_overlay_needs_a_signature_or_the_word_that_it_has_none(run: Run, overlay: Path) -> None:
    refused, out, err = run("list", "--overlay", str(overlay))
    taken = as_json(run, "list", "--overlay", str(overlay), "--unsigned")

    assert (refused, out) == (1, "")
    assert "--unsigned" in err
    assert [one["overlay"] for one in taken if one["id"] == "our-reader"] == [True]
    words = ["--usb", "0801:2020", "--product", "Ours", "--overlay", str(overlay), "--unsigned"]
    assert as_json(run, "match", *words)[0]["id"] == "our-reader"


def test_what_is_wrong_in_an_overlay_is_named_by_file_and_key(run: Run, overlay: Path) -> None:
    path = overlay / "our-reader.toml"
    path.write_text(path.read_text() + "[health]\nhartbeat_s = 1\n")

    code, out, _ = run("lint", "--overlay", str(overlay), "--unsigned")

    assert code == 1
    assert "mend  our-reader.toml: health.hartbeat_s: no such key; check its spelling" in out


def test_a_folder_is_signed_by_the_control_plane(
    run: Run,
    overlay: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = tmp_path_factory.mktemp("data")
    monkeypatch.setenv("OMNITILL_DATA_DIR", str(data))
    monkeypatch.setenv("OMNITILL_DATABASE_URL", f"sqlite:///{data}/omnitill.db")

    assert run("sign", str(overlay))[0] == 0

    checked = ["--overlay", str(overlay), "--certificate", str(data / "ca" / "ca.crt")]
    assert "our-reader" in [one["id"] for one in as_json(run, "list", *checked)]
    path = overlay / "our-reader.toml"
    path.write_text(path.read_text().replace("its label", "a guess"))
    code, _, err = run("list", *checked)
    assert code == 1
    assert "not those that the control plane signed" in err


def test_the_server_uses_a_signed_folder_beside_its_state_and_no_other(
    run: Run, overlay: Path, tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    data = tmp_path_factory.mktemp("data")
    monkeypatch.setenv("OMNITILL_DATA_DIR", str(data))
    monkeypatch.setenv("OMNITILL_DATABASE_URL", f"sqlite:///{data}/omnitill.db")
    run("sign", str(overlay))

    def known() -> bool:
        build(Settings()).close()
        return "our-reader" in load_all()[0]

    before = known()
    shutil.copytree(overlay, data / "profiles")
    signed = known()
    (data / "profiles" / "overlay.sig").unlink()

    assert (before, signed, known()) == (False, True, False)


def test_what_must_be_mended_is_not_signed(run: Run, overlay: Path) -> None:
    path = overlay / "our-reader.toml"
    path.write_text(path.read_text().replace('"match.usb[0]"', '"match.ble[0]"'))

    assert run("sign", str(overlay))[0] == 1
    assert not (overlay / "overlay.sig").exists()


def test_a_key_without_a_value_needs_no_question_mark(run: Run) -> None:
    with pytest.raises(SystemExit) as refused:
        run("match")

    assert refused.value.code == 2
