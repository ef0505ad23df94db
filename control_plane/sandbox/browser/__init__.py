"""The browser half: ``/sandbox-stripe.js`` for the merchant's page, and the iframes with the fields.

Card and account numbers are typed into an iframe of the sandbox's origin, which posts them to the sandbox itself; the
embedding page gets tokens. Both ends of each conversation check the other's origin, and only pages of this machine may
embed the iframes.
"""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, HTTPException
from fastapi.responses import Response

from control_plane.sandbox.browser import calls
from control_plane.sandbox.browser.pages import page

router = APIRouter()
routes = calls.routes

_FILES = {file.name: file.read_bytes() for file in (Path(__file__).parent / "static").iterdir()}


def asset(name: str) -> Response:
    """One of the files beside this module. Raises KeyError."""
    return page(_FILES[name], name.rpartition(".")[2])


def text_of(name: str) -> str:
    """The text of one of the files. Raises KeyError."""
    return _FILES[name].decode()


@router.get("/sandbox-stripe.js")
def script() -> Response:
    """The script that a page loads where it would load Stripe's."""
    return asset("sandbox-stripe.js")


@router.get("/_browser/frame")
def frame() -> Response:
    """The document of every iframe; what it shows is told by the embedding page."""
    return asset("frame.html")


@router.get("/_browser/{name}")
def static_file(name: str) -> Response:
    """Scripts and styles of the sandbox's pages."""
    if name not in _FILES or not name.endswith((".css", ".js")):
        raise HTTPException(404)
    return asset(name)
