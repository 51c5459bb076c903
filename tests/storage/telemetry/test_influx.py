"""What only InfluxDB does: refusals, other writers' points, the errors of a server at a distance."""

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pyarrow as pa
import pytest
from influxdb_client.domain.bucket_retention_rules import BucketRetentionRules

from storage.settings import Settings
from storage.telemetry import COUNT, StoreUnavailable, flux_csv, influx_server
from storage.telemetry.influx import InfluxTelemetry
from storage.times import DAY, MINUTE, SECOND, moment
from tests.storage.telemetry.test_store import END, START, reading, rows
from tests.support.link import Link

Influx = Callable[..., InfluxTelemetry]


@pytest.fixture
def influx(influxdb_server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Influx]:
    """Opens the store on a bucket of the test's own; keywords are variables."""
    opened: list[InfluxTelemetry] = []
    bucket = f"test-{secrets.token_hex(6)}"

    def open_store(**variables: str) -> InfluxTelemetry:
        for name, value in {**influxdb_server, "INFLUXDB_BUCKET": bucket, **variables}.items():
            monkeypatch.setenv(name, value)
        opened.append(InfluxTelemetry(Settings.load()))
        return opened[-1]

    yield open_store
    for store in opened:
        store.close()


def write_raw(store: InfluxTelemetry, lines: str, precision: str = "us") -> None:
    """As another program would."""
    store.check()
    httpx.post(
        f"{store._server._url}/api/v2/write",
        params={"org": store._server._org, "bucket": store._server._bucket, "precision": precision},
        headers={"Authorization": f"Token {store._server._client.token}"},
        content=lines.encode(),
    ).raise_for_status()


def keep_for(store: InfluxTelemetry, days: int) -> None:
    """Give the bucket a retention of its own, as an operator may."""
    store.check()
    buckets = store._server._client.buckets_api()
    bucket = buckets.find_bucket_by_name(store._server._bucket)  # type: ignore[no-untyped-call]
    bucket.retention_rules = [BucketRetentionRules(every_seconds=days * 86_400)]  # type: ignore[no-untyped-call]
    buckets.update_bucket(bucket)


def retention(store: InfluxTelemetry) -> list[int]:
    bucket = store._server._client.buckets_api().find_bucket_by_name(store._server._bucket)  # type: ignore[no-untyped-call]
    return [rule.every_seconds for rule in bucket.retention_rules]


def test_a_field_of_another_type_costs_only_the_readings_that_have_it(influx: Influx) -> None:
    store = influx()
    write_raw(store, f"device_telemetry,device_id=D0 oil=5i {START}")
    batch = [reading(START + i, "D1", power=float(i), **({"oil": 1.0} if i % 10 == 3 else {})) for i in range(200)]
    refused = store.write(batch)
    assert sorted(r.reading.time - START for r in refused) == list(range(3, 200, 10))
    assert all('input field "oil"' in r.reason and "already exists as type integer" in r.reason for r in refused)
    assert all("dropped" not in r.reason for r in refused)
    assert store.statistics("D1", START, END).metrics["power"].count == 180


def test_what_lies_beyond_the_retention_costs_only_itself(influx: Influx, monkeypatch: pytest.MonkeyPatch) -> None:
    store = influx()
    keep_for(store, 30)
    now = time.time_ns() // 10**9 * SECOND
    batch = [reading(now - (400 * DAY if i % 3 == 0 else 0) + i * SECOND, f"D{i % 5}") for i in range(300)]
    asked: list[int] = []
    write = store._server.write

    def counting(part: bytes) -> str | None:
        asked.append(part.count(b"\n") + 1)
        return write(part)

    monkeypatch.setattr(store._server, "write", counting)
    refused = store.write(batch)
    assert {r.reading.time for r in refused} == {r.time for r in batch if r.time < now}
    assert "retention" in refused[0].reason
    assert len(asked) < 25, "one request for each would be 100 and more"
    assert sum(store.statistics(f"D{i}", now, now + DAY).readings for i in range(5)) == 200


def test_a_line_that_does_not_parse_costs_only_itself(influx: Influx) -> None:
    """Intake lets none through; the server refuses the whole batch for it, so the others are written again."""
    store = influx()
    batch = [reading(START + i, power=float("nan") if i in (7, 8, 60) else 1.0) for i in range(100)]
    refused = store.write(batch)
    assert sorted(r.reading.time - START for r in refused) == [7, 8, 60]
    assert all("NaN" in r.reason or "invalid" in r.reason or "unable to parse" in r.reason for r in refused)
    assert store.read("D1", START, END).num_rows == 97


