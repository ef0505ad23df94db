"""Stripe's search language over stored objects: ``status:'succeeded' AND metadata['order']:'6735' AND amount>1000``."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable

from control_plane.sandbox.engine import public
from control_plane.sandbox.errors import ApiError, Json
from control_plane.sandbox.routing import Call

_CLAUSE = re.compile(
    r"""\s*(?P<negated>-)?(?P<field>[a-z_.]+)(?:\[['"](?P<key>[^'"]+)['"]\])?"""
    r"""\s*(?P<relation>:|~|>=|<=|>|<)\s*(?:'(?P<single>[^']*)'|"(?P<double>[^"]*)"|(?P<bare>[^\s'"]+))"""
    r"""\s*(?P<joint>AND|OR|$)""",
    re.IGNORECASE,
)
_COMPARED: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_Clause = Callable[[Json], bool]


def search(call: Call, kind: str) -> Json:
    """A search answer, newest first. Raises ApiError for a query that cannot be read."""
    clauses, together = _parsed(call.params["query"])
    found = [
        one
        for one in call.sandbox.store.find(kind)
        if together([clause(one) for clause in clauses])
    ]
    limit = call.params.get("limit", 10)
    start = int(call.params.get("page") or 0)
    page = found[start : start + limit]
    more = len(found) > start + limit
    return {
        "object": "search_result",
        "data": [public(one) for one in page],
        "has_more": more,
        "next_page": str(start + limit) if more else None,
        "total_count": len(found),
        "url": call.path,
    }


def _parsed(query: str) -> tuple[list[_Clause], Callable[[list[bool]], bool]]:
    clauses: list[_Clause] = []
    joints: set[str] = set()
    at = 0
    while at < len(query):
        match = _CLAUSE.match(query, at)
        if match is None:
            raise ApiError(
                f"We were unable to parse your search query near {query[at : at + 20]!r}. Try using the format "
                '`metadata["key"]:"value"` to query for metadata or key:"value" to query for other fields.',
                param="query",
            )
        clauses.append(_clause(match))
        joints |= {match["joint"].upper()} - {""}
        at = match.end()
    if len(joints) > 1:
        raise ApiError("You can't combine AND and OR in one query.", param="query")
    return clauses, any if joints == {"OR"} else all


def _clause(match: re.Match[str]) -> _Clause:
    wanted = next(
        one for one in (match["single"], match["double"], match["bare"]) if one is not None
    )
    relation, negated = match["relation"], bool(match["negated"])
    path = [*match["field"].split("."), *([match["key"]] if match["key"] else [])]

    def holds(value: Json) -> bool:
        seen: object = value
        for step in path:
            seen = seen.get(step) if isinstance(seen, dict) else None
        return _compare(seen, relation, wanted) is not negated

    return holds


def _compare(seen: object, relation: str, wanted: str) -> bool:
    if wanted == "null":
        return seen is None
    if seen is None:
        return False
    if relation == "~":
        return wanted.lower() in str(seen).lower()
    if relation in _COMPARED:
        try:
            return _COMPARED[relation](float(str(seen)), float(wanted))
        except ValueError:
            return False
    return str(seen).lower() == wanted.lower()
