"""A receipt as an answer: a page, a PDF or plain text; the same for the API and for pages."""

from __future__ import annotations

from typing import Literal

from starlette.responses import Response

from control_plane.receipts.document import Receipt
from control_plane.receipts.drawing import CONTENT_SECURITY_POLICY, as_page, as_text
from control_plane.receipts.pdf import as_pdf
from control_plane.receipts.service import file_name
from control_plane.receipts.sheet import Sheet

Form = Literal["html", "pdf", "txt"]


def drawn(form: Form, receipt: Receipt, sheet: Sheet) -> Response:
    """The receipt in a form."""
    headers = {"Content-Disposition": f'inline; filename="{file_name(receipt, form)}"'}
    match form:
        case "pdf":
            return Response(
                as_pdf(sheet, receipt.at), headers=headers, media_type="application/pdf"
            )
        case "txt":
            return Response(as_text(sheet), headers=headers, media_type="text/plain")
        case "html":
            return page_alone(as_page(sheet), headers)


def page_alone(html: str, headers: dict[str, str] | None = None) -> Response:
    """A document with its own styles and nothing from elsewhere, which our own pages may show in a frame."""
    return Response(
        html,
        headers={
            **(headers or {}),
            "Content-Security-Policy": CONTENT_SECURITY_POLICY,
            "X-Frame-Options": "SAMEORIGIN",
        },
        media_type="text/html",
    )
