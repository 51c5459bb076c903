"""Files of the local object store, for everybody who has a link that the platform signed.

Starlette's `FileResponse` does not fit: it opens the path after it has read size and ETag, so a file that is replaced
in between arrives with the old ETag. It also answers 400 to a `Range` that a server has to ignore (RFC 9110, 14.2).
"""

import mimetypes
import re
from email.utils import format_datetime
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response, StreamingResponse

from serving.auth.principal import principal_if_any, public
from serving.auth.tenancy import RequestSession
from serving.dependencies import Objects
from serving.http.errors import NotFound, OutOfRange, Refused, problems
from storage import jobs
from storage.devices import Device
from storage.jobs import AnalyticsJob, Job, ReportJob
from storage.objects import FILES_PATH, LinkRefused, LocalObjects

router = APIRouter(tags=["files"])

# Python's own table does not have these, and not every machine has a longer one.
mimetypes.add_type("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", ".xlsx")
mimetypes.add_type("application/vnd.apache.parquet", ".parquet")


@router.get(
    FILES_PATH + "{key:path}",
    responses={206: {"description": "The requested part of the file"}, **problems(Refused, NotFound, OutOfRange)},
    response_class=Response,
)
@public
def download(
    request: Request,
    objects: Objects,
    key: str,
    *,
    expires: Annotated[int, Query(ge=0, le=10**12)],
    signature: Annotated[str, Query(max_length=128)],
    range_: Annotated[str | None, Header(alias="Range", description="One range of bytes: bytes=0-1023")] = None,
    if_range: Annotated[str | None, Header(description="An ETag; the whole file is sent if it has another one")] = None,
) -> Response:
    """Download the link's file, or a part of it.

    The signature is the permission. If the request has a key too, it must not be bound to another tenant.
    """
    if not isinstance(objects, LocalObjects):
        raise NotFound("the object store serves its files itself; request a new link")
    try:
        objects.verify(key, expires, signature)
        _refuse_other_tenants(request, key)
        stored = objects.head(key)
        part = _part(range_, stored.size) if if_range in (None, stored.tag) else None
        start, end = part or (0, stored.size)
        content = objects.stream(stored, *(part or ()))
    except LinkRefused as error:
        raise Refused(str(error)) from None
    except KeyError:
        raise NotFound("the file no longer exists; request a new link") from None
    name = key.rsplit("/", 1)[-1]
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Content-Length": str(end - start),
        "Accept-Ranges": "bytes",
        "ETag": stored.tag or "",
        "Last-Modified": format_datetime(stored.last_modified, usegmt=True),
    }
    if part:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{stored.size}"
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return StreamingResponse(content, 206 if part else 200, headers, media_type)


def _part(header: str | None, size: int) -> tuple[int, int] | None:
    """The half-open range of bytes that a `Range` header names; None for the whole file.

    Headers that are malformed or name several ranges are ignored, as RFC 9110 (14.2) allows.

    Raises:
        OutOfRange: The range lies outside the file.

    """
    match = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", (header or "").replace(" ", ""))
    if match is None or match[0] == "bytes=-":
        return None
    first, last = match[1], match[2]
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1 if last else size)
        if last and int(last) < start:
            return None
    if start >= end:
        raise OutOfRange(size)
    return start, end


def _refuse_other_tenants(request: Request, key: str) -> None:
    """Keys say whose a file is: datasets/{device_id}/… is the device's, reports/{device_id}/{job_id}/… the job's.

    So is scores/{device_id}/{job_id}.… . Earlier releases wrote reports/{device_id}/{job_id}.… .
    """
    principal = principal_if_any(request)
    if principal is None or principal.tenant_id is None:
        return
    with RequestSession(request.app.state.reading, principal) as session:
        kind, device_id, name = key.split("/", 2)
        job_id = re.split(r"[./]", name, maxsplit=1)[0]
        owned: Job | Device | None
        if kind == "reports":
            owned = jobs.find(session, ReportJob, job_id)
        elif kind == "scores":
            owned = jobs.find(session, AnalyticsJob, job_id)
        else:
            owned = session.get(Device, device_id)
        if owned is None:
            raise LinkRefused(f"the file does not belong to the tenant {principal.tenant_id}")
