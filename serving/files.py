"""Files of the local object store, to whoever holds a link that the platform signed."""

import mimetypes
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse

from serving.dependencies import Objects
from serving.errors import NotFound, Refused, problems
from serving.identity import public, who_if_any
from serving.sessions import RequestSession
from storage.devices import Device
from storage.objects import FILES_PATH, LinkRefused, LocalObjects

router = APIRouter(tags=["files"])

# Python's own table lacks them, and not every machine has a longer one.
mimetypes.add_type("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", ".xlsx")
mimetypes.add_type("application/vnd.apache.parquet", ".parquet")


@router.get(FILES_PATH + "{key:path}", responses=problems(Refused, NotFound), response_class=Response)
@public
def download(
    request: Request,
    objects: Objects,
    key: str,
    expires: Annotated[int, Query(ge=0, le=10**12)],
    signature: Annotated[str, Query(max_length=128)],
) -> Response:
    """The file that the link names. The signature is the permission; a key sent along must not be another tenant's."""
    if not isinstance(objects, LocalObjects):
        raise NotFound("files are served by the object store itself; ask for a new link")
    try:
        objects.verify(key, expires, signature)
        _refuse_other_tenants(request, key)
        size, content = objects.stream(key)
    except LinkRefused as error:
        raise Refused(str(error)) from None
    except KeyError:
        raise NotFound("the file is not there any more") from None
    name = key.rsplit("/", 1)[-1]
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Content-Length": str(size),
        "Cache-Control": "private",
    }
    return StreamingResponse(content, media_type=kind, headers=headers)


def _refuse_other_tenants(request: Request, key: str) -> None:
    """Objects are below their device's folder: datasets/{device_id}/…, reports/{device_id}/…."""
    identity = who_if_any(request)
    if identity is None or identity.tenant_id is None:
        return
    with RequestSession(request.app.state.engine, identity) as session:
        if session.get(Device, key.split("/")[1]) is None:
            raise LinkRefused(f"the file is none of the tenant {identity.tenant_id}")
