"""The account itself, and files."""

from __future__ import annotations

from typing import TypedDict

import stripe
from stripe.params import (
    AccountRetrieveParams,
    FileListParams,
    FileRetrieveParams,
)

from control_plane.sandbox.errors import ApiError, Json, missing_parameter, no_such
from control_plane.sandbox.routing import Call, Routes
from control_plane.sandbox.shapes import make, part

routes = Routes()

_CAPABILITIES = (
    "card_payments",
    "sepa_debit_payments",
    "transfers",
    "us_bank_account_ach_payments",
)
#: When the account was opened: the first of January 2024.
_OPENED = 1_704_067_200
_LARGEST = 16 * 1024 * 1024


@routes.get("/v1/account", AccountRetrieveParams)
def retrieve(call: Call) -> Json:
    return _account(call)


@routes.get("/v1/accounts/{account}", AccountRetrieveParams)
def retrieve_by_id(call: Call, account: str) -> Json:
    if account != call.sandbox.settings.account_id:
        raise no_such("account", account)
    return _account(call)


class _Purpose(TypedDict):
    purpose: str


class _FileFields(_Purpose, total=False):
    """What comes beside the file itself."""

    expand: list[str]


@routes.post("/v1/files", _FileFields)
def create_file(call: Call) -> Json:
    """The content is looked at for its size only; the sandbox keeps none."""
    if call.upload is None:
        raise missing_parameter("file")
    name, kind, content = call.upload
    if len(content) > _LARGEST:
        raise ApiError("The file is larger than 16 MB.", param="file")
    made = call.sandbox.create(
        "file",
        "file_1",
        filename=name,
        purpose=call.params["purpose"],
        size=len(content),
        type=kind.rpartition("/")[2] or None,
    )
    made["url"] = f"{call.sandbox.settings.public_url}/v1/files/{made['id']}/contents"
    return call.sandbox.save(made)


@routes.get("/v1/files", FileListParams)
def list_files(call: Call) -> Json:
    return call.page("file", purpose=call.params.get("purpose"))


@routes.get("/v1/files/{file}", FileRetrieveParams)
def retrieve_file(call: Call, file: str) -> Json:
    return call.sandbox.fetch("file", file)


def _account(call: Call) -> Json:
    settings = call.sandbox.settings
    on = dict.fromkeys(_CAPABILITIES, "active")
    return make(
        "account",
        id=settings.account_id,
        business_profile=part(stripe.Account.BusinessProfile, name=settings.business_name),
        capabilities=on,
        charges_enabled=True,
        country=settings.country,
        created=_OPENED,
        default_currency=settings.default_currency,
        details_submitted=True,
        payouts_enabled=True,
        settings=part(
            stripe.Account.Settings,
            dashboard={"display_name": settings.business_name, "timezone": "Etc/UTC"},
        ),
        type="standard",
    )
