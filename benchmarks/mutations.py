"""100,000 payloads as broken devices make them, through `decode`: each is readings or a reason, none is an exception.

Beside it: how long Python's own JSON parser takes for the same payloads. `--payloads N`, `--seed N`.
"""

import argparse
import json
import random
import sys
import time
import traceback
from collections import Counter
from contextlib import suppress

from benchmarks.floors import say
from ingest.devices.profile import UNREGISTERED, DeviceProfile
from ingest.intake.decode import Decoded, decode_payload
from storage.times import SECOND
from tests.support.mutations import mutated

NOW = 1_770_890_500 * SECOND
PROFILES = [
    UNREGISTERED,
    DeviceProfile("success", limits={"power": (0.0, 200.0)}, bands={"oil": (2.0, 3.0)}, ignore=frozenset(["voltage"])),
]
DEVICES = [*(f"D{i}" for i in range(97)), "a b", "", "x" * 60]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--payloads", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    asked, _ = parser.parse_known_args()
    chosen = random.Random(asked.seed)
    payloads = [mutated(chosen) for _ in range(asked.payloads)]
    reasons: Counter[str] = Counter()
    readings = rejected = unanswered = crashes = 0
    began = time.perf_counter()
    for i, payload in enumerate(payloads):
        try:
            decoded = _decode(DEVICES[i % len(DEVICES)], payload, PROFILES[i % 3 == 0])
        except Exception:  # noqa: BLE001 - what is looked for
            crashes += 1
            print(f"{payload[:300]!r}", file=sys.stderr)
            traceback.print_exc()
            continue
        readings += len(decoded.readings)
        rejected += len(decoded.rejected)
        reasons.update(" ".join(one.reason.split()[:3]) for one in decoded.rejected)
        answers = len(decoded.readings) + sum(bool(one.reason) for one in decoded.rejected)
        unanswered += answers == 0 or answers < len(decoded.readings) + len(decoded.rejected)
    took = time.perf_counter() - began
    began = time.perf_counter()
    for payload in payloads:
        with suppress(ValueError, RecursionError):
            json.loads(payload)
    parsing = time.perf_counter() - began
    print(
        f"{len(payloads):,} payloads: {readings:,} readings, {rejected:,} rejected with a reason; {took:.2f} s", end=""
    )
    print(f", {took / parsing:.1f} times json.loads alone")
    print("  most often: " + "; ".join(f"{reason} … {count:,}" for reason, count in reasons.most_common(8)))
    say("exceptions", str(crashes), "none", met=crashes == 0)
    say("payloads without reading or reason", str(unanswered), "none", met=unanswered == 0)


def _decode(device_id: str, payload: bytes, profile: DeviceProfile) -> Decoded:
    return decode_payload(f"devices/{device_id}/telemetry", device_id, payload, NOW, profile)


if __name__ == "__main__":
    main()
