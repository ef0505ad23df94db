"""Plugs the pages into the application."""

from __future__ import annotations

from typing import TYPE_CHECKING

import control_plane.web.pages
from control_plane.discovery import modules_in
from control_plane.web.visits import Site

if TYPE_CHECKING:
    from fastapi import FastAPI

    from control_plane.parts import Parts


def plug(app: FastAPI, parts: Parts) -> None:
    """Every ``router`` of ``control_plane.web.pages``, and pages for what goes wrong outside the API."""
    site = Site(parts)
    app.state.site = site
    app.state.render_problem = site.problem_page
    for module in modules_in(control_plane.web.pages):
        app.include_router(module.router, include_in_schema=False)
