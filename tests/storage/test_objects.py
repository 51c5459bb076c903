"""One contract over both object stores; the S3 half against a real server."""

import resource
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import boto3
import dagster as dg
import httpx
import pytest
import yaml

from storage.objects import (
    AlreadyThere,
    LinkRefused,
    LocalObjects,
    ObjectStore,
    ObjectStoreUnavailable,
    S3Objects,
    open_object_store,
)
from storage.settings import CHECKOUT, Settings, SettingsError
from tests.support.servers import can_connect, free_port, program, started, wait_until

# Of buckets that are addressed as hosts. No server of names knows it: requests reach ours as their proxy.
DOMAIN = "s3.test"
LOGIN = {"ROOT_ACCESS_KEY": "platform", "ROOT_SECRET_KEY": "a-secret-of-the-test"}


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a versitygw of our own."""
    folder, port = tmp_path_factory.mktemp("s3"), free_port()
    (folder / "data").mkdir()
    command: list[str | Path] = [
        program("versitygw"),
        "--port",
        f"127.0.0.1:{port}",
        "--quiet",
        "--virtual-domain",
        DOMAIN,
        "posix",
        folder / "data",
    ]
    with started(command, lambda: can_connect(port), folder / "s3.log", env=LOGIN):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> S3Objects:
    bucket = f"test-{secrets.token_hex(6)}"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", LOGIN["ROOT_ACCESS_KEY"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", LOGIN["ROOT_SECRET_KEY"])
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("S3_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("S3_BUCKET_NAME", bucket)
    boto3.client("s3", endpoint_url=s3_server, region_name="us-east-1").create_bucket(Bucket=bucket)
    store = open_object_store(Settings.load())
    assert isinstance(store, S3Objects)
    return store


@pytest.fixture
def s3_as_host(s3: S3Objects, monkeypatch: pytest.MonkeyPatch) -> S3Objects:
    """The same bucket, addressed as bucket.host."""
    monkeypatch.setenv("http_proxy", s3.endpoint or "")
    monkeypatch.setenv("S3_ENDPOINT_URL", f"http://{DOMAIN}")
    monkeypatch.setenv("S3_ADDRESSING", "virtual")
    store = open_object_store(Settings.load())
    assert isinstance(store, S3Objects)
    return store


@pytest.fixture(params=["folder", "s3", "s3_as_host"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "folder":
        return LocalObjects(tmp_path / "objects", tmp_path / "secret")
    made: ObjectStore = request.getfixturevalue(request.param)
    return made


def test_put_get_head_list_delete(store: ObjectStore) -> None:
    store.check()
    store.put("datasets/D1/a.parquet", b"one")
    store.put("datasets/D1/a.parquet", b"other")
    store.put("datasets/D 2+ü/b.parquet", b"")
    assert store.get("datasets/D1/a.parquet") == b"other"
    assert store.get("datasets/D 2+ü/b.parquet") == b""
    found = store.head("datasets/D1/a.parquet")
    assert (found.key, found.size, found.last_modified.tzinfo is not None) == ("datasets/D1/a.parquet", 5, True)
    assert sorted(o.key for o in store.list("datasets")) == ["datasets/D 2+ü/b.parquet", "datasets/D1/a.parquet"]
    assert [o.key for o in store.list("datasets/D1")] == ["datasets/D1/a.parquet"]
    assert list(store.list("elsewhere")) == []
    store.delete("datasets/D1/a.parquet")
    store.delete("datasets/D1/a.parquet")
    for missing in (store.get, store.head):
        with pytest.raises(KeyError):
            missing("datasets/D1/a.parquet")


def test_many_objects_are_listed_page_by_page(store: ObjectStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: store.put(f"many/{i:04}", b"x"), range(1100)))
    assert len(list(store.list("many"))) == 1100


def test_a_large_object_goes_in_parts_and_comes_back_whole(store: ObjectStore) -> None:
    content = secrets.token_bytes(1_000_000) * 23
    store.put("versions/large.parquet", content)
    assert store.head("versions/large.parquet").size == len(content)
    assert store.get("versions/large.parquet") == content


def test_a_file_goes_in_and_comes_back_in_pieces_of_one_object(store: ObjectStore, tmp_path: Path) -> None:
    content = secrets.token_bytes(7_000_000)
    (tmp_path / "file").write_bytes(content)
    store.put("range.parquet", tmp_path / "file")
    stored = store.head("range.parquet")
    pieces = store.stream(stored)
    first = next(pieces)
    assert 0 < len(first) < len(content)
    store.put("range.parquet", b"another")
    try:
        rest = b"".join(pieces)
    except ObjectStoreUnavailable:  # a server may take the old object away under its reader, who is told
        assert isinstance(store, S3Objects)
    else:
        assert (stored.size, first + rest) == (len(content), content)
    with pytest.raises(ObjectStoreUnavailable):  # it is another one by now
        store.stream(stored)
    store.delete("range.parquet")
    with pytest.raises(KeyError):
        store.stream(stored)


def test_a_part_of_a_file(store: ObjectStore) -> None:
    store.put("a", b"0123456789")
    stored = store.head("a")
    assert [b"".join(store.stream(stored, *part)) for part in ((2, 5), (7, None), (0, 10))] == [
        b"234", b"789", b"0123456789"
    ]  # fmt: skip


def test_create_is_refused_where_something_stands(store: ObjectStore) -> None:
    store.create("versions/a.parquet", b"first")
    with pytest.raises(AlreadyThere):
        store.create("versions/a.parquet", b"second")
    assert store.get("versions/a.parquet") == b"first"


def test_readers_see_the_old_object_or_the_new_one(store: ObjectStore) -> None:
    contents = [bytes([i]) * 2_000_000 for i in (1, 2)]
    store.put("key", contents[0])

    def read(_: int) -> bytes:
        return store.get("key")

    with ThreadPoolExecutor(4) as pool:
        writing = [pool.submit(store.put, "key", contents[i % 2]) for i in range(8)]
        seen = list(pool.map(read, range(16)))
        for write in writing:
            write.result()
    assert all(content in contents for content in seen)


@pytest.mark.parametrize("addressing", ["s3", "s3_as_host"])
def test_presigned_links_of_s3(addressing: str, request: pytest.FixtureRequest) -> None:
    s3: S3Objects = request.getfixturevalue(addressing)
    s3.put("reports/D1/ü report.pdf", b"content")
    link = s3.download_url("reports/D1/ü report.pdf", timedelta(minutes=5))
    assert httpx.get(link).content == b"content"
    parts = urlsplit(link)
    query = dict(parse_qsl(parts.query))
    forged = {**query, "X-Amz-Expires": "86400"}
    assert httpx.get(parts._replace(query=urlencode(forged)).geturl()).status_code == 403
    other = link.replace("reports/D1", "reports/D2")
    assert httpx.get(other).status_code == 403
    assert httpx.get(parts._replace(query="").geturl()).status_code == 403
    assert httpx.put(link, content=b"changed").status_code == 403
    expired = s3.download_url("reports/D1/ü report.pdf", timedelta(seconds=1))
    assert dict(parse_qsl(urlsplit(expired).query))["X-Amz-Expires"] == "1"
    wait_until(lambda: httpx.get(expired).status_code == 403, "the link expires")


def test_links_are_signed_for_the_name_that_browsers_know(s3: S3Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    port = urlsplit(s3.endpoint or "").port
    monkeypatch.setenv("S3_PUBLIC_ENDPOINT_URL", f"http://localhost:{port}")
    public = open_object_store(Settings.load())
    public.put("reports/a.pdf", b"content")
    link = public.download_url("reports/a.pdf", timedelta(minutes=5))
    assert urlsplit(link).hostname == "localhost"
    assert httpx.get(link).content == b"content"
    # The signature covers the name: the same link under the inner name is a forged one.
    assert httpx.get(link.replace("localhost", "127.0.0.1")).status_code == 403


def test_credentials_come_from_the_environment(s3: S3Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    wrong = open_object_store(Settings.load())
    with pytest.raises(ObjectStoreUnavailable, match="object store: "):
        wrong.put("key", b"x")
    assert not [name for name in Settings.model_fields if "secret_access" in name]


def test_a_store_that_is_away_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "platform")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("ENERGY_HOME", str(tmp_path))
    monkeypatch.setenv("S3_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(SettingsError, match="S3_BUCKET_NAME is missing"):
        Settings.load()
    monkeypatch.setenv("S3_BUCKET", "datasets")
    away = open_object_store(Settings.load())
    for call in (away.check, lambda: away.get("key"), lambda: away.put("key", b"x"), lambda: list(away.list("key"))):
        with pytest.raises(ObjectStoreUnavailable):
            call()


def test_virtual_host_addressing_is_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "platform")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("S3_ENDPOINT_URL", "https://s3.example.org")
    monkeypatch.setenv("S3_BUCKET", "datasets")
    link = open_object_store(Settings.load()).download_url("a", timedelta(minutes=1))
    assert urlsplit(link).netloc + urlsplit(link).path == "s3.example.org/datasets/a"
    monkeypatch.setenv("S3_ADDRESSING", "virtual")
    link = open_object_store(Settings.load()).download_url("a", timedelta(minutes=1))
    assert urlsplit(link).netloc + urlsplit(link).path == "datasets.s3.example.org/a"


def test_links_of_the_folder(tmp_path: Path) -> None:
    store = LocalObjects(tmp_path / "objects", tmp_path / "secret")
    link = urlsplit(store.download_url("reports/a.pdf", timedelta(minutes=5)))
    query = dict(parse_qsl(link.query))
    expires = int(query["expires"])
    store.verify("reports/a.pdf", expires, query["signature"])
    LocalObjects(tmp_path / "objects", tmp_path / "secret").verify("reports/a.pdf", expires, query["signature"])
    for key, until, signature in (
        ("reports/b.pdf", expires, query["signature"]),
        ("reports/a.pdf", expires + 1, query["signature"]),
        ("reports/a.pdf", expires, "ü"),
    ):
        with pytest.raises(LinkRefused, match="signature is wrong"):
            store.verify(key, until, signature)
    past = dict(parse_qsl(urlsplit(store.download_url("reports/a.pdf", timedelta(minutes=-5))).query))
    with pytest.raises(LinkRefused, match="expired"):
        store.verify("reports/a.pdf", int(past["expires"]), past["signature"])
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


def test_a_write_that_the_disk_cuts_short_leaves_the_old_object(tmp_path: Path) -> None:
    store = LocalObjects(tmp_path / "objects", tmp_path / "secret")
    store.put("key", b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        with pytest.raises(ObjectStoreUnavailable):
            store.put("key", b"new" * 1_000_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert store.get("key") == b"old"
    assert [o.key for o in store.list("")] == ["key"]


def test_what_dagsters_runs_print_goes_there_too(s3: S3Objects, tmp_path: Path) -> None:
    """By the configuration of the Celery profile, whose workers share no disk."""
    profile = yaml.safe_load((CHECKOUT / "deploy/dagster.celery.yaml").read_text())

    @dg.op
    def says() -> None:
        print("heard by everybody")

    @dg.job
    def speech() -> None:
        says()

    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump({"compute_logs": profile["compute_logs"]}))
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert speech.execute_in_process(instance=instance).success
    (log,) = [o.key for o in s3.list("dagster") if o.key.endswith(".out")]
    assert s3.get(log) == b"heard by everybody\n"
