"""`energy simulate`: publish plausible readings of simulated machines at a steady rate, as a load source."""

import math
import random
import threading
import time
from collections import deque
from datetime import UTC, datetime
from itertools import cycle
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from storage.settings import Settings, SettingsError
from storage.times import rfc3339

if TYPE_CHECKING:
    import paho.mqtt.client as mqtt

# Publishing slows down with the square of what is outstanding beyond the client's in-flight window.
MAX_IN_FLIGHT = 500
CONNECT_SECONDS = 5.0
FLUSH_SECONDS = 10.0
PROGRESS_SECONDS = 5.0


def simulate(
    *,
    devices: Annotated[
        int, typer.Option(min=1, max=100_000, help="How many machines. They are named SIM-0001 and so on.")
    ] = 10,
    rate: Annotated[
        float, typer.Option(min=0.01, max=100_000, help="Readings per second, of all machines together.")
    ] = 10.0,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="How long to publish. Default: until Ctrl-C.")] = None,
    address: Annotated[
        str | None, typer.Option("--broker", help="host or host:port. Default: the platform's broker.")
    ] = None,
) -> None:
    """Publish voltage, current, power and temperature of simulated machines over MQTT, QoS 1.

    Each machine follows the load of a working day, with noise. The machines are not registered:
    `GET /api/v1/data/unregistered` lists them. The broker's user (MQTT_USERNAME, MQTT_PASSWORD) must be allowed to
    publish for every device.
    """
    from cli.local.signals import interrupt_on_stop_signals

    settings = _with_broker(Settings.load(), address)
    machines = [Machine(number) for number in range(1, devices + 1)]
    source = Source(settings)
    source.connect()
    interrupt_on_stop_signals()
    began = time.monotonic()
    try:
        typer.echo(f"{devices} machines send {rate:g} readings per second to {source.address}{_until(seconds)}")
        source.run(machines, rate, seconds, typer.echo)
    except KeyboardInterrupt:
        typer.echo("")
    finally:
        missing = source.close()
    took = time.monotonic() - began
    typer.echo(
        f"{source.published} readings published in {took:.1f} s, the broker acknowledged {source.published - missing}"
    )
    if missing:
        raise SettingsError(
            f"{source.address} did not acknowledge {missing} readings: it does not answer, or it refuses them"
        )


class Machine:
    """A machine with a load of its own size and daily course."""

    def __init__(self, number: int) -> None:
        self._chance = random.Random(number)  # noqa: S311 - a simulation
        self.device_id = f"SIM-{number:04}"
        self.topic = f"devices/{self.device_id}/telemetry"
        self._full_load = self._chance.uniform(150, 450)
        self._shift = self._chance.gauss(0, 3600)
        self._temperature = 25.0

    def reading(self, now: datetime) -> dict[str, Any]:
        """The reading at a moment, in V, A, W and °C; current follows from power at a power factor near 0.9."""
        load = day_load(now.timestamp() + self._shift) * self._chance.gauss(1, 0.05)
        power = max(0.0, self._full_load * load)
        voltage = self._chance.gauss(230, 1.5) - 0.01 * power
        current = power / (voltage * min(1.0, self._chance.gauss(0.9, 0.01)))
        self._temperature += 0.05 * (25 + 40 * load - self._temperature) + self._chance.gauss(0, 0.1)
        return {
            "timestamp": rfc3339(now),
            "voltage": round(voltage, 2),
            "current": round(current, 3),
            "power": round(power, 2),
            "temperature": round(self._temperature, 2),
            "schema_version": "v1",
        }


def day_load(seconds: float) -> float:
    """The share of full load (0.1 to 1) at a time of day (UTC): low at night, with a peak before and one after noon."""
    hour = seconds / 3600 % 24
    humps = (math.exp(-(((hour - peak) / width) ** 2)) for peak, width in ((10, 2.5), (15, 3)))
    return 0.1 + 0.9 * min(1.0, sum(humps))


