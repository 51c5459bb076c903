"""Addresses as variables give them: URLs and topics, checked."""

import re
from urllib.parse import urlsplit


def http_url(url: str) -> str:
    """The URL without a slash at its end."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("give it as http://host:port or https://host:port")
    return url.rstrip("/")


def postgres_url(url: str) -> str:
    """The URL without the name of a driver."""
    parts = urlsplit(url)
    if not re.fullmatch(r"postgres(ql)?(\+\w+)?", parts.scheme) or not parts.hostname or not parts.path.strip("/"):
        raise ValueError("give it as postgresql://user:password@host:5432/database (any +driver is accepted)")
    return f"postgresql://{url.split('://', 1)[1]}"


def topic_filter(topic: str) -> str:
    """The filter itself."""
    levels = topic.split("/")
    if levels.count("+") != 1 or any(level != "+" and set(level) & set("+#\0") for level in levels):
        raise ValueError("give a filter with one level + for the device's id, such as devices/+/telemetry")
    return topic
