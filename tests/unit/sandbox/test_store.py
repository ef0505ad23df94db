"""Objects in order, and what is due."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.sandbox.store import Store


@pytest.fixture
def store() -> Store:
    return Store()


def thing(number: int, **fields: Any) -> dict[str, Any]:
    return {"id": f"x_{number}", "created": 100 + number, **fields}


@pytest.fixture
def five(store: Store) -> Store:
    for number in range(5):
        store.add("x", thing(number, customer="even" if number % 2 == 0 else "odd"))
    return store


def ids(found: list[dict[str, Any]]) -> list[str]:
    return [one["id"] for one in found]


def test_lists_are_newest_first_and_say_whether_there_is_more(five: Store) -> None:
    found, has_more = five.page("x", limit=2)

    assert (ids(found), has_more) == (["x_4", "x_3"], True)


def test_the_next_page_starts_after_the_last_of_this_one(five: Store) -> None:
    found, has_more = five.page("x", limit=10, starting_after="x_3")

    assert (ids(found), has_more) == (["x_2", "x_1", "x_0"], False)


def test_the_page_before_ends_before_the_first_of_this_one(five: Store) -> None:
    found, has_more = five.page("x", limit=2, ending_before="x_1")

    assert (ids(found), has_more) == (["x_3", "x_2"], True)


def test_a_cursor_that_names_nothing_is_an_error(five: Store) -> None:
    with pytest.raises(KeyError):
        five.page("x", limit=2, starting_after="x_9")


def test_fields_and_times_narrow_a_list(five: Store) -> None:
    found, _ = five.page("x", limit=10, equal={"customer": "even"}, created={"gt": 100, "lte": 104})

    assert ids(found) == ["x_4", "x_2"]


def test_kinds_do_not_mix(five: Store) -> None:
    assert five.find("y") == []
    assert five.get("x_1", "y") is None


def add_and_fail(store: Store, number: int) -> None:
    with store.transaction():
        store.add("x", thing(number))
        store.schedule(5.0, "task", f"x_{number}")
        raise RuntimeError


def test_a_failed_transaction_leaves_nothing(store: Store) -> None:
    with pytest.raises(RuntimeError):
        add_and_fail(store, 1)

    assert store.get("x_1") is None
    assert store.next_due() is None


def test_a_part_that_fails_alone_does_not_undo_the_whole(store: Store) -> None:
    with store.transaction():
        store.add("x", thing(1))
        with pytest.raises(RuntimeError):
            add_and_fail(store, 2)

    assert ids(store.find("x")) == ["x_1"]
    assert store.next_due() is None


def test_what_was_never_added_cannot_be_saved(store: Store) -> None:
    with pytest.raises(KeyError):
        store.save(thing(1))


def test_due_tasks_come_in_order_and_once(store: Store) -> None:
    store.schedule(20.0, "late", "b")
    store.schedule(10.0, "early", "a")
    store.schedule(30.0, "never", "c")
    store.unschedule("c")

    taken = [store.take_due(25.0) for _ in range(3)]

    assert taken == [(10.0, "early", "a"), (20.0, "late", "b"), None]
