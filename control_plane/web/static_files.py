"""The files that pages load: one address per build, so that browsers keep them for ever.

The hash in an address covers the whole folder. Relative addresses inside scripts and style sheets therefore stay within
the same build, and a page of the previous build that asks a newer replica gets today's file, uncached.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

from starlette.responses import PlainTextResponse, Response

FOLDER = Path(__file__).parent / "static"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webp": "image/webp",
    ".LICENSE": "text/plain; charset=utf-8",
}
_SQUEEZED = {".css", ".js", ".svg"}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file in memory, with its smaller form where that pays."""

    content: bytes
    gzipped: bytes | None
    media_type: str


class StaticFiles:
    """All files of a folder, read once."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._files = {
            path.relative_to(folder).as_posix(): _read(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.suffix in _TYPES
        }
        digest = hashlib.sha256()
        for name, file in self._files.items():
            digest.update(f"{name}\0{len(file.content)}\0".encode())
            digest.update(file.content)
        self.build = digest.hexdigest()[:12]

    def url(self, name: str) -> str:
        """The address of a file of this build. Raises KeyError for one that is not there."""
        if name not in self._files:
            raise KeyError(
                f"{name} is not in {FOLDER}; run make setup if npm should have brought it"
            )
        return f"/static/{self.build}/{name}"

    def respond(self, build: str, name: str, *, accepts_gzip: bool) -> Response:
        """The file; kept for ever when it is of this build, asked for again otherwise."""
        file = self._files.get(name)
        if file is None:
            return PlainTextResponse("There is no such file.\n", status_code=404)
        kept = "public, max-age=31536000, immutable" if build == self.build else "no-cache"
        headers = {"Cache-Control": kept, "Vary": "Accept-Encoding"}
        if accepts_gzip and file.gzipped is not None:
            headers["Content-Encoding"] = "gzip"
            return Response(file.gzipped, media_type=file.media_type, headers=headers)
        return Response(file.content, media_type=file.media_type, headers=headers)


def _read(path: Path) -> StaticFile:
    content = path.read_bytes()
    gzipped = gzip.compress(content, mtime=0) if path.suffix in _SQUEEZED else None
    return StaticFile(content, gzipped, _TYPES[path.suffix])
