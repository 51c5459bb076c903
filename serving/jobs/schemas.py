"""Parameters that requests for jobs of any kind share."""

from typing import Annotated, Literal

from fastapi import Path

from storage.validation import form

JOB_ID = form(r"^(job|export|report)-[a-z0-9]{6,32}$", "a job's id is one such as job-0123456789ab")
JobPath = Annotated[str, Path(pattern=JOB_ID, examples=["job-0123456789ab"])]
JobSort = Literal["created_at", "-created_at", "completed_at", "-completed_at"]
