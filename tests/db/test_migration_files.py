from __future__ import annotations

from pathlib import Path

import pytest

from mooring.db.migration_files import MigrationError, read_migrations


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name.replace('_dot_', '.')}.sql").write_text(text)


def test_files_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    write(tmp_path, V10__c="SELECT 10", V0002__b="SELECT 2", V1__a="SELECT 1")
    assert [(m.version, m.name, m.statements) for m in read_migrations(tmp_path, "mysql")] == [
        (1, "a", ("SELECT 1",)),
        (2, "b", ("SELECT 2",)),
        (10, "c", ("SELECT 10",)),
    ]


def test_the_file_of_the_dialect_goes_before_the_one_for_all(tmp_path: Path) -> None:
    write(tmp_path, V1__a="SELECT 'all'", V1__a_dot_mysql="SELECT 'mysql'", V2__b_dot_sqlite="SELECT 'sqlite'")
    assert [m.statements for m in read_migrations(tmp_path, "mysql")] == [("SELECT 'mysql'",)]
    assert [m.statements for m in read_migrations(tmp_path, "sqlite")] == [("SELECT 'all'",), ("SELECT 'sqlite'",)]


def test_the_checksum_does_not_see_line_ends(tmp_path: Path) -> None:
    file = tmp_path / "V1__a.sql"
    sums = set()
    for text in (b"SELECT 1;\nSELECT 2;\n", b"SELECT 1;\r\nSELECT 2;\r\n", b"\xef\xbb\xbfSELECT 1;\nSELECT 2;\n"):
        file.write_bytes(text)
        sums.add(read_migrations(tmp_path, "mysql")[0].sha256)
    assert len(sums) == 1
    file.write_bytes(b"SELECT 1;\nSELECT 3;\n")
    assert read_migrations(tmp_path, "mysql")[0].sha256 not in sums


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("first.sql", b"SELECT 1", "not the name of a migration; write V0001__what_it_does.sql"),
        ("V1__a.oracle.sql", b"SELECT 1", "not the name of a migration"),
        ("V01__other.sql", b"SELECT 1", "have the same number"),
        ("V2__a.sql", b"SELECT 'open", "line 1: ' is opened and never closed"),
        ("V2__a.sql", b"-- nothing\n", "no statement in it"),
        ("V2__a.sql", b"SELECT '\xff'", "not UTF-8"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, name: str, text: bytes, words: str) -> None:
    write(tmp_path, V1__a="SELECT 1")
    (tmp_path / name).write_bytes(text)
    with pytest.raises(MigrationError, match=words):
        read_migrations(tmp_path, "mysql")