class Source:
    """A publisher that keeps to a rate and within its in-flight window."""

    def __init__(self, settings: Settings) -> None:
        from ingest.mqtt import new_client

        self._settings = settings
        self.address = f"{settings.broker_host}:{settings.mqtt_broker_port}"
        self.published = 0
        self._refusal: str | None = None
        self._answered = threading.Event()
        self._outstanding: deque[mqtt.MQTTMessageInfo] = deque()
        self._client = new_client(settings, f"energy-simulate-{random.getrandbits(48):x}")
        self._client.max_inflight_messages_set(MAX_IN_FLIGHT)
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = lambda *_: self._answered.set()

    def connect(self) -> None:
        """Connect.

        Raises:
            SettingsError: the broker does not answer, or refuses the connection.

        """
        from ingest.mqtt import connect, disconnect

        connect(self._client, self._settings)
        self._answered.wait(CONNECT_SECONDS)
        if self._refusal or not self._client.is_connected():
            reason = (
                f"refuses the connection: {self._refusal}" if self._refusal else "does not answer as an MQTT broker"
            )
            disconnect(self._client)
            raise SettingsError(
                f"{self.address} {reason}; start the platform with `energy up`, or choose another broker with"
                " --broker host:port (login with MQTT_USERNAME and MQTT_PASSWORD)"
            )

    def run(self, machines: list[Machine], rate: float, seconds: float | None, say: Any) -> None:
        """Publish for one machine after the other, `rate` readings per second; a slower broker makes it wait."""
        import msgspec

        began = time.monotonic()
        reported = began
        for number, machine in enumerate(cycle(machines)):
            due = began + number / rate
            if seconds is not None and due - began >= seconds:
                return
            while (wait := due - time.monotonic()) > 0:
                time.sleep(min(wait, 0.5))
            while len(self._outstanding) >= MAX_IN_FLIGHT:
                self._settle()
            payload = msgspec.json.encode(machine.reading(datetime.now(UTC)))
            self._outstanding.append(self._client.publish(machine.topic, payload, qos=1))
            self.published += 1
            now = time.monotonic()
            if now - reported >= PROGRESS_SECONDS:
                reported = now
                self._settle()
                state = "" if self._client.is_connected() else ", waiting for the broker"
                say(f"{self.published} readings, {self.published / (now - began):.0f} per second{state}")

    def close(self) -> int:
        """Wait for what is outstanding and disconnect. Returns how many readings the broker did not acknowledge."""
        from ingest.mqtt import disconnect

        deadline = time.monotonic() + FLUSH_SECONDS
        while self._outstanding and time.monotonic() < deadline:
            self._settle()
        disconnect(self._client)
        return len(self._outstanding)

    def _settle(self) -> None:
        """Wait briefly for the oldest message that is not acknowledged, and forget those that are."""
        if self._outstanding and not self._outstanding[0].is_published():
            self._outstanding[0].wait_for_publish(0.2)
        while self._outstanding and self._outstanding[0].is_published():
            self._outstanding.popleft()

    def _on_connect(self, _: "mqtt.Client", __: Any, ___: Any, reason: Any, ____: Any) -> None:
        self._refusal = str(reason) if reason.is_failure else None
        self._answered.set()


def _with_broker(settings: Settings, address: str | None) -> Settings:
    if address is None:
        return settings
    try:
        parts = urlsplit(f"mqtt://{address}")
        host, port = parts.hostname, parts.port or 1883
    except ValueError:
        host, port = None, 0
    if not host or parts.path or parts.username:
        raise SettingsError(f"--broker {address} is not host or host:port; write 192.0.2.7 or 192.0.2.7:1883")
    return settings.model_copy(update={"mqtt_broker_host": host, "mqtt_broker_port": port})


def _until(seconds: float | None) -> str:
    return ", until Ctrl-C" if seconds is None else f" for {seconds:g} s"
