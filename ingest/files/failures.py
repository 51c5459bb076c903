"""Import of recorded failures from a file: each row is a device, when it failed, and optionally when it ran again."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlmodel import Session

from ingest.files.rows import FileRefused, Row
from ingest.files.times import LocalTimes, TimeFormat, UnreadableTime
from ingest.intake.decode import EARLIEST, MAX_AHEAD, is_identifier
from storage import failures
from storage.devices import existing_ids
from storage.failures import Failure
from storage.times import microseconds, moment, utc_now

MAX_DESCRIPTION = 2000


@dataclass(frozen=True)
class FailureColumns:
    """The columns of a file with failures, and how it writes times. `device_id` is that of all rows, if given."""

    failed_at: str = "failed_at"
    repaired_at: str = "repaired_at"
    description: str = "description"
    device_column: str = "device_id"
    device_id: str | None = None
    times: TimeFormat = field(default_factory=TimeFormat)

    def check(self, names: list[str]) -> None:
        """Check that the columns that are needed are there.

        Raises:
            FileRefused: one is not.

        """
        wanted = [self.failed_at, *([] if self.device_id else [self.device_column])]
        if missing := [name for name in wanted if name not in names]:
            raise FileRefused(f"there is no column {', '.join(missing)}; the file has {', '.join(names)[:400]}")


@dataclass
class ImportedFailures:
    """What became of a file's rows: `rows` = `stored` + `known` + `skipped`, which are empty, + those of `refused`.

    `refused` has the number of the line and the reason; `unregistered` are ids that no device has.
    """

    rows: int = 0
    stored: int = 0
    known: int = 0
    skipped: int = 0
    refused: list[tuple[int, str]] = field(default_factory=list)
    devices: set[str] = field(default_factory=set)
    unregistered: list[str] = field(default_factory=list)


def import_failures(rows: Iterable[Row], columns: FailureColumns, session: Session) -> ImportedFailures:
    """Record the failures of a file. Rows that are recorded already change nothing. The caller commits.

    Raises:
        FileRefused: the file cannot be read any further.

    """
    done = ImportedFailures()
    for row in rows:
        done.rows += 1
        if not any(value not in (None, "") for value in row.values.values()):
            done.skipped += 1
            continue
        try:
            failure = _failure(row.values, columns)
        except ValueError as error:
            done.refused.append((row.number, str(error)))
            continue
        done.devices.add(failure.device_id)
        if failures.at(session, failure.device_id, failure.failed_at) is not None:
            done.known += 1
            continue
        session.add(failure)
        session.flush()
        done.stored += 1
    done.unregistered = sorted(done.devices - existing_ids(session, sorted(done.devices)))
    return done


def _failure(values: Any, columns: FailureColumns) -> Failure:
    """The failure of a row.

    Raises:
        ValueError: it has none; the message says why.

    """
    device_id = columns.device_id or str(values.get(columns.device_column) or "").strip()
    if not is_identifier(device_id):
        raise ValueError(f"the device id {device_id!r:.60} is not valid. Use at most 50 letters, digits, _ . and -")
    failed_at = _moment(values.get(columns.failed_at), columns.times)
    repaired = values.get(columns.repaired_at)
    repaired_at = None if repaired in (None, "") else _moment(repaired, columns.times)
    if repaired_at is not None and repaired_at <= failed_at:
        raise ValueError(f"{columns.repaired_at} {repaired} is not after {columns.failed_at}")
    description = str(values.get(columns.description) or "").strip() or None
    if description and (len(description) > MAX_DESCRIPTION or "\0" in description):
        raise ValueError(f"the description is longer than {MAX_DESCRIPTION} characters, or has a NUL")
    return Failure(
        device_id=device_id, failed_at=failed_at, repaired_at=repaired_at, description=description, source="import"
    )


def _moment(value: Any, times: TimeFormat) -> datetime:
    """The moment of a cell, in UTC. In an hour that a zone repeats in autumn, the first one is taken."""
    time = times.parse(value)
    try:
        if not isinstance(time, datetime):
            time = moment(int(time * 1000))
        elif time.tzinfo is None:
            if times.zone is None:
                raise UnreadableTime(f"timestamp {time} has no offset; set --timezone")
            time = LocalTimes(times.zone, descending=False).resolve(time)
        at = microseconds(time)
    except OverflowError:
        raise UnreadableTime(f"timestamp {value!r:.60} is out of range") from None
    if not EARLIEST <= at <= microseconds(utc_now()) + MAX_AHEAD:
        raise UnreadableTime(f"timestamp {value!r:.60} is before 2000 or in the future")
    return moment(at)
