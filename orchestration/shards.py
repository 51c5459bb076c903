"""Large fleets are split over several runs: each run takes the devices whose hash belongs to its shard."""

import zlib

import dagster as dg

SHARD_TAG = "energy/shard"


class Shard(dg.Config):
    """One of `shards` parts of the fleet, numbered from 0."""

    shard: int = 0
    shards: int = 1

    def holds(self, device_id: str) -> bool:
        """Whether a device belongs to this shard."""
        return zlib.crc32(device_id.encode()) % self.shards == self.shard

    @property
    def tags(self) -> dict[str, str]:
        """The tags of the shard's run."""
        return {SHARD_TAG: f"{self.shard + 1} of {self.shards}"}


def split(devices: int, max_devices: int) -> list[Shard]:
    """Split a number of devices into as few shards of about `max_devices` as possible."""
    shards = -(-devices // max_devices)
    return [Shard(shard=shard, shards=shards) for shard in range(shards)]
