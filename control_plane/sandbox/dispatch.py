"""From a request to its answer: key, version, fault, idempotency, parameters, endpoint, ``expand``. No sockets here."""

from __future__ import annotations

import base64
import binascii
import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import msgspec

from control_plane.sandbox.engine import Sandbox, public
from control_plane.sandbox.errors import ApiError, Json, MalformedRequest, unknown_parameter
from control_plane.sandbox.faults import Fault, FaultKind
from control_plane.sandbox.forms import Form, decode
from control_plane.sandbox.routing import Call, Endpoint, Table
from control_plane.sandbox.schema import gated
from control_plane.sandbox.settings import API_VERSION

_REMEMBERED_S = 24 * 3600
_DEEPEST_EXPAND = 4
_LONGEST_KEY = 255
_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What came in. Header names are lower-case."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    upload: tuple[str, str, bytes] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What goes out; ``breaks`` cuts the connection instead."""

    status: int
    body: bytes
    headers: dict[str, str]
    breaks: bool = False

    def json(self) -> Json:
        decoded: Json = msgspec.json.decode(self.body)
        return decoded


class Api:
    """Answers calls. Safe to use from several threads."""

    def __init__(
        self,
        sandbox: Sandbox,
        table: Table,
        includes: Mapping[tuple[str, str], Callable[[Sandbox, Json], object]],
    ) -> None:
        self._sandbox = sandbox
        self._table = table
        self._includes = includes
        self._busy: set[str] = set()
        self._busy_lock = threading.Lock()

    def fault_of(self, request: Request) -> Fault | None:
        """The fault that hits this call."""
        return self._sandbox.faults.take(f"{request.method} {request.path}")

    @contextmanager
    def claimed(self, request: Request) -> Iterator[Answer | None]:
        """Holds the idempotency key; yields the 409 to answer when somebody else holds it."""
        name = _claim_name(request)
        if name is None:
            yield None
            return
        with self._busy_lock:
            taken = name in self._busy
            if not taken:
                self._busy.add(name)
        if taken:
            key = request.headers["idempotency-key"]
            refusal = ApiError(
                "There is currently another in-progress request using this Stripe Idempotent Key (that probably "
                f"means you submitted twice, and the other request is still going through): {key}. If that other "
                "request fails, we'd recommend trying again with the same key.",
                status=409,
                type="idempotency_error",
                code="idempotency_key_in_use",
            )
            yield _refused(refusal, self._sandbox.new_id("req_", 14), retry=True)
            return
        try:
            yield None
        finally:
            with self._busy_lock:
                self._busy.discard(name)

    def answer(self, request: Request, fault: Fault | None = None) -> Answer:
        """Do what is asked, once per idempotency key, as far as the fault lets it."""
        request_id = self._sandbox.new_id("req_", 14)
        kind = None if fault is None else fault.kind
        if kind is FaultKind.LOST_REQUEST:
            return Answer(status=0, body=b"", headers={}, breaks=True)
        if kind in _REFUSALS:
            return _refused(_REFUSALS[kind], request_id, retry=kind is not FaultKind.RATE_LIMIT)
        try:
            answer = self._run(request, request_id, kind)
        except ApiError as refusal:
            answer = _refused(refusal, request_id)
        if kind in (FaultKind.LOST_ANSWER, FaultKind.TIMEOUT_AFTER_SUCCESS):
            return Answer(status=0, body=b"", headers={}, breaks=True)
        return answer

    def _run(self, request: Request, request_id: str, kind: FaultKind | None) -> Answer:
        form = decode(
            request.query
            if request.method in ("GET", "DELETE")
            else request.body.decode(errors="replace")
        )
        key = self._key(request, form)
        self._check_headers(request, key)
        matched = self._table.match(request.method, request.path)
        if matched is None:
            raise MalformedRequest(
                f"Unrecognized request URL ({request.method}: {request.path}). Please see https://stripe.com/docs "
                "or we can help at https://support.stripe.com/.",
                status=404,
            )
        endpoint, ids = matched
        if key.startswith("pk_") and not endpoint.publishable:
            raise MalformedRequest(
                "This API call cannot be made with a publishable API key. Please use a secret API key. You can find "
                "a list of your API keys at https://dashboard.stripe.com/account/apikeys.",
                status=403,
                code="secret_key_required",
            )
        self._sandbox.run_due()
        with self._sandbox.transaction():
            remembered = self._remembered(request, key)
            if remembered is not None:
                return remembered
            status, body = 500, _encode(_BROKEN.body(request_id))
            if kind is not FaultKind.SERVER_ERROR_REMEMBERED:
                try:
                    said = self._execute(endpoint, ids, form, request, key, request_id)
                except MalformedRequest:
                    raise
                except ApiError as refusal:
                    said = refusal.status, _encode(refusal.body(request_id))
                if kind is not FaultKind.SERVER_ERROR_AFTER_SUCCESS:
                    status, body = said
            self._remember(request, key, status, body, request_id)
        return Answer(status=status, body=body, headers=_headers(request, request_id))

    def _execute(
        self,
        endpoint: Endpoint,
        ids: list[str],
        form: dict[str, Form],
        request: Request,
        key: str,
        request_id: str,
    ) -> tuple[int, bytes]:
        call = Call(
            sandbox=self._sandbox,
            params=self._read(endpoint, form),
            publishable=key.startswith("pk_"),
            path=request.path,
            upload=request.upload,
            key=key,
        )
        self._sandbox.current_request = (request_id, request.headers.get("idempotency-key"))
        kept: ApiError | None = None
        result: Json = {}
        try:
            with self._sandbox.store.transaction():
                try:
                    result = public(endpoint.handler(call, *ids))
                    for path in call.params.get("expand") or ():
                        self._expand(result, path.split("."), path)
                except ApiError as refusal:
                    if not refusal.keeps:
                        raise
                    kept = refusal
        finally:
            self._sandbox.current_request = (None, None)
        if kept is not None:
            raise kept
        return 200, _encode(result)

    def _read(self, endpoint: Endpoint, form: dict[str, Form]) -> Json:
        for name, (code, message) in endpoint.removed.items():
            if name in form:
                raise MalformedRequest(message, code=code, param=name)
        for name, is_open in endpoint.gates.items():
            if gated(form, name) and not is_open(self._sandbox.settings):
                raise unknown_parameter(name)
        added = {
            name: read(_pop(form, name), name)
            for name, read in endpoint.extra.items()
            if gated(form, name)
        }
        params = endpoint.read(form, "")
        assert isinstance(params, dict)  # noqa: S101 - readers of whole forms give dicts
        for name, value in added.items():
            *path, last = name.replace("]", "").split("[")
            here = params
            for step in path:
                here = here.setdefault(step, {})
            here[last] = value
        return params

    def _key(self, request: Request, form: dict[str, Form]) -> str:
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        key = credentials.strip()
        if scheme.lower() == "basic":
            try:
                key = base64.b64decode(key).decode().partition(":")[0]
            except (binascii.Error, UnicodeDecodeError):
                key = ""
        # Browsers send the publishable key in the form, which spares them a preflight.
        in_form = form.pop("key", "") if request.headers.get("authorization") is None else ""
        key = key or (in_form if isinstance(in_form, str) else "")
        if not key:
            raise MalformedRequest(
                "You did not provide an API key. You need to provide your API key in the Authorization header, using "
                "Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY'). See "
                "https://stripe.com/docs/api#authentication for details, or we can help at "
                "https://support.stripe.com/.",
                status=401,
            )
        kind, _, rest = key.partition("_")
        if kind in ("sk", "rk", "pk") and rest.startswith("live_"):
            raise MalformedRequest(
                "This is the sandbox, and that is a live key. Nothing was done. Use a key that starts with "
                "sk_test_ here, and make a new live key: this one was sent to a test server.",
                status=401,
                code="api_key_expired",
            )
        allowed = self._sandbox.settings.keys
        is_test = kind in ("sk", "rk", "pk") and rest.startswith("test_") and len(rest) > 5
        if not is_test or (allowed and key not in allowed):
            shown = f"{key[:8]}{'*' * 8}{key[-4:]}" if len(key) > 12 else "*" * len(key)
            raise MalformedRequest(f"Invalid API Key provided: {shown}", status=401)
        return key

    def _check_headers(self, request: Request, key: str) -> None:
        version = request.headers.get("stripe-version", API_VERSION)
        if version != API_VERSION:
            raise MalformedRequest(f"Invalid Stripe API version: {version}")
        account = request.headers.get("stripe-account", self._sandbox.settings.account_id)
        if account != self._sandbox.settings.account_id:
            raise MalformedRequest(
                f"The provided key '{key[:8]}***' does not have access to account '{account}' (or that account does "
                "not exist). Application access may have been revoked.",
                status=403,
                code="account_invalid",
            )
        if len(request.headers.get("idempotency-key", "")) > _LONGEST_KEY:
            raise MalformedRequest(
                f"Idempotency keys can be up to {_LONGEST_KEY} characters long.",
                type="idempotency_error",
            )

    def _remembered(self, request: Request, key: str) -> Answer | None:
        identifier = _answer_id(request, key)
        found = self._sandbox.store.get(identifier) if identifier else None
        if found is None or found["created"] + _REMEMBERED_S < self._sandbox.now():
            return None
        if found["fingerprint"] != _fingerprint(request):
            given = request.headers["idempotency-key"]
            raise MalformedRequest(
                "Keys for idempotent requests can only be used with the same parameters they were first used with. "
                f"Try using a key other than '{given}' if you meant to execute a different request.",
                type="idempotency_error",
            )
        headers = _headers(request, self._sandbox.new_id("req_", 14))
        headers |= {"Idempotent-Replayed": "true", "Original-Request": found["request"]}
        return Answer(status=found["status"], body=found["body"].encode(), headers=headers)

    def _remember(
        self, request: Request, key: str, status: int, body: bytes, request_id: str
    ) -> None:
        identifier = _answer_id(request, key)
        if identifier is None:
            return
        self._sandbox.store.remove(identifier)
        remembered = {
            "id": identifier,
            "created": self._sandbox.now(),
            "fingerprint": _fingerprint(request),
            "status": status,
            "body": body.decode(),
            "request": request_id,
        }
        self._sandbox.store.add("_answer", remembered)

    def _expand(self, value: object, path: list[str], whole: str) -> None:
        if len(path) > _DEEPEST_EXPAND:
            raise MalformedRequest(
                f"You cannot expand more than {_DEEPEST_EXPAND} levels deep ({whole}).",
                param="expand",
            )
        if isinstance(value, list):
            for one in value:
                self._expand(one, path, whole)
            return
        name, *rest = path
        if not isinstance(value, dict):
            return
        include = self._includes.get((value.get("object", ""), name))
        if include is not None:
            value[name] = include(self._sandbox, value)
        elif name not in value:
            raise MalformedRequest(f"This property cannot be expanded ({whole}).", param="expand")
        elif isinstance(value[name], str):
            found = self._sandbox.store.get(value[name])
            if found is None:
                raise MalformedRequest(
                    f"This property cannot be expanded ({whole}).", param="expand"
                )
            value[name] = public(found)
        elif not isinstance(value[name], dict | list | None):
            raise MalformedRequest(f"This property cannot be expanded ({whole}).", param="expand")
        if rest:
            self._expand(value[name], rest, whole)


