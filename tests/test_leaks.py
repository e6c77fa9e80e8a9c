import os
import socket
import threading

import pytest
from leaks import Leaks
from processes import PythonProcess, run_python
from waiting import wait_until


def test_a_descriptor_left_open_is_reported_with_what_it_is() -> None:
    leaks = Leaks()
    with socket.socket() as left:
        assert f"descriptor {left.fileno()}: socket:[" in leaks.wait_for_none(timeout=0)
    assert leaks.wait_for_none(timeout=0) == ""


def test_a_thread_left_running_is_reported_with_its_stack() -> None:
    leaks = Leaks()
    end = threading.Event()
    thread = threading.Thread(target=end.wait, name="forgotten", daemon=True)
    thread.start()
    try:
        report = leaks.wait_for_none(timeout=0)
    finally:
        end.set()
        thread.join()
    assert "thread forgotten (daemon):" in report
    assert "in wait" in report


def test_a_thread_on_its_way_out_is_waited_for() -> None:
    leaks = Leaks()
    end = threading.Event()
    threading.Thread(target=end.wait, daemon=True).start()
    threading.Timer(0.1, end.set).start()
    assert leaks.wait_for_none(timeout=10) == ""


def test_a_child_is_reaped_and_its_output_explains_the_failure() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        with PythonProcess("-c", "print('ready'); import time; time.sleep(600)") as process:
            process.wait_for_line("ready")
            raise ZeroDivisionError
    assert process.returncode is not None
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)
    assert "ready" in caught.value.__notes__[0]


def test_a_warning_in_a_child_is_an_error() -> None:
    assert "ResourceWarning" in run_python("open('/dev/null'); import gc; gc.collect()")
    with pytest.raises(AssertionError, match="return code 1, expected 0"):
        run_python("import warnings; warnings.warn('old')")


def test_a_condition_that_never_comes_true_is_named() -> None:
    with pytest.raises(AssertionError, match=r"not within 0\.01 s: .*marker_of_the_condition"):
        wait_until(lambda: "marker_of_the_condition" == "", timeout=0.01)
