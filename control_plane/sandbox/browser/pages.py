"""What pages of the sandbox have in common: their headers, and where they may be shown."""

from __future__ import annotations

from fastapi.responses import Response

_LOOPBACK = " ".join(
    f"{scheme}://{host}:*"
    for scheme in ("http", "https")
    for host in ("127.0.0.1", "localhost", "*.localhost")
)
#: Nothing inline, nothing from elsewhere, framed by pages of this machine only.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    f"frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self' {_LOOPBACK}"
)
_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "txt": "text/plain; charset=utf-8",
}


def page(content: str | bytes, suffix: str = "html", *, status: int = 200) -> Response:
    """A document, script or style of the sandbox, with its policy."""
    return Response(
        content,
        status,
        {
            "Cache-Control": "no-cache",
            "Content-Security-Policy": POLICY,
            "Cross-Origin-Resource-Policy": "cross-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        },
        media_type=_TYPES[suffix],
    )
