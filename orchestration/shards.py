"""Large fleets over several runs: each takes the devices whose stable hash is its own."""

import zlib

import dagster as dg

SHARD_TAG = "energy/shard"


class Shard(dg.Config):
    """The one with the number `shard` of `shards` parts of the fleet."""

    shard: int = 0
    shards: int = 1

    def holds(self, device_id: str) -> bool:
        """Whether a device is of this part."""
        return zlib.crc32(device_id.encode()) % self.shards == self.shard

    @property
    def tags(self) -> dict[str, str]:
        """Of its run."""
        return {SHARD_TAG: f"{self.shard + 1} of {self.shards}"}


def split(devices: int, most: int) -> list[Shard]:
    """As few shards as leave each about `most` of so many devices."""
    shards = -(-devices // most)
    return [Shard(shard=shard, shards=shards) for shard in range(shards)]
