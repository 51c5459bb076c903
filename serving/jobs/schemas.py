"""Parameters that requests for jobs of any kind share."""

from typing import Annotated, Literal

from fastapi import Path

JobPath = Annotated[str, Path(pattern=r"^(job|export|report)-[a-z0-9]{6,32}$", examples=["job-0123456789ab"])]
JobSort = Literal["created_at", "-created_at", "completed_at", "-completed_at"]
