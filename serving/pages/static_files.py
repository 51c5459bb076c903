"""Scripts and styles, at an address with their hash: a browser keeps them until a release changes one."""

import hashlib
from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.responses import Response
from starlette.types import Scope

FOLDER = Path(__file__).parent / "static"
YEAR_SECONDS = 31_536_000


def _hash() -> str:
    digest = hashlib.sha256()
    for file in sorted(path for path in FOLDER.rglob("*") if path.is_file()):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


HASH = _hash()
PATH = f"/static/{HASH}"


class _LastingFiles(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = f"public, max-age={YEAR_SECONDS}, immutable"
        return response


def serve(app: FastAPI) -> None:
    """Serve the files to everybody; they show no data."""
    app.mount(PATH, _LastingFiles(directory=FOLDER))