_BROKEN = ApiError(
    "Sorry! There was an error while talking to one of our backend services.",
    status=500,
    type="api_error",
)
_REFUSALS: dict[FaultKind | None, ApiError] = {
    FaultKind.SERVER_ERROR: _BROKEN,
    FaultKind.CONFLICT: ApiError(
        "This object cannot be accessed right now because another API request or Stripe process is currently "
        "accessing it. If you see this error intermittently, retry the request. If you see this error frequently and "
        "are making multiple concurrent requests to a single object, make your requests serially or at a lower rate.",
        status=409,
        code="lock_timeout",
    ),
    FaultKind.RATE_LIMIT: ApiError(
        "Request rate limit exceeded. Learn more about rate limits here https://stripe.com/docs/rate-limits.",
        status=429,
        code="rate_limit",
    ),
}


def _refused(refusal: ApiError, request_id: str, *, retry: bool | None = None) -> Answer:
    headers = {"Request-Id": request_id, "Stripe-Version": API_VERSION}
    if retry is not None:
        headers["Stripe-Should-Retry"] = str(retry).lower()
    return Answer(status=refusal.status, body=_encode(refusal.body(request_id)), headers=headers)


def _headers(request: Request, request_id: str) -> dict[str, str]:
    headers = {"Request-Id": request_id, "Stripe-Version": API_VERSION}
    if "idempotency-key" in request.headers:
        headers |= {
            "Idempotency-Key": request.headers["idempotency-key"],
            "Original-Request": request_id,
        }
    return headers


def _claim_name(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    return None if key is None else f"{request.headers.get('authorization')} {key}"


def _answer_id(request: Request, key: str) -> str | None:
    given = request.headers.get("idempotency-key")
    return None if given is None or request.method != "POST" else f"{key}:{given}"


def _fingerprint(request: Request) -> str:
    asked = request.method.encode() + b" " + request.path.encode() + b"\n" + request.body
    return hashlib.sha256(asked).hexdigest()


def _pop(form: dict[str, Form], path: str) -> Form:
    """Take a nested parameter out of the form."""
    *steps, last = path.replace("]", "").split("[")
    here = form
    for step in steps:
        inner = here[step]
        assert isinstance(inner, dict)  # noqa: S101 - gated() has looked
        here = inner
    return here.pop(last)
