"""Which origins a page with card fields lets in."""

from __future__ import annotations

from control_plane.web.pay_views import FieldsAccount


def directives(account: FieldsAccount) -> dict[str, str]:
    return dict(part.split(" ", 1) for part in account.policy().split("; "))


def test_stripes_own_fields_need_exactly_its_three_origins() -> None:
    policy = directives(FieldsAccount("https://js.stripe.com/endive/stripe.js", "pk_test_1"))

    assert policy == {
        "default-src": "'self'",
        "script-src": "'self' https://js.stripe.com",
        "frame-src": "https://js.stripe.com https://hooks.stripe.com",
        "connect-src": "'self' https://api.stripe.com",
        "img-src": "'self' data:",
        "object-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
    }


def test_the_sandboxs_fields_need_its_one_origin() -> None:
    policy = directives(FieldsAccount("http://127.0.0.1:8010/sandbox-stripe.js", "pk_test_1"))

    assert policy["script-src"] == "'self' http://127.0.0.1:8010"
    assert policy["frame-src"] == "http://127.0.0.1:8010"
    assert policy["connect-src"] == "'self' http://127.0.0.1:8010"
    assert "stripe.com" not in " ".join(policy.values())
