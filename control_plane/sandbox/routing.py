"""How a module adds endpoints: a ``routes`` object of its own, found by the application by itself.

```python
routes = Routes()

@routes.post("/v1/refunds", RefundCreateParams)
def create(call: Call) -> Json: ...

@routes.get("/v1/refunds/{refund}", RefundRetrieveParams, publishable=False)
def retrieve(call: Call, refund: str) -> Json: ...

@routes.task("fail_refund")
def fail_later(sandbox: Sandbox, refund: str) -> None: ...
```
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from control_plane.sandbox.engine import Sandbox, Task, public
from control_plane.sandbox.errors import ApiError, Json
from control_plane.sandbox.schema import Reader, described, reader_of
from control_plane.sandbox.settings import SandboxSettings

Handler = Callable[..., Json]
HandlerT = TypeVar("HandlerT", bound=Handler)
TaskT = TypeVar("TaskT", bound=Task)
Gate = Callable[[SandboxSettings], bool]


@dataclass(slots=True)
class Call:
    """One authenticated, validated call. ``params`` has what was sent; None means: unset it."""

    sandbox: Sandbox
    params: Json
    #: Called with a publishable key: only with the object's client secret, and only what a browser may see.
    publishable: bool
    path: str
    #: The uploaded file of a multipart body: (name, content type, content).
    upload: tuple[str, str, bytes] | None = None
    #: The bare secret or publishable key.
    key: str = ""

    def page(self, kind: str, **equal: object) -> Json:
        """A list answer: newest first, cut by ``limit``, ``starting_after``, ``ending_before`` and ``created``."""
        params = self.params
        limit = params.get("limit", 10)
        if not 1 <= limit <= 100:
            raise ApiError(
                "This value must be between 1 and 100 (inclusive).",
                code="parameter_invalid_integer",
                param="limit",
            )
        created = params.get("created")
        try:
            data, has_more = self.sandbox.store.page(
                kind,
                limit=limit,
                equal={name: value for name, value in equal.items() if value is not None},
                created={"gte": created, "lte": created} if isinstance(created, int) else created,
                starting_after=params.get("starting_after"),
                ending_before=params.get("ending_before"),
            )
        except KeyError as missing:
            which = "starting_after" if "starting_after" in params else "ending_before"
            raise ApiError(
                f"No such object: '{missing.args[0]}'", code="resource_missing", param=which
            ) from None
        return listing(data, self.path, has_more=has_more)


def listing(data: list[Json], url: str, *, has_more: bool = False) -> Json:
    """Stripe's list object."""
    return {
        "object": "list",
        "data": [public(one) for one in data],
        "has_more": has_more,
        "url": url,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A method and path template with what it takes and who may call it."""

    method: str
    path: str
    read: Reader
    handler: Handler
    publishable: bool
    #: Parameters of the SDK's class that the account must be allowed; closed they are unknown.
    gates: dict[str, Gate]
    #: Parameters that used to exist: name -> (code, message).
    removed: dict[str, tuple[str, str]]
    #: Parameters, also nested (``process_config[moto]``), that the SDK does not declare.
    extra: dict[str, Reader]


@dataclass(slots=True)
class Routes:
    """The endpoints, tasks and expansions of one module."""

    endpoints: list[Endpoint] = field(default_factory=list)
    tasks: dict[str, Task] = field(default_factory=dict)
    #: ``(object, field)`` -> what that field is when asked for by ``expand``, e.g. a session's line items.
    includes: dict[tuple[str, str], Callable[[Sandbox, Json], object]] = field(default_factory=dict)

    def get(
        self, path: str, params: type | None = None, **options: bool
    ) -> Callable[[HandlerT], HandlerT]:
        """Add a GET endpoint that takes the parameters of a ``stripe.params`` class."""
        return self._add("GET", path, params, publishable=options.get("publishable", False))

    def delete(self, path: str, params: type | None = None) -> Callable[[HandlerT], HandlerT]:
        """Add a DELETE endpoint."""
        return self._add("DELETE", path, params, publishable=False)

    def post(
        self,
        path: str,
        params: type | None = None,
        *,
        publishable: bool = False,
        gates: dict[str, Gate] | None = None,
        removed: dict[str, tuple[str, str]] | None = None,
        extra: dict[str, object] | None = None,
    ) -> Callable[[HandlerT], HandlerT]:
        """Add a POST endpoint."""
        return self._add(
            "POST", path, params, publishable=publishable, gates=gates, removed=removed, extra=extra
        )

    def task(self, name: str) -> Callable[[TaskT], TaskT]:
        """Add what ``sandbox.after(seconds, name, target)`` runs."""

        def register(task: TaskT) -> TaskT:
            self.tasks[name] = task
            return task

        return register

    def include(self, kind: str, name: str) -> Callable[[HandlerT], HandlerT]:
        """Add a field that is only there when expanded; the function gets the sandbox and the object."""

        def register(load: HandlerT) -> HandlerT:
            self.includes[kind, name] = load
            return load

        return register

    def _add(
        self,
        method: str,
        path: str,
        params: type | None,
        *,
        publishable: bool,
        gates: dict[str, Gate] | None = None,
        removed: dict[str, tuple[str, str]] | None = None,
        extra: dict[str, object] | None = None,
    ) -> Callable[[HandlerT], HandlerT]:
        def register(handler: HandlerT) -> HandlerT:
            self.endpoints.append(
                Endpoint(
                    method=method,
                    path=path,
                    read=reader_of(params),
                    handler=handler,
                    publishable=publishable,
                    gates=gates or {},
                    removed=removed or {},
                    extra={name: described(kind) for name, kind in (extra or {}).items()},
                )
            )
            return handler

        return register


class Table:
    """All endpoints, looked up by method and path."""

    def __init__(self, endpoints: list[Endpoint]) -> None:
        self._root: Json = {}
        for endpoint in endpoints:
            here = self._root
            for step in endpoint.path.strip("/").split("/"):
                here = here.setdefault("{}" if step.startswith("{") else step, {})
            if endpoint.method in here.setdefault("", {}):
                raise ValueError(f"{endpoint.method} {endpoint.path} is there twice")
            here[""][endpoint.method] = endpoint

    def match(self, method: str, path: str) -> tuple[Endpoint, list[str]] | None:
        """The endpoint and the ids in the path; a fixed word goes before an id."""
        here = self._root
        ids: list[str] = []
        for step in path.strip("/").split("/"):
            if step in here and step:
                here = here[step]
            elif "{}" in here and step:
                here = here["{}"]
                ids.append(step)
            else:
                return None
        endpoint = here.get("", {}).get(method)
        return None if endpoint is None else (endpoint, ids)
