"""HTTP signatures as CyberSource's REST API wants them: HMAC-SHA256 over named headers, with a shared secret.

Read in its "Getting Started with the REST API" and in its client libraries; since 2024 `request-target` is written
without parentheses.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import datetime
from email.utils import format_datetime

from control_plane.card_present.processor import Access


def headers(
    access: Access, host: str, method: str, path: str, body: bytes | None, at: datetime
) -> dict[str, str]:
    """The headers that sign one request; ``path`` with its query, ``body`` exactly as it is sent."""
    signed = {
        "host": host,
        "date": format_datetime(at, usegmt=True),
        "request-target": f"{method.lower()} {path}",
    }
    if body is not None:
        signed["digest"] = f"SHA-256={base64.b64encode(hashlib.sha256(body).digest()).decode()}"
    signed["v-c-merchant-id"] = access.organization
    text = "\n".join(f"{name}: {value}" for name, value in signed.items())
    secret = base64.b64decode(access.secret)
    signature = base64.b64encode(hmac.digest(secret, text.encode(), "sha256")).decode()
    del signed["request-target"]
    return {
        **signed,
        "signature": f'keyid="{access.key_id}", algorithm="HmacSHA256", '
        f'headers="{" ".join(_names(body is not None))}", signature="{signature}"',
    }


def _names(has_body: bool) -> tuple[str, ...]:
    digest = ("digest",) if has_body else ()
    return ("host", "date", "request-target", *digest, "v-c-merchant-id")
