"""Logs of the platform's processes: one format, and no entry that fills a disk."""

import logging

FORMAT = "%(levelname)s %(name)s: %(message)s"
# An error of SQLAlchemy has the statement in it, which may have megabytes.
MAX_CHARACTERS = 10_000


class BoundedFormatter(logging.Formatter):
    """Cuts entries that are too long in the middle: the end of a traceback says what happened."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if len(text) <= MAX_CHARACTERS:
            return text
        half = MAX_CHARACTERS // 2
        return f"{text[:half]}\n… {len(text) - 2 * half} characters are left out …\n{text[-half:]}"


def start_logging(level: str) -> None:
    """Log to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(BoundedFormatter(FORMAT))
    logging.basicConfig(level=level.upper(), handlers=[handler])
