"""Files of the local object store, to whoever holds a link that the platform signed."""

import mimetypes
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from serving.dependencies import Objects
from serving.errors import NotFound, Refused, problems
from storage.objects import FILES_PATH, LinkRefused, LocalObjects

router = APIRouter(tags=["files"])


@router.get(FILES_PATH + "{key:path}", responses=problems(Refused, NotFound), response_class=Response)
def download(
    objects: Objects, key: str, expires: Annotated[int, Query(ge=0)], signature: Annotated[str, Query(max_length=128)]
) -> Response:
    """The file that the link names."""
    if not isinstance(objects, LocalObjects):
        raise NotFound("files are served by the object store itself; ask for a new link")
    try:
        objects.verify(key, expires, signature)
        content = objects.get(key)
    except LinkRefused as error:
        raise Refused(str(error)) from None
    except KeyError:
        raise NotFound("the file is not there any more") from None
    name = key.rsplit("/", 1)[-1]
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "private"}
    return Response(content, media_type=kind, headers=headers)
