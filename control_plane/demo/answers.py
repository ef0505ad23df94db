"""What the demo's checks make of an answer of the API."""

from __future__ import annotations

from typing import Any

import httpx2


class Failed(Exception):
    """Something is not as it must be. The text is a sentence."""


# Any: JSON.
def answer_of(answer: httpx2.Response) -> Any:
    """Its JSON. Raises Failed with what a refusal says."""
    if answer.is_success:
        return answer.json()
    try:
        said = answer.json()
    except ValueError:
        said = {}
    detail = said.get("detail") or said.get("refused") or answer.text[:200]
    raise Failed(
        f"{answer.request.method} {answer.request.url.path}: {answer.status_code}. {detail}"
    )
