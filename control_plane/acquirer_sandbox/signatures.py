"""Checks the HTTP signature of a request, as CyberSource describes it; written from that, not from our client."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

_PARAMETER: Final = re.compile(r'(\w+)="([^"]*)"')
_OFF: Final = timedelta(minutes=15)


class NotSigned(Exception):
    """Why the request is not let in."""


def check(
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: bytes,
    keys: Mapping[tuple[str, str], bytes],
) -> str:
    """The organisation that signed. ``keys``: shared secrets by (organisation, key id). Raises NotSigned."""
    given = dict(_PARAMETER.findall(headers.get("signature", "")))
    organization = headers.get("v-c-merchant-id", "")
    secret = keys.get((organization, given.get("keyid", "")))
    if secret is None or given.get("algorithm") != "HmacSHA256":
        raise NotSigned("no such key")
    names = given.get("headers", "").split()
    needed = {"host", "date", "request-target", "v-c-merchant-id", *(["digest"] if body else [])}
    if not needed.issubset(names):
        raise NotSigned(f"not signed: {', '.join(sorted(needed - set(names)))}")
    if body:
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        if headers.get("digest") != f"SHA-256={digest}":
            raise NotSigned("the digest is not that of the body")
    values = {**headers, "request-target": f"{method.lower()} {target}"}
    text = "\n".join(f"{name}: {values.get(name, '')}" for name in names)
    expected = base64.b64encode(hmac.digest(secret, text.encode(), "sha256")).decode()
    if not hmac.compare_digest(expected, given.get("signature", "")):
        raise NotSigned("the signature does not fit")
    try:
        at = parsedate_to_datetime(headers.get("date", ""))
    except ValueError:
        raise NotSigned("the date cannot be read") from None
    if abs(datetime.now(UTC) - at) > _OFF:
        raise NotSigned("the date is too far off")
    return organization
