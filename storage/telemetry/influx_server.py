"""One InfluxDB 2 server and its bucket: writes, queries, and what the server's errors mean."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

from influxdb_client.client.exceptions import InfluxDBError
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.domain.bucket_retention_rules import BucketRetentionRules
from influxdb_client.domain.write_precision import WritePrecision
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from storage.settings import Settings
from storage.telemetry import flux_csv
from storage.telemetry.store import StoreUnavailable

BEGINNING = "1970-01-01T00:00:00Z"
TIMEOUT = (5_000, 60_000)  # milliseconds to connect, and to answer
# Few and quick retries: the writer of telemetry retries forever anyway. A request that timed out is not repeated.
RETRIES = Retry(total=2, read=0, status_forcelist=(429, 500, 502, 503, 504), allowed_methods=None, backoff_factor=0.1,
                retry_after_max=2, raise_on_status=False)  # fmt: skip
REFUSALS = ("invalid", "unprocessable entity", "request too large")  # InfluxDB's codes for lines it does not accept

Parsed = TypeVar("Parsed")


class InfluxServer:
    """A client of the server. Each method raises `StoreUnavailable` if the server fails; the first makes the bucket."""

    def __init__(self, settings: Settings) -> None:
        if settings.influxdb_url is None or settings.influxdb_token is None:
            raise ValueError("INFLUXDB_URL and INFLUXDB_TOKEN are not set")
        self._url = settings.influxdb_url
        self._org = settings.influxdb_org
        self._bucket = settings.influxdb_bucket
        self._has_retention = settings.telemetry_retention_days > 0
        token = settings.influxdb_token.get_secret_value()
        self._client = InfluxDBClient(self._url, token, org=self._org, timeout=TIMEOUT, retries=RETRIES)
        self._writing = self._client.write_api(write_options=SYNCHRONOUS)
        self._querying = self._client.query_api()
        self._bucket_exists = False
        self._bucket_lock = threading.Lock()

    def write(self, lines: bytes) -> str | None:
        """Write lines with times in microseconds. Returns the server's reason if it does not accept all of them."""
        with self._translating_errors():
            try:
                self._writing.write(self._bucket, record=lines, write_precision=WritePrecision.US)  # type: ignore[arg-type] # an enumeration of plain texts
            except InfluxDBError as error:
                code, message = _code_and_message(error)
                if code not in REFUSALS:
                    raise
                return message
        return None

    def query(self, flux: str, parameters: Mapping[str, Any], parse: Callable[[bytes], Parsed]) -> Parsed:
        """The server's answer to a query, parsed by `parse`. The bucket travels as the parameter `_bucket`."""
        with self._translating_errors():
            params = {**parameters, "_bucket": self._bucket}
            return parse(self._querying.query_raw(flux, dialect=flux_csv.DIALECT, params=params).read())

    def delete(self, predicate: str, end: datetime) -> None:
        """Delete points that match the predicate, up to and including a moment."""
        with self._translating_errors():
            self._client.delete_api().delete(BEGINNING, end.isoformat(), predicate, self._bucket, self._org)

    def check(self) -> None:
        """Return if the server answers and has the bucket."""
        self._bucket_exists = False
        with self._translating_errors():
            pass

    def close(self) -> None:
        self._client.close()  # type: ignore[no-untyped-call]

    @contextmanager
    def _translating_errors(self) -> Iterator[None]:
        try:
            with self._bucket_lock:
                if not self._bucket_exists:
                    self._make_bucket()
            yield
        except InfluxDBError as error:
            status = error.response.status if error.response else 404  # the client did not find the organization
            self._bucket_exists &= status != 404  # if somebody deleted it, the next call makes it again
            raise StoreUnavailable(
                f"InfluxDB at {self._url}: {_code_and_message(error)[1]}{self._advice(status)}"
            ) from error
        except (HTTPError, flux_csv.QueryFailed) as error:
            raise StoreUnavailable(f"InfluxDB at {self._url}: {error}") from error

    def _make_bucket(self) -> None:
        """Make the bucket if it is missing. If the platform deletes old readings itself, the bucket keeps them."""
        buckets = self._client.buckets_api()
        try:
            (bucket,) = buckets.find_buckets(name=self._bucket, org=self._org).buckets  # type: ignore[no-untyped-call]
            if self._has_retention and any(rule.every_seconds for rule in bucket.retention_rules):
                bucket.retention_rules = [BucketRetentionRules(every_seconds=0)]  # type: ignore[no-untyped-call]
                buckets.update_bucket(bucket)
        except InfluxDBError as error:
            if _code_and_message(error)[0] != "not found":
                raise
            try:
                buckets.create_bucket(bucket_name=self._bucket, retention_rules=[])
            except InfluxDBError as error:
                if _code_and_message(error)[0] != "conflict":  # another process was first
                    raise
        self._bucket_exists = True

    def _advice(self, status: int | None) -> str:
        if status in (401, 403):
            return (
                f"; set INFLUXDB_TOKEN to a token that may read and write the bucket {self._bucket!r}"
                f" of the organization {self._org!r}, and create it if it is missing"
            )
        if status == 404:
            return f"; check INFLUXDB_ORG ({self._org!r}) and INFLUXDB_BUCKET ({self._bucket!r})"
        return ""


def _code_and_message(error: InfluxDBError) -> tuple[str | None, str]:
    """InfluxDB's code and message. There is no code if the answer comes from something else, such as a proxy."""
    try:
        answer = json.loads(error.response.data)
        return answer["code"], answer["message"]
    except (AttributeError, TypeError, ValueError, LookupError):
        return None, str(error.message)
