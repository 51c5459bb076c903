"""The scores of all rows of an analysis: stored beside the result, downloaded by a link, deleted with the job."""

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient
from sqlmodel import select

from orchestration.analyses.scores import store_scores
from orchestration.maintenance.analysis_retention import delete_analyses
from storage.analysis_retention import scores_key
from storage.jobs import AnalyticsJob, new_job_id
from storage.stores import Stores
from storage.times import utc_now

AT = datetime(2026, 2, 12, tzinfo=UTC)
SCORES = pa.table({"timestamp": pa.array([AT], pa.timestamp("us", tz="UTC")), "score": pa.array([0.25], pa.float32())})
Key = Callable[..., dict[str, str]]


def job(
    stores: Stores, *, age: timedelta = timedelta(0), scores: pa.Table | None = SCORES, **fields: Any
) -> AnalyticsJob:
    values: dict[str, Any] = {
        "job_id": new_job_id(AnalyticsJob), "tenant_id": "alpha", "device_id": "D1", "analysis_type": "anomaly",
        "model_name": "m", "status": "completed", "date_range_start": AT, "date_range_end": AT,
        "accuracy_metrics": {}, "results": {"events": []}, "created_at": utc_now() - age,
        "completed_at": utc_now() - age,
    }  # fmt: skip
    made = AnalyticsJob(**(values | fields))
    if scores is not None:
        made.results = {"events": [], "scores": store_scores(stores.objects, made, scores)}
    stores.session.add(made)
    stores.session.commit()
    return made


def path(job: AnalyticsJob) -> str:
    return f"/api/v1/analytics/results/{job.job_id}/scores"


def test_scores_are_downloaded_by_a_link(stores: Stores, client: TestClient, key: Key) -> None:
    made, owner, other = job(stores), key("read", "alpha"), key("read", "beta")
    link = client.get(path(made), headers=owner).json()["download_url"]
    assert pq.read_table(io.BytesIO(client.get(link).content)).equals(SCORES)
    assert client.get(link, headers=owner).status_code == 200
    assert client.get(link, headers=other).status_code == 403
    assert client.get(path(made), headers=other).status_code == 404
    about = client.get(f"/api/v1/analytics/results/{made.job_id}", headers=owner).json()["results"]["scores"]
    assert (about["rows"], about["columns"]) == (1, ["timestamp", "score"])


def test_a_job_without_scores_says_so(stores: Stores, client: TestClient) -> None:
    refused = client.get(path(job(stores, scores=None)))
    assert (refused.status_code, "has no scores" in refused.json()["detail"]) == (409, True)


def test_retention_deletes_old_analyses_with_their_scores_but_for_the_newest(stores: Stores) -> None:
    old, older = timedelta(days=40), timedelta(days=50)
    gone = [job(stores, age=older), job(stores, age=older, status="failed"), job(stores, age=old, device_id="D2")]
    kept = [
        job(stores, age=old),
        job(stores, age=old, analysis_type="forecast", scores=None),
        job(stores, age=old, status="running"),
        job(stores, device_id="D2"),
    ]
    keys = [scores_key(made) for made in gone]
    ids = {made.job_id for made in kept}
    assert delete_analyses(stores, utc_now() - timedelta(days=30)) == len(gone)
    assert set(stores.session.exec(select(AnalyticsJob.job_id))) == ids
    for gone_key in keys:
        with pytest.raises(KeyError):
            stores.objects.head(gone_key)
    assert stores.objects.head(scores_key(kept[0])).size > 0
    assert delete_analyses(stores, utc_now() - timedelta(days=30)) == 0
