"""The file of a report of either kind: it is made, stored, and the report's job completed."""

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assets.reports import FleetInput, ReportInput, ReportSettings, build_report, file_name
from orchestration.claimed_job import ClaimedJob
from orchestration.metadata import api_page
from storage.jobs import FLEET, JobCancelled, ReportJob
from storage.settings import Settings


def make_file(
    claimed: ClaimedJob[ReportJob],
    data: ReportInput | FleetInput,
    settings: Settings,
    made_from: Mapping[str, Any],
    *,
    since: float,
) -> dict[str, Any]:
    """Write the report's file, complete the job, and return metadata for Dagster.

    `made_from` is the provenance of the data, and `since` the progress (percent) before the work begins.

    Raises:
        JobCancelled: the job was cancelled; no file is left.

    """
    job, objects, limits = claimed.job, claimed.stores.objects, ReportSettings.load()
    language = (job.parameters or {}).get("language") or limits.site_language
    with tempfile.TemporaryDirectory(prefix="report-") as folder:
        report = build_report(
            data,
            job.format,
            folder=Path(folder),
            quarto=limits.quarto,
            language=language,
            template=limits.report_template,
            timeout_seconds=settings.report_timeout_seconds,
            max_bytes=int(limits.max_report_size_mb * 1_000_000),
            progress=lambda percent, message: claimed.report_progress(since + (98 - since) * percent / 100, message),
        )
    subject = "fleet" if job.device_id == FLEET else job.device_id
    name = file_name(subject, job.date_range_start, job.date_range_end, data.zone, report.suffix)
    key = f"reports/{subject}/{job.job_id}/{name}"
    objects.put(key, report.content)
    results = {
        "key": key,
        "media_type": report.media_type,
        "size_bytes": len(report.content),
        "sha256": hashlib.sha256(report.content).hexdigest(),
        "provenance": {
            **made_from,
            "energy_kwh": report.facts["kpis"]["energy"],
            "code_version": data.code_version,
            "language": language,
            "renderer": report.facts.get("renderer"),
        },
    }
    try:
        claimed.complete("Completed", results=results)
    except JobCancelled:
        objects.delete(key)
        raise
    return {
        "job": job.job_id,
        "download": api_page(f"/api/reports/download/{job.job_id}"),
        "format": job.format,
        "period": f"{job.date_range_start.isoformat()} to {job.date_range_end.isoformat()}",
        "sha256": results["sha256"],
        "dagster/uri": f"{objects.address}/{key}",
        **{name: value for name, value in report.facts.items() if isinstance(value, int | float | str)},
    }
