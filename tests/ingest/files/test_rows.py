from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from ingest.files.rows import FileRefused, open_table

ROWS = [{"Zeit": "2026-02-12 10:00", "U, V": "1,5"}, {"Zeit": 'a "b"; c', "U, V": "2"}]
COMMA = 'Zeit,"U, V"\n2026-02-12 10:00,"1,5"\n"a ""b""; c",2\n'


def rows(path: Path, content: bytes | str, **options: str) -> list[dict[str, object]]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [dict(row.values) for row in open_table(path, **options).rows()]


@pytest.mark.parametrize(
    "content",
    [
        COMMA,
        COMMA.replace("\n", "\r\n"),
        COMMA.replace("\n", "\r"),
        COMMA.rstrip(),
        COMMA.encode("utf-8-sig"),
        COMMA.encode("utf-16"),
        b"\xfe\xff" + COMMA.encode("utf-16-be"),
        'Zeit;U, V\n2026-02-12 10:00;1,5\n"a ""b""; c";2\n',
        'Zeit\tU, V\n2026-02-12 10:00\t1,5\n"a ""b""; c"\t2\n',
        'sep=;\nZeit;"U, V"\n2026-02-12 10:00;1,5\n"a ""b""; c";2\n',
        "# made by a logger, v2\n\n" + COMMA,
        ' Zeit , "U, V"\n  2026-02-12 10:00, "1,5"\n"a ""b""; c", 2\n',
        'Zeit,"U, V"\n2026-02-12 10:00,"1,5",,\n"a ""b""; c",2,\n',
        COMMA + 'Zeit,"U, V"\n',
    ],
)
def test_tables_as_machines_and_spreadsheets_write_them(tmp_path: Path, content: bytes | str) -> None:
    assert rows(tmp_path / "a.csv", content) == ROWS


def test_a_separator_and_an_encoding_of_ones_own(tmp_path: Path) -> None:
    content = "Zähler:power\nA:1\n".encode("cp1252")
    assert rows(tmp_path / "a.csv", content, separator=":", encoding="cp1252") == [{"Zähler": "A", "power": "1"}]
    with pytest.raises(FileRefused, match="set --encoding"):
        rows(tmp_path / "a.csv", content)


def test_annotated_tables_of_influxdb_one_after_the_other(tmp_path: Path) -> None:
    """Each has columns and defaults of its own; other programs leave the annotations out."""
    first = "#datatype,string,long,double\n#default,_result,,\n,result,table,_value\n,,0,1\n,,0,2\n\n"
    second = "#datatype,string,string,double\n#default,_result,B,\n,result,device_id,_value\n,,,3\n,,C,4\n"
    values = [
        (row.get("result"), row.get("device_id"), row["_value"])
        for row in rows(tmp_path / "a.csv", first + second)
        if row
    ]
    assert values == [("_result", None, "1"), ("_result", None, "2"), ("_result", "B", "3"), ("_result", "C", "4")]


def test_blank_lines_are_rows_without_values_and_lines_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("a,b\n1,2\n\n,\n3,4\n")
    assert [(row.number, dict(row.values)) for row in open_table(file).rows()] == [
        (2, {"a": "1", "b": "2"}), (3, {}), (4, {}), (5, {"a": "3", "b": "4"})
    ]  # fmt: skip


@given(content=st.binary(max_size=200))
def test_any_bytes_are_rows_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "any.csv"
    with suppress(FileRefused):
        rows(file, content)
