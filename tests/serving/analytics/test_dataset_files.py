"""Links to files of datasets, as Dagster's metadata show them."""

import io
from urllib.parse import urljoin

import pyarrow.parquet as pq
from fastapi.testclient import TestClient

from assets.datasets import export_day
from storage.stores import Stores
from tests.support.plant import DAY, reading, store

PATH = "/api/v1/analytics/datasets/download"


def test_a_link_leads_to_the_file(client: TestClient, stores: Stores) -> None:
    store(stores, reading(0), reading(1))
    exported = export_day(stores, "D1", DAY)
    assert exported is not None
    answer = client.get(PATH, params={"dataset_key": exported.dataset.key}, follow_redirects=False)
    assert answer.status_code == 307
    link = urljoin(f"http://plant.example/energy{PATH}", answer.headers["location"])
    assert link.startswith("http://plant.example/energy/api/v1/files/datasets/D1/"), "the prefix is kept"
    file = client.get(link.removeprefix("http://plant.example/energy"))
    assert file.headers["content-disposition"] == 'attachment; filename="20260212_20260212.parquet"'
    assert pq.read_table(io.BytesIO(file.content)).num_rows == 2


def test_there_is_no_link_to_other_files(client: TestClient, stores: Stores) -> None:
    stores.objects.put("reports/D1/r.pdf", b"no dataset")
    for key in ("reports/D1/r.pdf", "../postgres-password", "datasets/D1/20260212_20260212.parquet"):
        answer = client.get(PATH, params={"dataset_key": key}, follow_redirects=False)
        assert answer.status_code == 404
        assert "GET /api/v1/analytics/datasets" in answer.json()["detail"]
