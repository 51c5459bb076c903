"""One InfluxDB 2 server and the bucket in it: lines to it, questions to it, and what its errors mean."""

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
TIMEOUT = (5_000, 60_000)  # milliseconds to connect and to answer
# A couple of quick ones: who writes telemetry asks again and again anyway. What timed out is not repeated.
RETRIES = Retry(total=2, read=0, status_forcelist=(429, 500, 502, 503, 504), allowed_methods=None, backoff_factor=0.1,
                retry_after_max=2, raise_on_status=False)  # fmt: skip
UNFIT = ("invalid", "unprocessable entity", "request too large")  # what InfluxDB calls lines that it does not take

Parsed = TypeVar("Parsed")


class InfluxServer:
    """Every method raises `StoreUnavailable` whatever goes wrong with the server; the first call makes the bucket."""

    def __init__(self, settings: Settings) -> None:
        if settings.influxdb_url is None or settings.influxdb_token is None:
            raise ValueError("INFLUXDB_URL and INFLUXDB_TOKEN are not set")
        self._url = settings.influxdb_url
        self._org = settings.influxdb_org
        self._bucket = settings.influxdb_bucket
        self._gives_up = settings.telemetry_retention_days > 0
        token = settings.influxdb_token.get_secret_value()
        self._client = InfluxDBClient(self._url, token, org=self._org, timeout=TIMEOUT, retries=RETRIES)
        self._writing = self._client.write_api(write_options=SYNCHRONOUS)
        self._querying = self._client.query_api()
        self._bucket_is_there = False
        self._finding_bucket = threading.Lock()

    def write(self, lines: bytes) -> str | None:
        """Write lines with times in microseconds; the server's reason if it does not take all of them."""
        with self._asking():
            try:
                self._writing.write(self._bucket, record=lines, write_precision=WritePrecision.US)  # type: ignore[arg-type] # an enumeration of plain texts
            except InfluxDBError as error:
                code, message = _complaint(error)
                if code not in UNFIT:
                    raise
                return message
        return None

    def query(self, flux: str, parameters: Mapping[str, Any], parse: Callable[[bytes], Parsed]) -> Parsed:
        """What `parse` makes of the answer. The bucket travels as the parameter `_bucket`."""
        with self._asking():
            params = {**parameters, "_bucket": self._bucket}
            return parse(self._querying.query_raw(flux, dialect=flux_csv.DIALECT, params=params).read())

    def delete(self, predicate: str, end: datetime) -> None:
        """Delete what the predicate names, up to a moment and with it."""
        with self._asking():
            self._client.delete_api().delete(BEGINNING, end.isoformat(), predicate, self._bucket, self._org)

    def check(self) -> None:
        """Return when the server answers and has the bucket."""
        self._bucket_is_there = False
        with self._asking():
            pass

    def close(self) -> None:
        self._client.close()  # type: ignore[no-untyped-call]

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            with self._finding_bucket:
                if not self._bucket_is_there:
                    self._make_bucket()
            yield
        except InfluxDBError as error:
            status = error.response.status if error.response else 404  # the client itself finds no organization
            self._bucket_is_there &= status != 404  # somebody took it away: it is made again
            raise StoreUnavailable(f"InfluxDB at {self._url}: {_complaint(error)[1]}{self._advice(status)}") from error
        except (HTTPError, flux_csv.QueryFailed) as error:
            raise StoreUnavailable(f"InfluxDB at {self._url}: {error}") from error

    def _make_bucket(self) -> None:
        """Make the bucket unless it is there. Where the platform is to give up old readings, the bucket does not."""
        buckets = self._client.buckets_api()
        try:
            (found,) = buckets.find_buckets(name=self._bucket, org=self._org).buckets  # type: ignore[no-untyped-call]
            if self._gives_up and any(rule.every_seconds for rule in found.retention_rules):
                found.retention_rules = [BucketRetentionRules(every_seconds=0)]  # type: ignore[no-untyped-call]
                buckets.update_bucket(found)
        except InfluxDBError as error:
            if _complaint(error)[0] != "not found":
                raise
            try:
                buckets.create_bucket(bucket_name=self._bucket, retention_rules=[])
            except InfluxDBError as error:
                if _complaint(error)[0] != "conflict":  # another process was first
                    raise
        self._bucket_is_there = True

    def _advice(self, status: int | None) -> str:
        if status in (401, 403):
            return (
                f"; INFLUXDB_TOKEN must be one that may read and write the bucket {self._bucket!r} of the organization"
                f" {self._org!r}, and make it if it is not there"
            )
        if status == 404:
            return f"; see INFLUXDB_ORG ({self._org!r}) and INFLUXDB_BUCKET ({self._bucket!r})"
        return ""


def _complaint(error: InfluxDBError) -> tuple[str | None, str]:
    """InfluxDB's code and message; no code if the answer is somebody else's, a proxy's for one."""
    try:
        said = json.loads(error.response.data)
        return said["code"], said["message"]
    except (AttributeError, TypeError, ValueError, LookupError):
        return None, str(error.message)
