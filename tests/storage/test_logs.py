import logging

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DataError

from storage.logs import FORMAT, MAX_CHARACTERS, BoundedFormatter


def test_the_error_of_a_huge_statement_is_cut_in_the_log_and_has_no_parameters(engine: Engine) -> None:
    statement = text(f"SELECT CAST(:value AS int) /* {'x' * 1_000_000} */")
    with pytest.raises(DataError) as error, engine.connect() as connection:
        connection.execute(statement, {"value": "a password"})
    assert "[SQL parameters hidden" in str(error.value)
    record = logging.LogRecord("ingest", logging.ERROR, __file__, 1, "failed", None, error._excinfo)
    entry = BoundedFormatter(FORMAT).format(record)
    assert entry.startswith("ERROR ingest: failed\nTraceback")
    assert "characters are left out" in entry
    assert len(entry) < MAX_CHARACTERS + 100
