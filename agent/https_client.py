"""Requests to the control plane over HTTPS, signed with the device's key. Imported only where it is needed.

The signature, not the connection, says who asks, so this works through any proxy of a shop.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import os
import ssl
import threading
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

import msgspec

from agent.errors import AgentError
from agent.threads import in_thread
from agent.version import VERSION
from protocols.cloud.http import (
    HEADER_DEVICE,
    HEADER_SIGNATURE,
    HEADER_TIME,
    HEADER_TIMESTAMP,
    signed_text,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    from agent.clock import Clock
    from agent.identity import Identity
    from agent.timekeeping import DeviceTime

TIMEOUT_S: Final = 15.0
_CLOCK_SKEW: Final = "clock_skew"
#: More than any answer of the contract needs.
_LARGEST_ANSWER: Final = 8 * 1024 * 1024


class ControlPlaneUnreachable(AgentError):
    """No answer came; the message says why and what to look at."""

    code = "control_plane_unreachable"
    retryable = True

    def __init__(self, url: str, reason: str, hint: str) -> None:
        super().__init__(f"{url}: {hint}", url=url, reason=reason)
        self.reason = reason


class ControlPlaneRefused(AgentError):
    """The control plane answered with a problem."""

    code = "control_plane_refused"

    def __init__(self, status: int, problem: str, detail: str) -> None:
        super().__init__(
            detail or f"the control plane refused with {status}", status=status, problem=problem
        )
        self.status = status
        self.problem = problem
        """Its stable code, such as ``code_expired``; empty when it gave none."""


class _Problem(msgspec.Struct):
    code: str = ""
    title: str = ""
    detail: str = ""


class HttpsClient:
    """One connection to the control plane, kept open, for one request after the other.

    Every answer teaches `time` the server's clock.
    """

    def __init__(
        self,
        url: str,
        time: DeviceTime,
        clock: Clock,
        *,
        ca_pem: str = "",
        identity: Identity | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        parts = urlsplit(self._url)
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._prefix = parts.path
        self._is_plain = parts.scheme == "http"
        self._time = time
        self._clock = clock
        self._ca_pem = ca_pem
        self._identity: Identity | None = None
        self._key_pem = b""
        self._key: EllipticCurvePrivateKey | None = None
        if identity is not None:
            self.use(identity)
        self._connection: http.client.HTTPConnection | None = None
        self._turn = asyncio.Lock()

    def use(self, identity: Identity) -> None:
        """Sign as this one from now on. Its key is read at once: a renewal removes the file."""
        self._identity = identity
        self._key_pem = identity.key_file.read_bytes()
        self._key = None

    async def request(
        self, method: str, path: str, body: bytes = b"", *, timeout_s: float = TIMEOUT_S
    ) -> bytes:
        """The body of a 2xx answer. Signed when this client has an identity; a skewed clock is corrected once.

        Raises ControlPlaneUnreachable or ControlPlaneRefused.
        """
        async with self._turn:
            try:
                return await self._ask(method, path, body, timeout_s)
            except ControlPlaneRefused as refused:
                if refused.problem != _CLOCK_SKEW:
                    raise
                # The answer brought the server's time.
                return await self._ask(method, path, body, timeout_s)

    def close(self) -> None:
        """Close the connection; a request that waits for its answer ends with ControlPlaneUnreachable."""
        connection, self._connection = self._connection, None
        if connection is not None:
            _shut(connection)

    async def _ask(self, method: str, path: str, body: bytes, timeout_s: float) -> bytes:
        asked_at = self._clock.elapsed()
        given_up = threading.Event()
        try:
            status, headers, answer = await in_thread(
                lambda: self._exchange(method, self._prefix + path, body, timeout_s, given_up),
                "https",
            )
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise self._unreachable(error) from error
        except asyncio.CancelledError:
            given_up.set()
            self.close()
            raise
        self._learn_time(headers, asked_at)
        if 200 <= status < 300:
            return answer
        problem = _Problem()
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
            problem = msgspec.json.decode(answer, type=_Problem)
        raise ControlPlaneRefused(status, problem.code, problem.detail or problem.title)

    def _exchange(
        self, method: str, path: str, body: bytes, timeout_s: float, given_up: threading.Event
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"omnitill-agent/{VERSION}",
            **(self._signature(method, path, body) if self._identity else {}),
        }
        for is_kept in (self._connection is not None, False):
            connection = self._connection or self._open(timeout_s)
            try:
                return self._one_exchange(connection, method, path, body, headers, timeout_s)
            except (http.client.RemoteDisconnected, ConnectionError):
                # A kept connection may have been closed meanwhile; everything sent here may be sent twice.
                if not is_kept or given_up.is_set():
                    raise
                self._connection = None
            finally:
                if given_up.is_set():
                    self._connection = None
                if self._connection is not connection:
                    # Given up meanwhile, by us or by whoever waited.
                    _shut(connection)
        raise http.client.RemoteDisconnected("closed twice")

    def _one_exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: bytes,
        headers: dict[str, str],
        timeout_s: float,
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        if connection.sock is not None:
            connection.sock.settimeout(timeout_s)
        connection.request(method, path, body or None, headers)
        response = connection.getresponse()
        answer = response.read(_LARGEST_ANSWER)
        if response.will_close and self._connection is connection:
            self._connection = None
        return response.status, response.headers, answer

    def _open(self, timeout_s: float) -> http.client.HTTPConnection:
        proxy = _proxy_for(self._host)
        host, port = proxy or (self._host, self._port)
        connection: http.client.HTTPConnection
        if self._is_plain:
            connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
        else:
            context = ssl.create_default_context(cadata=self._ca_pem or None)
            connection = http.client.HTTPSConnection(host, port, timeout=timeout_s, context=context)
        if proxy:
            connection.set_tunnel(self._host, self._port)
        self._connection = connection
        return connection

    def _signature(self, method: str, path: str, body: bytes) -> dict[str, str]:
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA  # noqa: PLC0415 (12 MiB)
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415

        assert self._identity is not None  # noqa: S101 (asked by `_exchange`)
        key = self._key = self._key or load_key(self._key_pem)
        timestamp_ms = int(self._time.now().timestamp() * 1000)
        signature = key.sign(signed_text(method, path, timestamp_ms, body), ECDSA(SHA256()))
        return {
            HEADER_DEVICE: self._identity.membership.device_id,
            HEADER_TIMESTAMP: str(timestamp_ms),
            HEADER_SIGNATURE: base64.b64encode(signature).decode(),
        }

    def _learn_time(self, headers: http.client.HTTPMessage, asked_at: float) -> None:
        answered_at = self._clock.elapsed()
        with contextlib.suppress(ValueError, TypeError):
            if exact := headers.get(HEADER_TIME):
                self._time.learn(int(exact), asked_at=asked_at, answered_at=answered_at)
            elif date := headers.get("Date"):
                # Cut to whole seconds: in the middle of the second it names, half a second off at most.
                unix_ms = int(parsedate_to_datetime(date).timestamp() * 1000) + 500
                self._time.learn(unix_ms, asked_at=asked_at, answered_at=answered_at, coarse_s=0.5)

    def _unreachable(self, error: BaseException) -> ControlPlaneUnreachable:
        return ControlPlaneUnreachable(self._url, *_explained(error, self._host))


def load_key(pem: bytes) -> EllipticCurvePrivateKey:
    """A P-256 private key from its PEM. Raises ValueError for anything else."""
    from cryptography.hazmat.primitives.asymmetric.ec import (  # noqa: PLC0415 (12 MiB)
        EllipticCurvePrivateKey,
    )
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    key = load_pem_private_key(pem, password=None)
    if not isinstance(key, EllipticCurvePrivateKey):
        raise ValueError("the device's key is not an elliptic-curve key")  # noqa: TRY004 (as for any unreadable key)
    return key


def _explained(error: BaseException, host: str) -> tuple[str, str]:
    """(reason, what to do about it)"""
    match error:
        case ssl.SSLCertVerificationError(verify_code=9 | 10):
            return (
                "certificate_dates",
                f"the certificate is {error.verify_message.removeprefix('certificate is ')} by this machine's clock; "
                "set the clock (timedatectl set-ntp true), then try again",
            )
        case ssl.SSLCertVerificationError():
            return (
                "certificate",
                f"the certificate is not trusted ({error.verify_message}); when the control plane has its own "
                "certificate authority, name its file with --ca-file",
            )
        case ssl.SSLError():
            return "tls", f"TLS failed ({error.reason or error}); is this an https address?"
        case TimeoutError():
            return "timeout", "no answer; a firewall may block the way"
        case ConnectionRefusedError():
            return "refused", "nothing listens there; check the address and the port"
        case OSError(errno=None | -2 | -3 | -5):
            return "name", f"the name {host} is not known; check the address and the network's DNS"
        case OSError():
            return "unreachable", f"there is no way to it ({error}); check the network"
        case _:
            return "no_http", f"what answers is no control plane ({error}); check the address"


def _proxy_for(host: str) -> tuple[str, int] | None:
    address = os.environ.get("https_proxy") or os.environ.get("HTTPS_PROXY") or ""
    parts = urlsplit(address if "://" in address else f"//{address}")
    if not parts.hostname or proxy_bypass(host):
        return None
    return parts.hostname, parts.port or 3128


def _shut(connection: http.client.HTTPConnection) -> None:
    """Close also under a thread that waits in it."""
    sock = connection.sock
    if sock is not None:
        with contextlib.suppress(OSError):
            # Wakes the thread; closing alone would not.
            sock.shutdown(2)
    connection.close()
