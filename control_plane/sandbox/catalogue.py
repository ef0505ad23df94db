"""Products and prices."""

from __future__ import annotations

from decimal import Decimal

from stripe.params import (
    PriceCreateParams,
    PriceListParams,
    PriceRetrieveParams,
    PriceUpdateParams,
    ProductCreateParams,
    ProductDeleteParams,
    ProductListParams,
    ProductRetrieveParams,
    ProductUpdateParams,
)

from control_plane.sandbox import money
from control_plane.sandbox.engine import Sandbox
from control_plane.sandbox.errors import ApiError, Json, missing_parameter
from control_plane.sandbox.intents import changed
from control_plane.sandbox.routing import Call, Routes

routes = Routes()

_PRODUCT = (
    "active", "default_price", "description", "images", "marketing_features", "name", "package_dimensions",
    "shippable", "statement_descriptor", "tax_code", "unit_label", "url",
)  # fmt: skip


@routes.post("/v1/products", ProductCreateParams)
def create_product(call: Call) -> Json:
    product = new_product(call.sandbox, call.params)
    given = call.params.get("default_price_data")
    if given is not None:
        price = new_price(call.sandbox, {**given, "product": product["id"]})
        product["default_price"] = price["id"]
        call.sandbox.save(product)
    return product


def new_product(sandbox: Sandbox, params: Json) -> Json:
    """A product from validated parameters."""
    product = sandbox.create(
        "product",
        "prod_",
        id=params.get("id"),
        active=True,
        metadata={},
        name=params["name"],
        type="service",
        updated=sandbox.now(),
    )
    changed(product, params, _PRODUCT)
    sandbox.save(product)
    sandbox.emit("product.created", product)
    return product


@routes.get("/v1/products", ProductListParams)
def list_products(call: Call) -> Json:
    return call.page("product", active=call.params.get("active"))


@routes.get("/v1/products/{product}", ProductRetrieveParams)
def retrieve_product(call: Call, product: str) -> Json:
    return call.sandbox.fetch("product", product)


@routes.post("/v1/products/{product}", ProductUpdateParams)
def update_product(call: Call, product: str) -> Json:
    found = call.sandbox.fetch("product", product)
    changed(found, call.params, _PRODUCT)
    found["updated"] = call.sandbox.now()
    call.sandbox.save(found)
    call.sandbox.emit("product.updated", found)
    return found


@routes.delete("/v1/products/{product}", ProductDeleteParams)
def delete_product(call: Call, product: str) -> Json:
    found = call.sandbox.fetch("product", product)
    if call.sandbox.store.find("price", product=product):
        raise ApiError(
            "This product cannot be deleted because it has one or more user-created prices."
        )
    call.sandbox.store.remove(product)
    call.sandbox.emit("product.deleted", found)
    return {"id": product, "object": "product", "deleted": True}


@routes.post("/v1/prices", PriceCreateParams)
def create_price(call: Call) -> Json:
    return new_price(call.sandbox, call.params)


def new_price(sandbox: Sandbox, params: Json) -> Json:
    """A price from the parameters of the create call or of an inline ``price_data``. Raises ApiError."""
    product = params.get("product")
    inline = params.get("product_data")
    if (product is None) == (inline is None):
        raise missing_parameter("product")
    if inline is not None:
        product = new_product(sandbox, inline)["id"]
    sandbox.named("product", product, "product")
    exact = params.get("unit_amount")
    if exact is None and params.get("unit_amount_decimal") is not None:
        exact = Decimal(str(params["unit_amount_decimal"]))
    # Parts of a cent are in the decimal field only.
    amount = None if exact is None or exact % 1 else int(exact)
    if exact is None and params.get("custom_unit_amount") is None:
        raise missing_parameter("unit_amount")
    if exact is not None and exact < 0:
        raise ApiError(
            "This value must be greater than or equal to 0.",
            code="parameter_invalid_integer",
            param="unit_amount",
        )
    recurring = params.get("recurring")
    price = sandbox.create(
        "price",
        "price_1",
        active=params.get("active", True),
        billing_scheme=params.get("billing_scheme", "per_unit"),
        currency=money.check_currency(params["currency"]),
        lookup_key=params.get("lookup_key"),
        metadata={},
        nickname=params.get("nickname"),
        product=product,
        recurring=recurring
        and {
            "interval_count": 1,
            "meter": None,
            "trial_period_days": None,
            "usage_type": "licensed",
            **recurring,
        },
        tax_behavior=params.get("tax_behavior", "unspecified"),
        type="recurring" if recurring else "one_time",
        unit_amount=amount,
        unit_amount_decimal=None if exact is None else str(exact),
    )
    changed(price, params, ())
    sandbox.save(price)
    sandbox.emit("price.created", price)
    return price


@routes.get("/v1/prices", PriceListParams)
def list_prices(call: Call) -> Json:
    params = call.params
    return call.page(
        "price",
        active=params.get("active"),
        currency=params.get("currency"),
        product=params.get("product"),
        type=params.get("type"),
    )


@routes.get("/v1/prices/{price}", PriceRetrieveParams)
def retrieve_price(call: Call, price: str) -> Json:
    return call.sandbox.fetch("price", price)


@routes.post("/v1/prices/{price}", PriceUpdateParams)
def update_price(call: Call, price: str) -> Json:
    found = call.sandbox.fetch("price", price)
    changed(found, call.params, ("active", "lookup_key", "nickname", "tax_behavior"))
    call.sandbox.save(found)
    call.sandbox.emit("price.updated", found)
    return found