def test_a_batch_of_nothing_but_bad_readings(influx: Influx) -> None:
    store = influx()
    write_raw(store, f"device_telemetry,device_id=D0 oil=5i {START}")
    batch = [reading(START + i, oil=1.0) for i in range(3)]
    assert [r.reading for r in store.write(batch)] == batch


def test_other_writers_points(influx: Influx) -> None:
    """The handover's own: nanoseconds, no received_at, whole numbers, texts; each has its place or is left alone."""
    store = influx()
    write_raw(
        store,
        f'device_telemetry,device_id=D1,device_type=pump power=1.5,count=3i,note="a,b\n2" {START * 1000 + 123}\n'
        f"device_telemetry,device_id=D1,device_type=pump power=2.5,count=4i {(START + SECOND) * 1000 + 999}\n"
        f"other,device_id=D1 power=99 {START * 1000}",
        "ns",
    )
    expected = [{"time": START, "power": 1.5, "count": 3.0}, {"time": START + SECOND, "power": 2.5, "count": 4.0}]
    assert rows(store.read("D1", START, END)) == expected
    context = store.read("D1", START, END, context=True)
    assert context["received_at"].null_count == 2
    assert context["device_type"].to_pylist() == ["pump", "pump"]
    assert store.aggregate("D1", START, END, function="sum", every=MINUTE)[COUNT].to_pylist() == [2]
    statistics = store.statistics("D1", START, END)
    assert (statistics.readings, statistics.metrics["count"].sum) == (2, 7.0)
    store.write([reading(START, power=3.0)])
    assert store.read("D1", START, END)["power"].to_pylist() == [3.0, 2.5]
    assert store.device_days(START - DAY) == [("D1", START // DAY * DAY)]


def test_an_error_after_the_answer_has_begun(influx: Influx) -> None:
    store = influx()
    store.write([reading()])
    fails = 'data() |> yield(name: "a")\ndata() |> map(fn: (r) => ({r with _value: die(msg: "the sky")})) |> yield()'
    with pytest.raises(StoreUnavailable, match="the sky"):
        store._ask(fails, flux_csv.rows, START, END, "D1")


def test_the_answer_of_a_block_with_an_error() -> None:
    body = (
        b"#datatype,string,long,dateTime:RFC3339,string,double\r\n#default,_result,,,,\r\n"
        b",result,table,_time,_field,_value\r\n,,0,2026-02-12T10:00:00Z,power,1\r\n\r\n"
        b'#datatype,string,string\r\n#default,,\r\n,error,reference\r\n,"it said ""no""",897\r\n\r\n'
    )
    with pytest.raises(flux_csv.QueryFailed, match='it said "no"'):
        flux_csv.columns(body)
    assert flux_csv.wide(flux_csv.columns(b"\r\n"), ["power"]).num_rows == 0
    assert flux_csv.rows(b"\r\n") == []


def test_the_bucket_is_made_and_made_again(influx: Influx) -> None:
    store = influx()
    store.check()
    assert retention(store) in ([], [0])
    bucket = store._server._client.buckets_api().find_bucket_by_name(store._server._bucket)  # type: ignore[no-untyped-call]
    store._server._client.buckets_api().delete_bucket(bucket)  # type: ignore[no-untyped-call]
    with pytest.raises(StoreUnavailable, match="INFLUXDB_BUCKET"):
        store.read("D1", START, END)
    assert store.write([reading()]) == []
    assert store.read("D1", START, END).num_rows == 1


def test_several_processes_make_the_bucket_at_once(influx: Influx) -> None:
    stores = [influx() for _ in range(4)]
    threads = [threading.Thread(target=store.check) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [store.write([reading(START + i)]) for i, store in enumerate(stores)] == [[]] * 4
    assert stores[0].read("D1", START, END).num_rows == 4


def test_a_buckets_own_retention_is_lifted_where_the_platform_gives_up_by_itself(influx: Influx) -> None:
    """What is not exported must not go; without the setting the bucket is the operator's."""
    store = influx()
    keep_for(store, 400)
    influx().check()
    assert retention(store) == [400 * 86_400]
    influx(TELEMETRY_RETENTION_DAYS="30").check()
    assert retention(store) in ([], [0])


def test_what_is_given_up_is_gone_to_the_microsecond(influx: Influx) -> None:
    store = influx()
    store.write([reading(START + i, device) for i in range(-3, 3) for device in ("D1", "D2")])
    store.forget(START)
    for device in ("D1", "D2"):
        assert store.statistics(device, START - SECOND, START + SECOND).readings == 3
    assert store.write([reading(START - 1, "D1")]) == []  # late data are taken
    assert store.statistics("D1", START - SECOND, START + SECOND).readings == 4


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"INFLUXDB_TOKEN": "wrong"}, "set INFLUXDB_TOKEN to a token that may read and write the bucket"),
        ({"INFLUXDB_ORG": "nobodys"}, "INFLUXDB_ORG"),
    ],
)
def test_wrong_settings_are_explained(influx: Influx, variables: dict[str, str], says: str) -> None:
    with pytest.raises(StoreUnavailable, match=says):
        influx(**variables).check()


