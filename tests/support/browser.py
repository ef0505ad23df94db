"""What a browser complains about, apart from what the page shows."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import BrowserContext, ConsoleMessage, WebError

NewContext = Callable[..., BrowserContext]
"""Opens a window of its own (cookies, language, size); takes what Playwright's `new_context` takes."""


def note_troubles(context: BrowserContext, troubles: list[str]) -> None:
    """From now on, add each uncaught script error and each policy violation of the context's pages."""

    def note_error(error: WebError) -> None:
        troubles.append(f"script: {error.error}")

    def note_violation(message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            troubles.append(f"policy: {message.text}")

    context.on("weberror", note_error)
    context.on("console", note_violation)
