"""MQTT: connections to the broker, the subscription of ingestion, and the live stream."""

from ingest.mqtt.client import (
    EMBEDDED_LOGIN,
    KEEPALIVE_SECONDS,
    ConnectionOptions,
    connect,
    connection_options,
    disconnect,
    embedded_password,
    ingester_id,
    new_client,
)
from ingest.mqtt.live import ANNOUNCE_SECONDS, BATCHES_TOPIC, SUBSCRIBERS_TOPIC, LiveBatch, LiveItem, decode_batch

__all__ = [
    "ANNOUNCE_SECONDS",
    "BATCHES_TOPIC",
    "EMBEDDED_LOGIN",
    "KEEPALIVE_SECONDS",
    "SUBSCRIBERS_TOPIC",
    "ConnectionOptions",
    "LiveBatch",
    "LiveItem",
    "connect",
    "connection_options",
    "decode_batch",
    "disconnect",
    "embedded_password",
    "ingester_id",
    "new_client",
]
