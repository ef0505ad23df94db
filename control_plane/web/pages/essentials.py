"""What every page loads or leads to: files, the app manifest, the offline page, language and colours."""

from __future__ import annotations

from asyncio import to_thread
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from control_plane.http.security import PUBLIC, PUBLIC_FILE, refuse_other_sites
from control_plane.web.i18n import LANGUAGES, translations
from control_plane.web.visits import (
    LANGUAGE_COOKIE,
    THEME_COOKIE,
    THEMES,
    language_of,
    own_path,
    site_of,
)

router = APIRouter()

_ONE_YEAR_S = 365 * 24 * 3600
#: What the offline page needs, and what every page loads.
_KEPT = ("css/omnitill.css", "js/app.js", "js/till.js", "img/icons.svg", "img/mark.svg",
         "vendor/htmx.min.js")  # fmt: skip


@router.get("/static/{build}/{name:path}", dependencies=[PUBLIC_FILE])
async def file(request: Request, build: str, name: str) -> Response:
    """A file of the pages. Not counted as a call: a page loads several."""
    squeezed = "gzip" in request.headers.get("accept-encoding", "")
    return site_of(request).static.respond(build, name, accepts_gzip=squeezed)


@router.get("/favicon.ico", dependencies=[PUBLIC])
async def favicon(request: Request) -> Response:
    """For browsers that ask without reading the page."""
    return RedirectResponse(site_of(request).static.url("img/mark.svg"), 307)


@router.get("/manifest.webmanifest", dependencies=[PUBLIC])
async def manifest(request: Request) -> Response:
    """What makes the pages installable."""
    static = site_of(request).static
    language = language_of(request, None)
    say = translations(language).gettext
    content = {
        "name": "Omnitill",
        "short_name": "Omnitill",
        "description": say("Take card payments in shops, and look after the readers that do it."),
        "id": "/",
        "lang": language,
        "start_url": "/pos",
        "scope": "/",
        "display": "standalone",
        "background_color": "#f5f2ea",
        "theme_color": "#20297f",
        "icons": [
            {"src": static.url("img/mark.svg"), "type": "image/svg+xml", "sizes": "any"},
            {
                "src": static.url("img/mark-maskable.svg"),
                "type": "image/svg+xml",
                "sizes": "any",
                "purpose": "maskable",
            },
            {"src": static.url("img/mark-180.png"), "type": "image/png", "sizes": "180x180"},
        ],
        "screenshots": [
            {
                "src": static.url("img/take-a-payment.webp"),
                "type": "image/webp",
                "sizes": "1280x820",
                "form_factor": "wide",
            }
        ],
        "shortcuts": [
            {"name": say("Take a payment"), "url": "/pos"},
            {"name": say("Transactions"), "url": "/transactions"},
        ],
    }
    return JSONResponse(
        content,
        media_type="application/manifest+json",
        headers={"Cache-Control": "no-cache", "Vary": "Accept-Language, Cookie"},
    )


@router.get("/service-worker.js", dependencies=[PUBLIC])
async def service_worker(request: Request) -> Response:
    """Keeps the files of this build and the offline page; its text changes with the build."""
    site = site_of(request)
    kept = ["/offline", *(site.static.url(name) for name in _KEPT)]
    text = site.templates.render("service-worker.js", language_of(request, None), kept=kept)
    return Response(text, media_type="text/javascript", headers={"Cache-Control": "no-cache"})


@router.get("/offline", dependencies=[PUBLIC])
async def offline(request: Request) -> Response:
    """What is shown when we cannot be reached; kept by the service worker."""
    return await to_thread(site_of(request).public_page, request, "offline.html")


@router.post("/preferences", dependencies=[PUBLIC])
async def preferences(
    request: Request,
    back: Annotated[str, Form()] = "/",
    language: Annotated[str | None, Form()] = None,
    theme: Annotated[str | None, Form()] = None,
) -> Response:
    """Language or colours of this browser. Changes nothing else, so that it needs no sign-in."""
    refuse_other_sites(request)
    path = "/sign-in" if back == "/sign-in" else own_path(back)
    response = RedirectResponse(path, 303)
    secure = request.url.scheme == "https"
    if language in LANGUAGES:
        response.set_cookie(
            LANGUAGE_COOKIE,
            language,
            max_age=_ONE_YEAR_S,
            httponly=True,
            samesite="lax",
            secure=secure,
        )
    if theme in THEMES:
        response.set_cookie(
            THEME_COOKIE, theme, max_age=_ONE_YEAR_S, httponly=True, samesite="lax", secure=secure
        )
    elif theme == "":
        response.delete_cookie(THEME_COOKIE)
    return response
