"""Where card readers stand and how they are set up: locations, configurations, connection tokens, onboarding links."""

from __future__ import annotations

from stripe.params.terminal import (
    ConfigurationCreateParams,
    ConfigurationDeleteParams,
    ConfigurationListParams,
    ConfigurationRetrieveParams,
    ConfigurationUpdateParams,
    ConnectionTokenCreateParams,
    LocationCreateParams,
    LocationDeleteParams,
    LocationListParams,
    LocationRetrieveParams,
    LocationUpdateParams,
    OnboardingLinkCreateParams,
)

from control_plane.sandbox.engine import Sandbox
from control_plane.sandbox.errors import ApiError, Json, missing_parameter
from control_plane.sandbox.routing import Call, Routes
from control_plane.sandbox.shapes import make
from control_plane.sandbox.webhooks import merged

routes = Routes()

LOCATION = "terminal.location"
CONFIGURATION = "terminal.configuration"
READER = "terminal.reader"

_ADDRESS = ("city", "country", "line1", "line2", "postal_code", "state")
#: Parts of an address without which a reader of that country cannot be activated; elsewhere street, city and code.
_NEEDED = {
    "US": ("line1", "city", "state", "postal_code"),
    "CA": ("line1", "city", "state", "postal_code"),
    "AU": ("line1", "city", "state", "postal_code"),
    "GB": ("line1", "city", "postal_code"),
    "IE": ("line1", "city"),
    "SG": ("line1", "postal_code"),
    "HK": ("line1",),
}
_NEEDED_ELSEWHERE = ("line1", "city", "postal_code")
#: Where card readers are sold. Source: docs.stripe.com/terminal/payments/collect-card-payment/supported-card-brands.
_COUNTRIES = frozenset((
    "AT", "AU", "BE", "BG", "CA", "CH", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GB", "GI", "GR", "HK", "HR",
    "HU", "IE", "IT", "JP", "LI", "LT", "LU", "LV", "MT", "MY", "NL", "NO", "NZ", "PL", "PT", "RO", "SE", "SG", "SI",
    "SK", "US",
))  # fmt: skip


# --- locations ---


@routes.post("/v1/terminal/locations", LocationCreateParams)
def create_location(call: Call) -> Json:
    params = call.params
    for name in ("address", "display_name"):
        # Japan has its own writing for both.
        if params.get(name) is None and params.get(f"{name}_kanji") is None:
            raise missing_parameter(name)
    address = params.get("address") or params["address_kanji"]
    _check_address(address)
    _check_configuration(call, params)
    location = call.sandbox.create(
        LOCATION,
        "tml_",
        address={name: address.get(name) for name in _ADDRESS},
        metadata=merged({}, params.get("metadata")),
        **{name: params[name] for name in _LOCATION_WORDS if name in params},
    )
    location["display_name"] = params.get("display_name") or params["display_name_kanji"]
    return call.sandbox.save(location)


@routes.get("/v1/terminal/locations", LocationListParams)
def list_locations(call: Call) -> Json:
    return call.page(LOCATION)


@routes.get("/v1/terminal/locations/{location}", LocationRetrieveParams)
def retrieve_location(call: Call, location: str) -> Json:
    return call.sandbox.fetch(LOCATION, location, param="location")


@routes.post("/v1/terminal/locations/{location}", LocationUpdateParams)
def update_location(call: Call, location: str) -> Json:
    found = call.sandbox.fetch(LOCATION, location, param="location")
    params = call.params
    if "address" in params:
        if params["address"]["country"] != found["address"]["country"]:
            raise ApiError(
                "You cannot change the country of a Terminal location.", param="address[country]"
            )
        _check_address(params["address"])
        found["address"] = {name: params["address"].get(name) for name in _ADDRESS}
    _check_configuration(call, params)
    if "metadata" in params:
        found["metadata"] = merged(found["metadata"], params["metadata"])
    found.update({name: params[name] for name in _LOCATION_WORDS if name in params})
    return call.sandbox.save(found)


@routes.delete("/v1/terminal/locations/{location}", LocationDeleteParams)
def delete_location(call: Call, location: str) -> Json:
    call.sandbox.fetch(LOCATION, location, param="location")
    if call.sandbox.store.find(READER, location=location):
        raise ApiError(
            "This location has readers registered to it. Delete the readers first.",
            param="location",
        )
    call.sandbox.store.remove(location)
    return {"id": location, "object": LOCATION, "deleted": True}


_LOCATION_WORDS = (
    "address_kana",
    "address_kanji",
    "configuration_overrides",
    "display_name",
    "display_name_kana",
    "display_name_kanji",
    "phone",
)


def _check_address(address: Json) -> None:
    country = address["country"]
    if country not in _COUNTRIES:
        raise ApiError(
            f"Terminal is not available in {country}.",
            code="terminal_location_country_unsupported",
            param="address[country]",
        )
    for name in _NEEDED.get(country, _NEEDED_ELSEWHERE):
        if not address.get(name):
            raise missing_parameter(f"address[{name}]")


