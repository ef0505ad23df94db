"""A receipt as a PDF of one or more A5 pages, with its fonts in it."""

from __future__ import annotations

from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Final

from fpdf import FPDF
from fpdf.enums import Align, WrapMode, XPos, YPos

from control_plane.receipts.sheet import Sheet

_FONTS: Final = Path(__file__).parent / "fonts"
_FONT: Final = "receipt"
_MARGIN: Final = 16.0
_PAGE: Final = (148.0, 210.0)
_WIDTH: Final = _PAGE[0] - 2 * _MARGIN
_INK: Final = (26, 30, 66)
_SOFT: Final = (84, 88, 121)
_LINE: Final = (185, 182, 170)
_WARN: Final = (252, 237, 196)
_LOGO_BOX: Final = (56.0, 16.0)


def as_pdf(sheet: Sheet, at: datetime) -> bytes:
    """The file; ``at`` is when it says that it was made, so that the same receipt is the same file."""
    pdf = FPDF(unit="mm", format=_PAGE)
    pdf.set_margins(_MARGIN, 11)
    pdf.set_auto_page_break(True, margin=9)
    pdf.add_font(_FONT, "", _FONTS / "DejaVuSansCondensed.ttf")
    pdf.add_font(_FONT, "B", _FONTS / "DejaVuSansCondensed-Bold.ttf")
    pdf.set_lang(sheet.language)
    pdf.set_title(f"{sheet.title} {sheet.total}")
    pdf.set_author(sheet.merchant)
    pdf.set_creator("Omnitill")
    pdf.set_creation_date(at)
    pdf.add_page()
    _Drawing(pdf, sheet).draw()
    return bytes(pdf.output())


class _Drawing:
    """Draws downwards."""

    def __init__(self, pdf: FPDF, sheet: Sheet) -> None:
        self._pdf = pdf
        self._sheet = sheet

    def draw(self) -> None:
        sheet, pdf = self._sheet, self._pdf
        self._logo()
        self._centred(sheet.merchant, 14, bold=True)
        for text in (sheet.place, sheet.when):
            self._centred(text, 9, ink=_SOFT)
        pdf.ln(3)
        if sheet.warning:
            self._warning()
        for item in sheet.items:
            name = f"{item.name}  ({item.each})" if item.each else item.name
            self._pair(name, item.total, 10)
        for label, value in sheet.sums:
            self._pair(label, value, 9, ink=_SOFT, height=4.8)
        pdf.ln(1)
        self._rule(_INK, 0.5)
        title = sheet.say("Total") if sheet.items else sheet.title
        self._pair(title, sheet.total, 16, bold=True, height=9)
        for label, value in sheet.facts:
            self._rule(_LINE, 0.1)
            self._pair(label, value, 9, label_ink=_SOFT, height=4.8)
        if sheet.message:
            pdf.ln(3)
            for line in sheet.message:
                self._centred(line, 11)
        if sheet.printed:
            pdf.ln(3)
            for line in sheet.printed:
                self._centred(line, 8)
        if sheet.footer:
            pdf.ln(3)
            for line in sheet.footer:
                self._centred(line, 8, ink=_SOFT)
        pdf.ln(3)
        self._centred(f"{sheet.say('Number')} {sheet.number}", 7, ink=_SOFT)

    def _logo(self) -> None:
        logo = self._sheet.logo
        if logo is None:
            return
        scale = min(_LOGO_BOX[0] / logo.width, _LOGO_BOX[1] / logo.height)
        width, height = logo.width * scale, logo.height * scale
        pdf = self._pdf
        pdf.image(
            BytesIO(logo.png), x=(_PAGE[0] - width) / 2, y=pdf.get_y(), w=width, h=height,
            alt_text=self._sheet.merchant,
        )  # fmt: skip
        pdf.set_y(pdf.get_y() + height + 3)

    def _warning(self) -> None:
        pdf = self._pdf
        pdf.set_fill_color(*_WARN)
        pdf.set_font(_FONT, "B", 10)
        pdf.set_text_color(*_INK)
        pdf.multi_cell(
            0, 7, self._sheet.warning, align=Align.C, fill=True,
            new_x=XPos.LMARGIN, new_y=YPos.NEXT,
        )  # fmt: skip
        pdf.ln(2)

    def _centred(
        self, text: str, size: float, *, bold: bool = False, ink: tuple[int, int, int] = _INK
    ) -> None:
        if not text:
            return
        pdf = self._pdf
        pdf.set_font(_FONT, "B" if bold else "", size)
        pdf.set_text_color(*ink)
        pdf.multi_cell(
            0, size * 0.5, text, align=Align.C, new_x=XPos.LMARGIN, new_y=YPos.NEXT,
            wrapmode=WrapMode.WORD,
        )  # fmt: skip

    def _pair(
        self,
        label: str,
        value: str,
        size: float,
        *,
        bold: bool = False,
        ink: tuple[int, int, int] = _INK,
        label_ink: tuple[int, int, int] | None = None,
        height: float = 5.5,
    ) -> None:
        """The label on the left; the value on the right, wrapped into what is left of the line."""
        pdf = self._pdf
        pdf.set_font(_FONT, "B" if bold else "", size)
        right = min(pdf.get_string_width(value) + 3, _WIDTH * 0.62)
        pdf.set_text_color(*(label_ink or ink))
        # Both sides of a pair stay on one page.
        with pdf.offset_rendering() as trial:
            trial.multi_cell(_WIDTH - right, height, label, align=Align.L)
        if trial.page_break_triggered:
            pdf.add_page()
        top = pdf.get_y()
        pdf.multi_cell(
            _WIDTH - right, height, label, align=Align.L, new_x=XPos.RIGHT, new_y=YPos.NEXT
        )
        under_label = pdf.get_y()
        pdf.set_xy(_MARGIN + _WIDTH - right, top)
        pdf.set_text_color(*ink)
        pdf.multi_cell(
            right, height, value, align=Align.R, new_x=XPos.LMARGIN, new_y=YPos.NEXT,
            wrapmode=WrapMode.WORD,
        )  # fmt: skip
        pdf.set_y(max(under_label, pdf.get_y()))

    def _rule(self, ink: tuple[int, int, int], width: float) -> None:
        pdf = self._pdf
        pdf.set_draw_color(*ink)
        pdf.set_line_width(width)
        pdf.line(_MARGIN, pdf.get_y(), _MARGIN + _WIDTH, pdf.get_y())
