"""The days or months that a run exports: those that are whole stand, even if the run fails because of others."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

import dagster as dg

from assets.datasets import Exported
from storage.stores import STORE_ERRORS, Stores

MAX_NAMED_ERRORS = 5
NAMES = {"day": "%Y-%m-%d", "month": "%Y-%m"}


@dataclass
class PartitionRange:
    """What a run makes of its days or months, each named by its first day."""

    context: dg.AssetExecutionContext
    stores: Stores
    unit: Literal["day", "month"]
    partitions: list[date]
    _made: dict[date, dict[str, Any]] = field(default_factory=dict, init=False)
    _errors: dict[date, dict[str, Exception]] = field(default_factory=dict, init=False)
    _attempts: int = field(default=0, init=False)

    def export(
        self, partition: date, device_ids: Iterable[str], export: Callable[[str], Exported | None]
    ) -> list[Exported]:
        """Export each device. An error of one spoils its day or month; a store that is unavailable ends the run."""
        exported = []
        for device_id in device_ids:
            self._attempts += 1
            try:
                file = export(device_id)
            except STORE_ERRORS:
                raise
            except Exception as error:
                self.context.log.exception(f"{device_id} {self._on(partition)} could not be exported")
                self._errors.setdefault(partition, {})[device_id] = error
            else:
                exported += [file] if file else []
        return exported

    def is_whole(self, partition: date) -> bool:
        """Whether every device could be exported."""
        return partition not in self._errors

    def add(self, partition: date, metadata: dict[str, Any]) -> None:
        """Add what Dagster is to show of a day or month that is whole."""
        self._made[partition] = metadata

    @contextmanager
    def reported(self, also: Callable[[date], None] = lambda _: None) -> Iterator[None]:
        """Report what the block has made.

        If the run fails, each day or month is reported by itself, since Dagster takes no result from such a run; `also`
        is then called with it.

        Raises:
            Failure: devices could not be exported.

        """
        try:
            yield
        except Exception:
            try:
                self._keep(also)
            except Exception:
                self.context.log.exception("the days or months that were made could not be reported")
            raise
        if self._errors:
            self._keep(also)
            raise self._failure()
        for partition, metadata in self._made.items():
            self.context.add_asset_metadata(metadata, partition_key=partition.isoformat())

    def _keep(self, also: Callable[[date], None]) -> None:
        self.stores.session.rollback()
        run = dg.MetadataValue.dagster_run(self.context.run.run_id)
        for partition, metadata in self._made.items():
            event = dg.AssetMaterialization(
                self.context.asset_key, partition=partition.isoformat(), metadata={**metadata, "run": run}
            )
            self.context.instance.report_runless_asset_event(event)
            also(partition)

    def _failure(self) -> dg.Failure:
        """Says what failed, and of the first devices why."""
        reasons = [
            f"{device_id} {self._on(partition)}: {error}"
            for partition, failed in self._errors.items()
            for device_id, error in failed.items()
        ]
        files = (
            f"{len(reasons)} of {self._attempts} files could not be exported: {'; '.join(reasons[:MAX_NAMED_ERRORS])}"
        )
        count, failed = len(self.partitions), len(self._errors)
        if count == 1:
            return dg.Failure(files)
        names = ", ".join(f"{partition:{NAMES[self.unit]}}" for partition in self._errors)
        others = f"; the other {self.unit}s of {count} stand" if failed < count else ""
        return dg.Failure(f"{failed} {self.unit}{'s' if failed > 1 else ''} failed: {names}{others}. {files}")

    def _on(self, partition: date) -> str:
        return f"{'on' if self.unit == 'day' else 'in'} {partition:{NAMES[self.unit]}}"
