"""Links to the files of jobs. Anyone who has a link can download the file until it expires."""

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Request
from pydantic import BaseModel, Field

from serving.http.fields import Moment
from storage.objects import LINK_VALIDITY, ObjectStore
from storage.settings import Settings
from storage.times import utc_now


class Download(BaseModel):
    job_id: str
    download_url: str
    file_name: Annotated[str, Field(examples=["COMPRESSOR-1_2026-10-01_2026-10-31.pdf"])]
    expires_at: Moment


def download_of(request: Request, objects: ObjectStore, job_id: str, key: str) -> Download:
    """A link to a job's file."""
    link = objects.download_url(key, LINK_VALIDITY)
    base = "" if "://" in link else _base_url(request)
    name = key.rsplit("/", 1)[-1]
    return Download(job_id=job_id, download_url=base + link, file_name=name, expires_at=utc_now() + LINK_VALIDITY)


def _base_url(request: Request) -> str:
    """The address that the client used, or API_PUBLIC_URL if that has a path, which a proxy takes away on the way."""
    settings: Settings = request.app.state.settings
    if urlsplit(settings.api_address).path:
        return settings.api_address
    return str(request.base_url).rstrip("/")
