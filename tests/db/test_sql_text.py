from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.db.sql_text import UnclosedQuote, split_statements, to_question_marks


@pytest.mark.parametrize(
    ("sql", "translated"),
    [
        ("SELECT %s, %s", "SELECT ?, ?"),
        ("SELECT '%s', %s", "SELECT '%s', ?"),
        ('SELECT "%s", `%s`, [%s], %s', 'SELECT "%s", `%s`, [%s], ?'),
        ("SELECT 'it''s %s', %s", "SELECT 'it''s %s', ?"),
        ("SELECT 1 -- %s\n, %s", "SELECT 1 -- %s\n, ?"),
        ("SELECT /* %s '*/ %s", "SELECT /* %s '*/ ?"),
        ("SELECT 7 %% 2, %s", "SELECT 7 % 2, ?"),
        ("SELECT 1 WHERE 'ab' LIKE 'a%%' AND %s", "SELECT 1 WHERE 'ab' LIKE 'a%' AND ?"),
        ("SELECT %(name)s", "SELECT :name"),
        ("SELECT %%s", "SELECT %s"),
    ],
)
def test_placeholders_are_turned_outside_quotes_and_comments(sql: str, translated: str) -> None:
    assert to_question_marks(sql) == translated


@pytest.mark.parametrize("sql", ["SELECT 7 % 2", "SELECT %d", "SELECT %"])
def test_a_lone_percent_sign_is_refused_with_advice(sql: str) -> None:
    with pytest.raises(sqlite3.ProgrammingError, match="write %s for a value and %% for a %"):
        to_question_marks(sql)


def test_a_statement_is_translated_once() -> None:
    sql = "SELECT %s AS translated_once"
    to_question_marks(sql)
    hits = to_question_marks.cache_info().hits
    assert to_question_marks(sql) is to_question_marks(sql)
    assert to_question_marks.cache_info().hits == hits + 2
    assert to_question_marks.cache_info().maxsize == 1024


@pytest.mark.parametrize("dialect", ["mysql", "sqlite"])
@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("", []),
        (" ;; \n ; ", []),
        ("-- only a comment;\n/* ; */", []),
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT 1;SELECT 2;\n", ["SELECT 1", "SELECT 2"]),
        ("SELECT ';', \";\", `;`; SELECT 2", ["SELECT ';', \";\", `;`", "SELECT 2"]),
        ("SELECT 'it''s;'; SELECT 2", ["SELECT 'it''s;'", "SELECT 2"]),
        ("SELECT 1 -- a; b\n, 2; SELECT 3", ["SELECT 1 -- a; b\n, 2", "SELECT 3"]),
        ("SELECT 1 /* ; ' */; SELECT 2", ["SELECT 1 /* ; ' */", "SELECT 2"]),
        ("-- head\nSELECT 1;\n-- tail\n", ["-- head\nSELECT 1"]),
    ],
)
def test_semicolons_split_outside_quotes_and_comments(dialect: str, text: str, statements: list[str]) -> None:
    assert split_statements(text, dialect) == statements


def test_mysql_knows_backslashes_and_hash_comments_and_sqlite_does_not() -> None:
    assert split_statements(r"SELECT 'a\';'; SELECT 2", "mysql") == [r"SELECT 'a\';'", "SELECT 2"]
    assert split_statements(r"SELECT 'a\'; SELECT 2", "sqlite") == [r"SELECT 'a\'", "SELECT 2"]
    assert split_statements("SELECT 1 # ; '\n; SELECT 2", "mysql") == ["SELECT 1 # ; '", "SELECT 2"]
    assert split_statements("SELECT 5--1; SELECT 2", "mysql") == ["SELECT 5--1", "SELECT 2"]


def test_mysqls_executable_comments_are_statements() -> None:
    assert split_statements("/*!40101 SET NAMES utf8mb4 */; SELECT 1", "mysql") == [
        "/*!40101 SET NAMES utf8mb4 */",
        "SELECT 1",
    ]


def test_a_trigger_of_sqlite_stays_whole() -> None:
    trigger = "CREATE TRIGGER x AFTER INSERT ON t BEGIN\n  UPDATE t SET a = ';'; DELETE FROM u;\nEND"
    assert split_statements(f"{trigger};\nSELECT 1;", "sqlite") == [trigger, "SELECT 1"]


def test_a_delimiter_keeps_a_procedure_of_mysql_whole() -> None:
    text = "SELECT 0;\nDELIMITER //\nCREATE PROCEDURE p() BEGIN SELECT 1; SELECT 2; END//\nDELIMITER ;\nSELECT 3;"
    assert split_statements(text, "mysql") == [
        "SELECT 0",
        "CREATE PROCEDURE p() BEGIN SELECT 1; SELECT 2; END",
        "SELECT 3",
    ]


@pytest.mark.parametrize("text", ["SELECT 1;\nSELECT 'a; SELECT 2", 'SELECT 1;\nSELECT "a', "SELECT 1;\nSELECT `a"])
@pytest.mark.parametrize("dialect", ["mysql", "sqlite"])
def test_an_unclosed_quote_is_refused_with_its_line(text: str, dialect: str) -> None:
    with pytest.raises(UnclosedQuote, match="line 2"):
        split_statements(text, dialect)


@given(st.lists(st.sampled_from(["SELECT 1", "SELECT ';--'", "SELECT /* ; */ 2", "-- c ; '\nSELECT 3"]), max_size=8))
def test_what_is_joined_by_semicolons_is_split_again(statements: list[str]) -> None:
    for dialect in ("mysql", "sqlite"):
        assert split_statements(";\n".join(statements), dialect) == statements


def test_long_hostile_text_is_read_in_one_pass() -> None:
    # Anything but linear time would end in the time-out of the test run.
    for text in ("'" * 300_001, "SELECT '" + "a" * 1_000_000, "/*" * 200_000, "''" * 300_000 + "'"):
        for dialect in ("mysql", "sqlite"):
            try:
                split_statements(text, dialect)
            except UnclosedQuote:
                pass
