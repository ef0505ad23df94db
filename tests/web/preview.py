"""Shows every template with sample values, without a database: `python tests/web/preview.py` serves them.

`python tests/web/preview.py shoot FOLDER [NAME ...]` writes screenshots in three sizes, light and dark.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import uvicorn
from playwright.sync_api import ConsoleMessage, sync_playwright
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

sys.path.insert(0, str(Path(__file__).parents[2]))

from control_plane.http.middleware import CONTENT_SECURITY_POLICY
from control_plane.web.i18n import choose_language
from control_plane.web.static_files import StaticFiles
from control_plane.web.templating import Templates
from tests.web.gallery import GALLERY
from tests.web.samples import NOW

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
SIZES = {"phone": (360, 800), "tablet": (768, 1024), "desktop": (1440, 900)}


def application() -> Starlette:
    """The samples at `/{name}`, with `?theme=` and `?lang=`."""
    static = StaticFiles()
    templates = Templates(static)

    def show(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in GALLERY:
            return PlainTextResponse("\n".join(GALLERY), status_code=404)
        sample = GALLERY[name]
        language = choose_language(request.query_params.get("lang"), "en")
        shell = sample.shell(request.query_params.get("theme", ""))
        text = templates.render(
            sample.template, language, shell=shell, zone=shell.zone, now=NOW, **sample.context
        )
        return HTMLResponse(text, headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY})

    def file(request: Request) -> Response:
        path = request.path_params
        return static.respond(path["build"], path["name"], accepts_gzip=True)

    return Starlette(routes=[Route("/static/{build}/{name:path}", file), Route("/{name}", show)])


@contextmanager
def serving() -> Iterator[str]:
    """The preview on a free port; gives its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(application(), log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def shoot(folder: Path, names: list[str]) -> None:
    """Screenshots of the named samples (or all) in every size and both colour schemes."""
    folder.mkdir(parents=True, exist_ok=True)
    with serving() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
        )
        for size, (width, height) in SIZES.items():
            for theme in SCHEMES:
                page = browser.new_page(
                    viewport={"width": width, "height": height},
                    color_scheme=theme,
                    has_touch=size != "desktop",
                    is_mobile=size == "phone",
                    reduced_motion="reduce",
                    service_workers="block",
                )
                page.on("console", _print)
                for name in names or GALLERY:
                    page.goto(f"{address}/{name}", wait_until="load")
                    page.screenshot(path=folder / f"{name}-{size}-{theme}.png", full_page=True)
                page.close()
        browser.close()


def _print(message: ConsoleMessage) -> None:
    sys.stderr.write(f"{message.text}\n")


def main(arguments: list[str]) -> None:
    """Serve, or shoot."""
    if arguments[:1] == ["shoot"]:
        shoot(Path(arguments[1]), arguments[2:])
        return
    uvicorn.run(application(), host="127.0.0.1", port=8899)


if __name__ == "__main__":
    main(sys.argv[1:])