class Front:
    """Stands before the server and answers the next requests to a path itself."""

    def __init__(self, server: str) -> None:
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        self.seen: list[str] = []
        front = self

        class Handler(BaseHTTPRequestHandler):
            def do(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                front.seen.append(self.path.split("?")[0])
                if front.answers and not self.path.startswith("/api/v2/buckets"):
                    status, headers, content = front.answers.pop(0)
                else:
                    forwarded = {k: v for k, v in self.headers.items() if k in ("Authorization", "Content-Type")}
                    answer = httpx.request(self.command, server + self.path, content=body, headers=forwarded)
                    status, headers, content = answer.status_code, {}, answer.content
                    headers["Content-Type"] = answer.headers.get("Content-Type", "text/plain")
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def front(influxdb_server: dict[str, str]) -> Iterator[Front]:
    front = Front(influxdb_server["INFLUXDB_URL"])
    yield front
    front.close()


@pytest.mark.parametrize(
    "answer",
    [
        (429, {"Retry-After": "0"}, b'{"code":"too many requests","message":"slow down"}'),
        (503, {}, b'{"code":"unavailable","message":"busy"}'),
        (502, {}, b"<html>a proxy speaks</html>"),
        (500, {}, b'{"code":"internal error","message":"timeout"}'),
    ],
)
def test_passing_troubles_are_tried_again(
    influx: Influx, front: Front, answer: tuple[int, dict[str, str], bytes]
) -> None:
    store = influx(INFLUXDB_URL=front.url)
    store.check()
    front.answers = [answer] * 2
    assert store.write([reading()]) == []
    assert front.seen.count("/api/v2/write") == 3
    front.answers = [answer]
    assert store.read("D1", START, END).num_rows == 1


def test_lasting_troubles_are_told_and_nothing_is_refused(influx: Influx, front: Front) -> None:
    """A batch that the server did not judge stays whole: quarantine is for what will never be taken."""
    store = influx(INFLUXDB_URL=front.url)
    answers: list[tuple[int, dict[str, str], bytes]] = [
        (503, {}, b'{"code":"unavailable","message":"busy"}'),
        (502, {}, b"<html>"),
        (400, {}, b"<html>a proxy's own opinion</html>"),
        (401, {}, b'{"code":"unauthorized","message":"unauthorized access"}'),
    ]
    for answer in answers:
        front.answers = [answer] * 3
        with pytest.raises(StoreUnavailable):
            store.write([reading(START + 1), reading(START + 2)])
        front.answers = []
    assert store.write([reading(START + 1)]) == []


def test_a_server_that_goes_silent_is_given_up(
    influx: Influx, influxdb_server: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(influx_server, "TIMEOUT", (500, 500))
    with closing(Link(int(influxdb_server["INFLUXDB_URL"].rsplit(":", 1)[1]))) as link:
        store = influx(INFLUXDB_URL=f"http://127.0.0.1:{link.port}")
        store.check()
        link.freeze()
        for ask in (lambda: store.write([reading()]), lambda: store.read("D1", START, END)):
            with pytest.raises(StoreUnavailable, match="timed out"):
                ask()
        link.mend()
        assert store.write([reading()]) == []
        assert store.read("D1", START, END).num_rows == 1


def test_times_are_read_whatever_their_digits(influx: Influx) -> None:
    store = influx()
    times = [START, START + 1, START + 10, START + 1_000, START + 100_000, START + SECOND]
    store.write([reading(time, power=float(i)) for i, time in enumerate(times)])
    table = store.read("D1", START, END)
    assert table["time"].cast(pa.int64()).to_pylist() == times
    edges = store.read("D1", -(10**18), 10**18)
    assert edges.num_rows == len(times), "a range beyond what InfluxDB can count is cut"
    assert moment(times[1]).microsecond == 1