def _check_configuration(call: Call, params: Json) -> None:
    call.sandbox.named(
        CONFIGURATION, params.get("configuration_overrides"), "configuration_overrides"
    )


# --- configurations ---


@routes.post("/v1/terminal/configurations", ConfigurationCreateParams)
def create_configuration(call: Call) -> Json:
    """The first one is the account's default."""
    settings = _settings_of(call.params)
    is_first = not call.sandbox.store.find(CONFIGURATION)
    return call.sandbox.create(CONFIGURATION, "tmc_", is_account_default=is_first, **settings)


@routes.get("/v1/terminal/configurations", ConfigurationListParams)
def list_configurations(call: Call) -> Json:
    return call.page(CONFIGURATION, is_account_default=call.params.get("is_account_default"))


@routes.get("/v1/terminal/configurations/{configuration}", ConfigurationRetrieveParams)
def retrieve_configuration(call: Call, configuration: str) -> Json:
    return call.sandbox.fetch(CONFIGURATION, configuration, param="configuration")


@routes.post("/v1/terminal/configurations/{configuration}", ConfigurationUpdateParams)
def update_configuration(call: Call, configuration: str) -> Json:
    found = call.sandbox.fetch(CONFIGURATION, configuration, param="configuration")
    found.update(_settings_of(call.params))
    return call.sandbox.save(found)


@routes.delete("/v1/terminal/configurations/{configuration}", ConfigurationDeleteParams)
def delete_configuration(call: Call, configuration: str) -> Json:
    found = call.sandbox.fetch(CONFIGURATION, configuration, param="configuration")
    if found["is_account_default"]:
        raise ApiError(
            "You cannot delete the account default configuration.", param="configuration"
        )
    for location in call.sandbox.store.find(LOCATION, configuration_overrides=configuration):
        location["configuration_overrides"] = None
        call.sandbox.save(location)
    call.sandbox.store.remove(configuration)
    return {"id": configuration, "object": CONFIGURATION, "deleted": True}


def effective(sandbox: Sandbox, location: Json, name: str) -> Json | None:
    """A setting as a reader at the location has it: the location's own, else the account's."""
    defaults = sandbox.store.find(CONFIGURATION, is_account_default=True)
    own = location["configuration_overrides"]
    chain = [sandbox.store.get(own)] if own else []
    for configuration in [*chain, *defaults]:
        if configuration and configuration[name] is not None:
            setting: Json = configuration[name]
            return setting
    return None


def _settings_of(params: Json) -> Json:
    settings = {name: value for name, value in params.items() if name != "expand"}
    window = settings.get("reboot_window")
    if window is not None:
        for name in ("start_hour", "end_hour"):
            if not 0 <= window[name] <= 23:
                raise ApiError("Hours are between 0 and 23.", param=f"reboot_window[{name}]")
        if window["start_hour"] == window["end_hour"]:
            raise ApiError(
                "The start and end of the reboot window have to differ.",
                param="reboot_window[end_hour]",
            )
    for name, wanted in (settings.get("tipping") or {}).items():
        amounts = {"fixed_amounts": None, "percentages": None, "smart_tip_threshold": None}
        settings["tipping"][name] = {**amounts, **(wanted or {})}
        for kind in ("fixed_amounts", "percentages"):
            if len(settings["tipping"][name][kind] or []) > 3:
                raise ApiError(
                    "At most three tips can be suggested.", param=f"tipping[{name}][{kind}]"
                )
    tipping = settings.get("tipping")
    if tipping is not None:
        blank = make(CONFIGURATION)
        settings["tipping"] = {**(blank["tipping"] or {}), **tipping}
    wifi = settings.get("wifi")
    if wifi is not None and wifi["type"] not in wifi:
        raise missing_parameter(f"wifi[{wifi['type']}]")
    return settings


# --- what apps with a reader inside need ---


@routes.post("/v1/terminal/connection_tokens", ConnectionTokenCreateParams)
def create_connection_token(call: Call) -> Json:
    location = call.sandbox.named(LOCATION, call.params.get("location"), "location")
    return make(
        "terminal.connection_token",
        location=location and location["id"],
        secret=call.sandbox.new_id("pst_test_", 40),
    )


@routes.post("/v1/terminal/onboarding_links", OnboardingLinkCreateParams)
def create_onboarding_link(call: Call) -> Json:
    options = call.params["link_options"].get("apple_terms_and_conditions")
    if options is None:
        raise missing_parameter("link_options[apple_terms_and_conditions]")
    address = f"{call.sandbox.settings.public_url}/_hosted/onboarding/{call.sandbox.new_id('', 24)}"
    return make(
        "terminal.onboarding_link",
        link_options={
            "apple_terms_and_conditions": {
                "allow_relinking": options.get("allow_relinking"),
                "merchant_display_name": options["merchant_display_name"],
            }
        },
        link_type=call.params["link_type"],
        on_behalf_of=call.params.get("on_behalf_of"),
        redirect_url=address,
    )
