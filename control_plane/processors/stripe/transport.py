"""The SDK's way to the network: urllib3, with time-outs of ours, and failures that say whether anything was sent."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import stripe
import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ProxyError,
    SSLError,
)

#: Connections kept open to one host; more are made and closed again when more threads ask at once.
_KEPT = 32


class NothingSent(stripe.APIConnectionError):
    """No connection was made: the request surely did not arrive."""


class Transport(stripe.HTTPClient):
    """One pool of connections for all threads. Follows no redirect and repeats nothing by itself."""

    name = "urllib3"

    def __init__(self, base: str, *, connect_s: float, read_s: float) -> None:
        super().__init__()
        self._connect_s = connect_s
        self._read_s = read_s
        self._deadline = threading.local()
        self._pool = _pool(base)

    @contextmanager
    def until(self, moment: float) -> Iterator[None]:
        """Requests of this thread give up at this moment of ``time.monotonic()``."""
        self._deadline.moment = moment
        try:
            yield
        finally:
            del self._deadline.moment

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        post_data: Any = None,  # a form or a multipart body, as the SDK encoded it
        *,
        _usage: list[str] | None = None,
    ) -> tuple[Any, int, Mapping[str, str]]:  # the SDK takes bytes, and says it takes text
        """Body, status and headers. Raises NothingSent, or APIConnectionError when it may have arrived."""
        left_s = getattr(self._deadline, "moment", float("inf")) - time.monotonic()
        timeout = urllib3.Timeout(
            connect=max(0.01, min(self._connect_s, left_s)),
            read=max(0.01, min(self._read_s, left_s)),
        )
        try:
            response = self._pool.request(
                method.upper(),
                url,
                body=post_data,
                headers={**(headers or {}), "Accept-Encoding": "gzip"},
                timeout=timeout,
                retries=False,
                redirect=False,
            )
        except HTTPError as error:
            _fail(error)
        return response.data, response.status, response.headers

    def close(self) -> None:
        """Let go of idle connections."""
        self._pool.clear()


def _fail(error: HTTPError) -> NoReturn:
    words = f"{type(error).__name__}: {error}"
    if _is_before_sending(error):
        raise NothingSent(words) from error  # type: ignore[no-untyped-call]  # as below
    raise stripe.APIConnectionError(words) from error  # type: ignore[no-untyped-call]  # the SDK's own


def _is_before_sending(error: BaseException | None) -> bool:
    # Certificates are checked before the first byte of a request; other trouble with TLS may come later.
    if isinstance(error, SSLError):
        return "CERTIFICATE_VERIFY_FAILED" in str(error)
    if isinstance(error, ProxyError):
        return _is_before_sending(error.original_error)
    return isinstance(error, NewConnectionError | ConnectTimeoutError)


def _pool(base: str) -> urllib3.PoolManager:
    parts = urlsplit(base)
    settings: dict[str, Any] = {  # keyword arguments of urllib3
        "maxsize": _KEPT,
        "cert_reqs": "CERT_REQUIRED",
        "ca_certs": stripe.ca_bundle_path,
    }
    proxy = getproxies().get(parts.scheme)
    if proxy and not proxy_bypass(parts.hostname or ""):
        return urllib3.ProxyManager(proxy, **settings)
    return urllib3.PoolManager(**settings)
