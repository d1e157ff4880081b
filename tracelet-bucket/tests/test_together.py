"""Requests at the same time."""

from __future__ import annotations

import threading

import pytest

from tracelet_bucket.together import each


def test_nobody_waits_for_requests_that_hang_when_another_has_failed() -> None:
    """Nor does the end of the process, which waits for threads that are no daemons."""
    answers = threading.Event()

    def ask(number: int) -> bool:
        if number == 0:
            raise ConnectionError
        return answers.wait()

    before = set(threading.enumerate())
    with pytest.raises(ConnectionError):
        list(each(ask, range(5)))
    left = set(threading.enumerate()) - before
    assert left
    assert all(thread.daemon for thread in left)
    answers.set()
    for thread in left:
        thread.join()


def test_answers_come_in_the_order_of_what_was_asked_and_a_few_are_asked_at_a_time() -> None:
    lock, now, most = threading.Lock(), 0, 0

    def ask(number: int) -> int:
        nonlocal now, most
        with lock:
            now, most = now + 1, max(most, now + 1)
        with lock:
            now -= 1
        return number

    assert list(each(ask, range(200), 3)) == list(range(200))
    assert most <= 3
