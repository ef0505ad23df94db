"""The form of a reader's settings: made from its model, refused by field, and secrets are not in any page."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update
from starlette.testclient import TestClient

from control_plane.accounts.permissions import Role
from control_plane.configuration.models import READER_SETTINGS
from control_plane.devices.models import READERS
from control_plane.parts import Parts
from control_plane.web.model_words import LOOKS
from control_plane.web.setting_words import SETTINGS
from firmware_profiles import load_all
from firmware_profiles.settings import offered
from tests.fixtures.control_plane import Factory
from tests.web.acted_shop import ActedShop

PAGE = "/readers/rd_00000001/settings"


@pytest.fixture
def it(parts: Parts, make: Factory) -> TestClient:
    shop = ActedShop(parts)
    shop.open()
    with parts.database.connection() as db:
        db.execute(
            update(READERS).where(READERS.c.id == "rd_00000001").values(profile="generic-ecr17-tcp")
        )
    return make.client_as(shop.merchant_id, Role.IT)


def stored(parts: Parts) -> list[dict[str, object]]:
    with parts.database.reading() as db:
        return [row.chosen for row in db.execute(select(READER_SETTINGS)).all()]


def test_each_setting_of_the_catalogue_has_words() -> None:
    names = {name for profile in load_all()[0].values() for name in offered(profile)}

    assert names == set(SETTINGS)


def test_each_model_of_a_cloud_looks_in_our_words_as_its_profile_says() -> None:
    cloud = [one for one in load_all()[0].values() if one.profile.kind == "cloud_reader"]

    assert {one.id: one.profile.looks for one in cloud} == LOOKS


def test_the_form_has_a_field_for_each_setting(it: TestClient) -> None:
    text = it.get(PAGE).text

    for name in ("lrc_mode", "terminal_id", "result_timeout_s", "max_amount_minor"):
        assert f'name="{name}"' in text
    assert "stx_noext" in text


def test_what_is_saved_is_shown_and_an_empty_field_goes_back(it: TestClient, parts: Parts) -> None:
    saved = it.post(
        PAGE, data={"lrc_mode": "stx", "result_timeout_s": "120"}, follow_redirects=False
    )

    assert (saved.status_code, saved.headers["location"]) == (303, f"{PAGE}?saved=1")
    assert stored(parts) == [{"lrc_mode": "stx", "result_timeout_s": 120}]
    assert 'value="120"' in it.get(PAGE).text
    it.post(PAGE, data={"lrc_mode": "stx", "result_timeout_s": ""})
    assert stored(parts) == [{"lrc_mode": "stx"}]


def test_a_field_that_does_not_fit_is_named_and_nothing_is_saved(
    it: TestClient, parts: Parts
) -> None:
    answer = it.post(PAGE, data={"lrc_mode": "stx", "result_timeout_s": "1", "terminal_id": "12"})

    assert answer.status_code == 422
    assert (
        "Longest wait for a result, in seconds takes a whole number from 60 to 600." in answer.text
    )
    assert "Id of the terminal takes exactly 8 digits." in answer.text
    assert 'value="12"' in answer.text
    assert stored(parts) == []


def test_it_is_told_in_french(it: TestClient) -> None:
    answer = it.post(PAGE, data={"result_timeout_s": "1"}, headers={"Accept-Language": "fr"})

    assert "accepte un nombre entier de 60" in answer.text


def test_a_secret_that_cannot_be_sealed_is_refused_and_not_shown(
    it: TestClient, parts: Parts
) -> None:
    with parts.database.connection() as db:
        db.execute(update(READERS).values(profile="generic-zvt-tcp"))

    answer = it.post(PAGE, data={"password": "271828"})

    assert answer.status_code == 409
    assert "sealed" in answer.text
    assert "271828" not in answer.text
    assert stored(parts) == []
