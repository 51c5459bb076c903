"""Why a report cannot be made."""


class ReportError(Exception):
    """The report cannot be made. The message says why, for people."""
