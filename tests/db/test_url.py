from __future__ import annotations

import pytest

from mooring.db.url import parse_url


def test_a_full_mysql_url_is_taken_apart() -> None:
    url = parse_url("mysql://app:s3@db.example:3307/meters")
    assert (url.dialect, url.user, url.password, url.host, url.port, url.database) == (
        "mysql",
        "app",
        "s3",
        "db.example",
        3307,
        "meters",
    )


def test_several_hosts_keep_their_order() -> None:
    url = parse_url("mysql://app@db1,db2:3307,[::1]:3308/meters")
    assert url.hosts == (("db1", 3306), ("db2", 3307), ("::1", 3308))
    assert url.place == "db1,db2:3307,[::1]:3308"


@pytest.mark.parametrize(
    ("query", "mode"),
    [
        ("", ""),
        ("?ssl_mode=REQUIRED", "required"),
        ("?ssl_mode=VERIFY-CA&ssl_ca=/ca", "verify_ca"),
        ("?ssl_ca=/ca", "verify_identity"),
    ],
)
def test_tls_is_asked_for_by_options(query: str, mode: str) -> None:
    assert parse_url(f"mysql://app@h/d{query}").ssl_mode == mode


@pytest.mark.parametrize(
    "scheme", ["mysql", "mysql+pymysql", "mysql+mysqldb", "mariadb", "mariadb+pymysql", "mariadb+mysqldb", "MySQL"]
)
def test_every_scheme_of_mysql_is_known(scheme: str) -> None:
    assert parse_url(f"{scheme}://app@h/meters").dialect == "mysql"


def test_percent_codes_are_decoded_in_user_password_and_database() -> None:
    url = parse_url("mysql://a%40b:p%40%3A%2F%25%23%3F@h/d%20b")
    assert (url.user, url.password, url.database) == ("a@b", "p@:/%#?", "d b")


def test_host_and_port_have_defaults() -> None:
    url = parse_url("mysql:///meters")
    assert (url.host, url.port, url.user, url.password) == ("localhost", 3306, "", None)


@pytest.mark.parametrize(("text", "port"), [("[::1]", 3306), ("[::1]:3307", 3307)])
def test_an_ipv6_host_stands_in_brackets(text: str, port: int) -> None:
    url = parse_url(f"mysql://app@{text}/meters")
    assert (url.host, url.port) == ("::1", port)
    assert text in str(url)


def test_unix_socket_and_password_file_are_options() -> None:
    url = parse_url("mysql://app@h/meters?unix_socket=/run/mysqld.sock&password_file=/run/secrets/db&charset=utf8mb4")
    assert (url.unix_socket, url.password_file) == ("/run/mysqld.sock", "/run/secrets/db")


@pytest.mark.parametrize(
    ("text", "database"),
    [
        ("sqlite:///relative.db", "relative.db"),
        ("sqlite:////var/lib/absolute.db", "/var/lib/absolute.db"),
        ("sqlite:///with%20blank.db", "with blank.db"),
        ("sqlite://", ":memory:"),
        ("sqlite:///:memory:", ":memory:"),
    ],
)
def test_sqlite_urls_count_their_slashes(text: str, database: str) -> None:
    assert parse_url(text).database == database


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mooring.db", "no scheme"),
        ("postgresql://h/d", "unknown scheme 'postgresql'"),
        ("mysql://app:secret@h1,/d", "first:3306,second:3306"),
        ("mysql://app:secret@h1,h2/d?unix_socket=/s", "without a unix_socket"),
        ("mysql://app:secret@h/d?ssl_mode=maybe", "unknown ssl_mode 'maybe'"),
        ("mysql://app:secret@h/d?ssl_ca=ca.pem", "'ssl_ca' needs an absolute path"),
        ("mysql://app:secret@h/d?ssl_key=/k.pem", "needs 'ssl_cert'"),
        ("mysql://app:secret@h", "no database"),
        ("mysql://app:secret@h/", "no database"),
        ("mysql://app:secret@h:port/d", "port must be a number"),
        ("mysql://app:secret@h:0/d", "port must be a number"),
        ("mysql://app:secret@h:65536/d", "port must be a number"),
        ("mysql://app:secret@h:99999999999999999999/d", "port must be a number"),
        ("mysql://app:secret@::1/d", "IPv6 host is written in brackets"),
        ("mysql://app:secret@[::1/d", "IPv6 host is written in brackets"),
        ("mysql://app:sec@ret@h/d", "write @ in a password as %40"),
        ("mysql://app:sec/ret@h/d", "%2F"),
        ("mysql://app:secret%@h/d", "% in the password"),
        ("mysql://app:secret%ff@h/d", "password are not UTF-8"),
        ("mysql://app:secret#@h/d", "%23"),
        ("mysql://app:secret@h/d?sslmode=on", "unknown option 'sslmode'"),
        ("mysql://app:secret@h/d?charset=latin1", "always use utf8mb4"),
        ("mysql://app:secret@h/d?unix_socket=mysqld.sock", "'unix_socket' needs an absolute path"),
        ("mysql://app:secret@h/d?unix_socket=/a&unix_socket=/b", "given twice"),
        ("sqlite://relative.db", "two slashes"),
        ("sqlite:///x.db?mode=ro", "takes no options"),
    ],
)
def test_each_wrong_part_is_named_and_no_password_is_shown(text: str, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_url(text)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "sec@ret" not in str(caught.value)


def test_a_url_is_text() -> None:
    with pytest.raises(TypeError, match="bytes"):
        parse_url(b"sqlite://")  # type: ignore[arg-type]


def test_neither_str_nor_repr_shows_the_password() -> None:
    url = parse_url("mysql://app:secret@h:3307/meters?password_file=/run/secrets/db")
    assert str(url) == "mysql://app:***@h:3307/meters?password_file=/run/secrets/db"
    assert "secret'" not in repr(url)


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:///a%20b.db",
        "sqlite:////var/x.db",
        "mysql://a%40b@h/meters?unix_socket=/run/my.sock",
        "mysql://h:1,[::1]/d?ssl_ca=/x&ssl_mode=verify_ca",
    ],
)
def test_what_is_printed_can_be_read_again(text: str) -> None:
    assert str(parse_url(text)) == text
    assert parse_url(str(parse_url(text))) == parse_url(text)
