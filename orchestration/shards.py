"""Large fleets are split over several runs: each run takes the devices whose hash belongs to its shard."""

import zlib
from typing import Annotated

import dagster as dg
from pydantic import Field

SHARD_TAG = "energy/shard"


class Shard(dg.Config):
    """One of `shards` parts of the fleet, numbered from 0."""

    shard: Annotated[int, Field(description="The part of the devices that the run works on, numbered from 0.")] = 0
    shards: Annotated[int, Field(description="How many parts there are; with 1, the run works on all devices.")] = 1

    def holds(self, device_id: str) -> bool:
        """Whether a device belongs to this shard."""
        return zlib.crc32(device_id.encode()) % self.shards == self.shard

    def check(self) -> None:
        """Check that there is such a shard.

        Raises:
            dg.Failure: there is none.

        """
        if not 0 <= self.shard < self.shards:
            raise dg.Failure(
                f"shard {self.shard} of {self.shards} shards does not exist. They are numbered from 0, so give a shard"
                " below shards, or leave both out for all devices.",
                allow_retries=False,
            )

    @property
    def tags(self) -> dict[str, str]:
        """The tags of the shard's run."""
        return {SHARD_TAG: f"{self.shard + 1} of {self.shards}"}


def split(devices: int, max_devices: int) -> list[Shard]:
    """Split a number of devices into as few shards of about `max_devices` as possible."""
    shards = -(-devices // max_devices)
    return [Shard(shard=shard, shards=shards) for shard in range(shards)]
