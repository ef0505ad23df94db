"""Readers of the sandbox: registered, found, silent, and back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import stripe
from stripe.terminal import Location, Reader

from control_plane.sandbox import readers
from tests.support.stripe_sandbox import StripeSandbox, stripe_sandbox

# Any: parts of the SDK's parameters.
ADDRESS: Any = {
    "country": "US",
    "line1": "1 Main Street",
    "city": "San Francisco",
    "state": "CA",
    "postal_code": "94107",
}


@pytest.fixture
def box() -> Iterator[StripeSandbox]:
    with stripe_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def location(box: StripeSandbox) -> Location:
    return box.client.v1.terminal.locations.create({"display_name": "Shop", "address": ADDRESS})


@pytest.fixture
def reader(box: StripeSandbox, location: Location) -> Reader:
    return box.client.v1.terminal.readers.create(
        {"registration_code": "simulated-s700", "location": location.id, "label": "Counter"}
    )


@pytest.mark.parametrize(
    ("code", "device_type"),
    [
        ("simulated-wpe", "simulated_wisepos_e"),
        ("simulated-s700", "simulated_stripe_s700"),
        ("simulated-s710", "simulated_stripe_s710"),
        ("simulated-t600", "simulated_stripe_t600"),
    ],
)
def test_a_simulated_code_registers_its_device_online(
    box: StripeSandbox, location: Location, code: str, device_type: str
) -> None:
    made = box.client.v1.terminal.readers.create(
        {"registration_code": code, "location": location.id}
    )

    assert (made.device_type, made.status, made.label) == (device_type, "online", code)
    assert made.location == location.id
    assert made.action is None
    assert made.last_seen_at == box.sandbox.now() * 1000


def test_three_words_on_a_readers_screen_are_good_for_one_registration(
    box: StripeSandbox, location: Location
) -> None:
    code = readers.registration_code(box.sandbox, "stripe_s700")

    made = box.client.v1.terminal.readers.create(
        {"registration_code": code, "location": location.id}
    )

    assert made.device_type == "stripe_s700"
    with pytest.raises(stripe.InvalidRequestError) as refused:
        box.client.v1.terminal.readers.create({"registration_code": code, "location": location.id})
    assert refused.value.param == "registration_code"
    assert len(box.client.v1.terminal.readers.list().data) == 1


def test_a_reader_without_a_location_is_not_registered(box: StripeSandbox) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        box.client.v1.terminal.readers.create({"registration_code": "simulated-wpe"})

    assert (refused.value.code, refused.value.param) == ("parameter_missing", "location")
    assert box.client.v1.terminal.readers.list().data == []


def test_a_reader_never_moves(box: StripeSandbox, reader: Reader) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        box.client.raw_request(
            "post", f"/v1/terminal/readers/{reader.id}", location="tml_elsewhere"
        )

    assert (refused.value.code, refused.value.param) == ("parameter_unknown", "location")
    assert box.client.v1.terminal.readers.retrieve(reader.id).location == reader.location


def test_two_minutes_of_silence_are_offline_and_a_beat_is_online_again(
    box: StripeSandbox, reader: Reader
) -> None:
    silenced = box.sandbox.fetch("terminal.reader", reader.id)
    silenced["_silent_since"] = box.sandbox.now()
    box.sandbox.save(silenced)

    box.put_forward(seconds=119)
    before = box.client.v1.terminal.readers.retrieve(reader.id)
    box.put_forward(seconds=1)
    after = box.client.v1.terminal.readers.retrieve(reader.id)
    silenced["_silent_since"] = None
    box.sandbox.save(silenced)
    again = box.client.v1.terminal.readers.retrieve(reader.id)

    assert (before.status, after.status, again.status) == ("online", "offline", "online")
    assert before.last_seen_at == after.last_seen_at == silenced["last_seen_at"]
    assert again.last_seen_at == box.sandbox.now() * 1000


def test_the_list_is_narrowed_by_status_location_and_type(
    box: StripeSandbox, reader: Reader, location: Location
) -> None:
    other = box.client.v1.terminal.readers.create(
        {"registration_code": "simulated-wpe", "location": location.id}
    )
    silenced = box.sandbox.fetch("terminal.reader", other.id)
    silenced["_silent_since"] = box.sandbox.now() - 500
    box.sandbox.save(silenced)

    listed = box.client.v1.terminal.readers.list

    assert [one.id for one in listed({"status": "online"}).data] == [reader.id]
    assert [one.id for one in listed({"status": "offline"}).data] == [other.id]
    assert [one.id for one in listed({"device_type": "simulated_wisepos_e"}).data] == [other.id]
    assert len(listed({"location": location.id}).data) == 2
    assert [one.id for one in listed({"serial_number": reader.serial_number}).data] == [reader.id]


def test_a_location_needs_the_parts_of_its_countrys_addresses(box: StripeSandbox) -> None:
    incomplete: Any = {name: value for name, value in ADDRESS.items() if name != "state"}
    with pytest.raises(stripe.InvalidRequestError) as refused:
        box.client.v1.terminal.locations.create({"display_name": "Shop", "address": incomplete})

    assert refused.value.param == "address[state]"
    assert box.client.v1.terminal.locations.list().data == []


def test_no_location_where_readers_are_not_sold(box: StripeSandbox) -> None:
    brazil: Any = {**ADDRESS, "country": "BR"}
    with pytest.raises(stripe.InvalidRequestError) as refused:
        box.client.v1.terminal.locations.create({"display_name": "Shop", "address": brazil})

    assert refused.value.code == "terminal_location_country_unsupported"


def test_a_location_with_readers_stays(box: StripeSandbox, reader: Reader) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        box.client.v1.terminal.locations.delete(str(reader.location))

    assert box.client.v1.terminal.locations.retrieve(str(reader.location)).display_name == "Shop"

    gone = box.client.v1.terminal.readers.delete(reader.id)
    assert gone.deleted
    assert box.client.v1.terminal.locations.delete(str(reader.location)).deleted


def test_the_first_configuration_is_the_accounts_and_a_location_may_override_it(
    box: StripeSandbox, location: Location
) -> None:
    terminal = box.client.v1.terminal
    default = terminal.configurations.create({"reboot_window": {"start_hour": 2, "end_hour": 4}})
    own = terminal.configurations.create(
        {"name": "Tips", "tipping": {"usd": {"percentages": [10, 15, 20]}}}
    )

    overridden = terminal.locations.update(location.id, {"configuration_overrides": own.id})
    cleared = terminal.locations.update(location.id, {"configuration_overrides": ""})

    assert (default.is_account_default, own.is_account_default) == (True, False)
    assert own.tipping is not None
    assert own.tipping.usd is not None
    assert own.tipping.usd.percentages == [10, 15, 20]
    assert overridden.configuration_overrides == own.id
    assert cleared.configuration_overrides is None


def test_a_reboot_window_has_two_different_hours_of_a_day(box: StripeSandbox) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        box.client.v1.terminal.configurations.create(
            {"reboot_window": {"start_hour": 3, "end_hour": 3}}
        )
    with pytest.raises(stripe.InvalidRequestError):
        box.client.v1.terminal.configurations.create(
            {"reboot_window": {"start_hour": 3, "end_hour": 24}}
        )

    assert box.client.v1.terminal.configurations.list().data == []


def test_apps_get_connection_tokens_and_a_link_to_apples_terms(
    box: StripeSandbox, location: Location
) -> None:
    scoped = box.client.v1.terminal.connection_tokens.create({"location": location.id})
    second = box.client.v1.terminal.connection_tokens.create()
    link = box.client.v1.terminal.onboarding_links.create(
        {
            "link_type": "apple_terms_and_conditions",
            "link_options": {"apple_terms_and_conditions": {"merchant_display_name": "Shop"}},
        }
    )

    assert scoped.secret.startswith("pst_test_")
    assert scoped.secret != second.secret
    assert (scoped.location, second.location) == (location.id, None)
    assert link.redirect_url.startswith(box.sandbox.settings.public_url)
