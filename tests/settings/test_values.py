"""Times, sizes, counts and secrets as users write them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.settings import DatabaseText, Duration, HeartbeatTimes, Secret, Size, ThreadCounts


@pytest.mark.parametrize(
    ("raw", "seconds"),
    [("30s", 30), ("5m", 300), ("1h30m", 5400), ("250ms", 0.25), ("1.5s", 1.5), ("2d", 172800), ("45", 45), (2.5, 2.5)],
)
def test_a_time_is_a_number_with_its_unit_or_seconds(raw: Any, seconds: float) -> None:
    assert Duration.parse(raw) == seconds


@pytest.mark.parametrize(
    "raw", ["", "s", "0s", "-1s", "30 sec", "1e3s", "nan", "inf", "99999999999999s", "9" * 500, True, None, [], 0, -3]
)
def test_what_is_no_time_is_refused_with_an_example(raw: Any) -> None:
    with pytest.raises(ValueError, match="30s, 5m or 1h30m"):
        Duration.parse(raw)


@pytest.mark.parametrize(
    ("raw", "size"),
    [("64KiB", 65536), ("1MiB", 1 << 20), ("10MB", 10_000_000), ("1.5 KiB", 1536), ("100B", 100), (7, 7)],
)
def test_a_size_is_a_number_with_its_unit_or_bytes(raw: Any, size: int) -> None:
    assert Size.parse(raw) == size


@pytest.mark.parametrize("raw", ["", "KiB", "0", "-1", "1.5", "64kib", "1TiB", "9999999GiB", True, 1.5, None])
def test_what_is_no_size_is_refused_with_an_example(raw: Any) -> None:
    with pytest.raises(ValueError, match="64KiB or 1MiB"):
        Size.parse(raw)


@given(st.integers(1, 10**9))
def test_a_size_that_is_written_reads_the_same(number: int) -> None:
    assert Size.parse(str(Size(number))) == number


@given(st.integers(1, 10**7))
def test_a_time_that_is_written_reads_the_same(milliseconds: int) -> None:
    seconds = Duration(milliseconds / 1000)
    assert Duration.parse(str(seconds)) == pytest.approx(seconds, rel=1e-5)


def test_thread_counts_are_two_numbers_or_one() -> None:
    assert ThreadCounts.parse("2:64") == (2, 64)
    assert ThreadCounts.parse("8") == ThreadCounts.parse(8) == (8, 8)
    for wrong in ("5:1", "0:4", "many", "1:2:3", True):
        with pytest.raises(ValueError, match="MIN"):
            ThreadCounts.parse(wrong)


def test_heartbeat_times_out_after_three_intervals_unless_said_otherwise() -> None:
    assert HeartbeatTimes.parse("30s:90s") == HeartbeatTimes.parse("30:90") == (30.0, 90.0)
    assert HeartbeatTimes.parse("500ms") == (0.5, 1.5)
    for wrong in ("90:30", "0", ":", "1:2:3", "now"):
        with pytest.raises(ValueError, match=r"INTERVAL|interval"):
            HeartbeatTimes.parse(wrong)


def test_a_secret_is_shown_by_nothing_but_reveal() -> None:
    secret = Secret("hunter2")
    assert "hunter2" not in f"{secret} {secret!r} {secret:>10} {[secret]}" + str(secret) + f"{secret}"
    assert secret.reveal() == "hunter2"


def test_a_database_url_is_shown_without_its_password() -> None:
    url = DatabaseText("mysql://app:hun:ter2@db/meters")
    assert str(url) == "mysql://app:***@db/meters"
    assert "ter2" not in repr(url)
    assert url.reveal() == "mysql://app:hun:ter2@db/meters"
