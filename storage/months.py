"""Months whose files are due: one file per device over the days of a closed month."""

from datetime import date

from sqlalchemy import text
from sqlmodel import Session

_MONTHS_TO_CLOSE = text("""
SELECT d.month FROM (
    SELECT device_id, date_trunc('month', start_date)::date AS month, max(created_at) AS made FROM datasets
    WHERE kind = 'day' AND superseded_at IS NULL AND start_date >= :first AND start_date < :before GROUP BY 1, 2
) d LEFT JOIN datasets m ON m.device_id = d.device_id AND m.kind = 'month' AND m.superseded_at IS NULL
    AND m.start_date = d.month
WHERE m.created_at IS NULL OR m.created_at < d.made GROUP BY 1 ORDER BY 1
""")


def months_to_close(session: Session, first: date, before: date) -> list[date]:
    """First days of the months in which a device has a day file that is newer than its month file, or no month file.

    Only months from `first` on and before `before` count.
    """
    return list(session.execute(_MONTHS_TO_CLOSE, {"first": first, "before": before}).scalars())
