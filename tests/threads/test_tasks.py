import gc
import weakref
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from typing import Any

import pytest

from mooring.threads.tasks import CANCELLED, COMPLETED, FAILED, drop_tasks, name_of, run_task


def fail(exc: BaseException) -> None:
    raise exc


def divide_by_zero() -> None:
    _ = 1 / 0


def future_task(function: Any, *args: Any) -> tuple[Future[Any], Any]:
    future: Future[Any] = Future()
    return future, (future, function, args, {}, 0.0)


def test_the_result_and_the_error_go_to_the_future() -> None:
    future, task = future_task(abs, -1)
    assert run_task(task) is COMPLETED
    assert future.result() == 1
    future, task = future_task(fail, SystemExit(3))
    assert run_task(task) is FAILED
    with pytest.raises(SystemExit):
        future.result()


def test_a_cancelled_future_does_not_run() -> None:
    future, task = future_task(fail, ValueError())
    future.cancel()
    assert run_task(task) is CANCELLED


@pytest.mark.parametrize("exc", [ValueError("why"), SystemExit("why"), KeyboardInterrupt("why")])
def test_a_post_that_raises_is_logged_once_with_its_traceback(
    exc: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    assert run_task((None, fail, (exc,), None, 0.0)) is FAILED
    (record,) = caplog.records
    assert record.name == "mooring.threads"
    assert record.getMessage().startswith("fail raised")
    assert "why" in caplog.text
    assert "Traceback" in caplog.text


def test_a_callback_that_raises_system_exit_ends_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    future, task = future_task(abs, -1)
    future.add_done_callback(lambda _: fail(SystemExit("from a callback")))
    run_task(task)
    assert future.result() == 1
    assert "from a callback" in caplog.text


def test_a_failed_future_is_freed_without_the_garbage_collector() -> None:
    gc.disable()
    try:
        future, task = future_task(divide_by_zero)
        assert run_task(task) is FAILED
        gone = weakref.ref(future)
        del future, task
        assert gone() is None
    finally:
        gc.enable()


def test_dropped_tasks_are_cancelled_and_who_waits_for_them_learns_of_it() -> None:
    future, task = future_task(abs, -1)
    assert drop_tasks([task, (None, abs, (-1,), None, 0.0)]) == 1
    assert wait([future], timeout=5, return_when=FIRST_COMPLETED).done == {future}
    with pytest.raises(CancelledError):
        future.result()


def test_dropped_tasks_fail_with_the_reason_unless_they_were_cancelled_before() -> None:
    failed, task = future_task(abs, -1)
    cancelled, other = future_task(abs, -1)
    cancelled.cancel()
    drop_tasks([task, other], OSError("broken"))
    assert str(failed.exception()) == "broken"
    assert cancelled.cancelled()


def test_anything_callable_has_a_name() -> None:
    class Callable:
        def __call__(self) -> None: ...

    assert name_of(fail) == "fail"
    assert name_of(Callable()).endswith("Callable")
