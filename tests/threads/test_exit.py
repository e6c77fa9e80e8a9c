"""What becomes of pools when the interpreter ends, or the process forks: each in a process of its own."""

import time

from processes import PythonProcess, run_python

BEGIN = """
import os, sys, threading, time
from mooring.threads import ThreadPool
stuck = threading.Event()
begun = threading.Event()
def hang():
    begun.set()
    stuck.wait()
def say(text):
    time.sleep(0.02)
    os.write(1, text.encode() + b"\\n")
"""


def test_what_was_accepted_is_completed_at_exit() -> None:
    output = run_python(BEGIN + "pool = ThreadPool(2)\nfor n in range(20): pool.submit(say, f'task {n}')")
    assert sorted(output.split("\n")[:-1]) == sorted(f"task {n}" for n in range(20))


def test_a_pool_that_is_paused_at_exit_is_resumed_even_if_it_never_had_a_thread() -> None:
    output = run_python(BEGIN + "pool = ThreadPool(2)\npool.pause()\npool.post(say, 'done')")
    assert output == "done\n"


def test_other_threads_can_use_their_pool_after_the_main_thread_has_ended() -> None:
    code = """
pool = ThreadPool(1)
pool.post(say, 'first')
def late():
    threading.main_thread().join()
    print(pool.submit(lambda: 'late').result())
threading.Thread(target=late).start()
"""
    assert sorted(run_python(BEGIN + code).split()) == ["first", "late"]


def test_a_task_that_submits_while_the_interpreter_ends_is_told() -> None:
    code = """
pool = ThreadPool(1)
def submits():
    while True:
        try: pool.submit(abs, -1)
        except RuntimeError as exc: return say(str(exc))
        time.sleep(0.005)
pool.post(submits)
"""
    assert "after interpreter shutdown" in run_python(BEGIN + code)


def test_an_abandoned_pool_cannot_keep_the_process() -> None:
    code = """
pool = ThreadPool(2)
pool.post(hang); begun.wait()
pool.post(say, 'runs')
time.sleep(0.01)
pool.shutdown(wait=False, cancel_futures=True)
"""
    output = run_python("import mooring.threads.staff\nmooring.threads.staff.ABANDONED_PATIENCE = 0.3" + BEGIN + code)
    assert "1 running and 0 queued tasks" in output


def test_a_pool_shut_down_without_waiting_is_waited_for_while_it_moves_and_then_given_up() -> None:
    code = """
import mooring.threads.staff
mooring.threads.staff.EXIT_PATIENCE = 0.3
pool = ThreadPool(2)
pool.post(hang); begun.wait()
for n in range(25): pool.post(say, 'moves')
pool.shutdown(wait=False)
"""
    output = run_python(BEGIN + code)
    assert output.count("moves") == 25
    assert "exit abandons thread pool ThreadPool-0" in output
    assert "1 running and 0 queued tasks" in output


def test_a_pool_that_is_still_open_is_waited_for_as_long_as_it_takes() -> None:
    code = """
import mooring.threads.staff
mooring.threads.staff.EXIT_PATIENCE = 0.01
pool = ThreadPool(1)
pool.post(hang); begun.wait()
print('main ends')
"""
    with PythonProcess("-c", BEGIN + code) as process:
        process.wait_for_line("main ends")
        time.sleep(0.3)  # there is no event for a process that does not end
        assert process.returncode is None


def test_idle_pools_do_not_delay_the_exit() -> None:
    code = """
pools = [ThreadPool(1, 4) for _ in range(5)]
for pool in pools: pool.submit(abs, -1).result()
for pool in pools[1:3]: pool.pause()
print('end')
"""
    assert run_python(BEGIN + code) == "end\n"


FORK = """
import warnings
warnings.simplefilter('ignore', DeprecationWarning)  # Python calls it risky to fork with threads: just that is tried
def in_child(check):
    pid = os.fork()
    if not pid:
        code = 1
        try:
            check()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
"""


def test_the_pool_of_a_forked_child_starts_empty_and_works() -> None:
    code = """
pool = ThreadPool(2, 4)
for _ in range(2): pool.post(hang)
begun.wait()
for n in range(50): pool.post(say, 'of the parent')
def check():
    assert pool.stats().size == pool.stats().queued == 0, pool.stats()
    assert pool.submit(abs, -3).result(10) == 3
    pool.shutdown()
in_child(check)
stuck.set()
pool.shutdown()
"""
    assert run_python(BEGIN + FORK + code) == "of the parent\n" * 50


def test_a_task_that_forks_goes_on_in_the_child() -> None:
    code = """
pool = ThreadPool(1)
def check():
    assert pool.stats().busy == 1, pool.stats()
    assert pool.adjust() == 1
    pool.post(abs, -1)
    assert pool.stats().queued == 1
def task():
    in_child(check)
pool.submit(task).result()
print('ok')
"""
    assert run_python(BEGIN + FORK + code) == "ok\n"
