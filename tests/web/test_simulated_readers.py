"""The demo's page of simulated readers, before a real simulator: what its buttons do, and that no live shop has it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from control_plane.accounts.permissions import Role
from control_plane.web.simulators import Simulators
from tests.fixtures.control_plane import Factory
from tests.support.agent_program import Simulation, simulation


@pytest.fixture(scope="module")
def simulated() -> Iterator[Simulation]:
    with simulation("--tcp", "127.0.0.1:0", "--pace", "0") as reader:
        yield reader


@pytest.fixture
def till(make: Factory) -> TestClient:
    return make.client_as(make.merchant(), Role.CASHIER)


@pytest.fixture
def shop(make: Factory, simulated: Simulation, till: TestClient) -> TestClient:
    make.parts.provide(
        Simulators,
        Simulators({"Counter": simulated.ready["control"], "Gone": "http://127.0.0.1:9"}),
    )
    return till


def press(till: TestClient, reader: str, action: str, **fields: str) -> str:
    answer = till.post(f"/simulated-readers/{reader}/{action}", data=fields)
    assert answer.status_code in {200, 303}, answer.text
    return till.get(answer.headers["location"]).text if answer.status_code == 303 else answer.text


def test_the_page_has_a_button_for_each_action_of_each_reader(
    shop: TestClient, simulated: Simulation
) -> None:
    page = shop.get("/simulated-readers").text

    actions = simulated.books()["actions"].keys() - {"script", "fault"}
    assert all(f'action="/simulated-readers/Counter/{name}"' in page for name in actions)
    assert "Its simulator does not answer." in page
    assert 'href="/simulated-readers"' in page


def test_a_pulled_cable_is_pulled_and_can_be_put_back(
    shop: TestClient, simulated: Simulation
) -> None:
    pulled = press(shop, "Counter", "unplug")
    was_up = simulated.books()["is_up"]
    press(shop, "Counter", "plug")

    assert "pull the cable" in pulled
    assert not was_up


def test_a_story_is_chosen_and_one_that_there_is_not_is_answered(shop: TestClient) -> None:
    assert "the next payment: decline" in press(shop, "Counter", "script", name="decline")
    assert "no such story" in press(shop, "Counter", "script", name="romance")
    assert "there is no action" in press(shop, "Counter", "juggle")


def test_a_reader_that_there_is_not_is_not_found(shop: TestClient) -> None:
    assert shop.post("/simulated-readers/Attic/unplug").status_code == 404


def test_without_simulators_there_is_no_page_and_no_way_to_it(till: TestClient) -> None:
    assert till.get("/simulated-readers").status_code == 404
    assert till.post("/simulated-readers/Counter/unplug").status_code == 404
    assert 'href="/simulated-readers"' not in till.get("/customers").text
