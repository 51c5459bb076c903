"""The least that can be done with messages: take them and acknowledge them. A process of its own, for `intake`.

`python -m benchmarks.bare_consumer FILE` writes into the file, again and again, how many it has taken.
"""

import os
import sys

from ingest.mqtt.subscription import Subscription
from storage.settings import Settings

BYTES = 8


def consume(file: str) -> None:
    subscription = Subscription(Settings.load())
    subscription.start()
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT)
    taken = 0
    while True:
        messages = subscription.take(5_000, 2 * 1024 * 1024, timeout=0.1)
        subscription.acknowledge(messages)
        taken += len(messages)
        if subscription.connected:
            os.pwrite(descriptor, taken.to_bytes(BYTES, "big"), 0)


if __name__ == "__main__":
    consume(sys.argv[1])
