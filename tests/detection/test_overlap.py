"""Work in threads beside a loop: the same items and calls in the same order, and errors in their place."""

import threading

import pytest

from vad_pipeline.detection.overlap import Behind, ahead


def counted(made, stop=None):
    try:
        for number in range(20):
            if number == stop:
                raise ValueError("broken")
            made.append((number, threading.current_thread()))
            yield number
    finally:
        made.append(("closed", threading.current_thread()))


def test_items_are_made_by_another_thread_and_no_more_than_asked_for_wait():
    made, seen = [], []
    for item in ahead(counted(made), 3):
        seen.append(item)
        assert len(made) <= len(seen) + 3 + 1
    assert seen == list(range(20))
    assert threading.current_thread() not in {thread for _, thread in made}


def test_an_error_comes_after_the_items_before_it():
    items = ahead(counted([], stop=5), 3)
    assert [next(items) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="broken"):
        next(items)


def test_who_stops_early_closes_what_made_the_items():
    made = []
    items = ahead(counted(made), 2)
    next(items)
    items.close()
    assert made[-1][0] == "closed"
    assert len(made) < 6


def test_calls_are_made_in_order_and_the_loop_waits_where_too_many_are_open():
    free, done = threading.Event(), []
    behind = Behind(2)
    behind.do(free.wait)
    behind.do(done.append, 1)
    late = threading.Thread(target=lambda: [behind.do(done.append, n) for n in (2, 3)])
    late.start()
    assert done == []
    assert late.is_alive()
    free.set()
    late.join()
    behind.finish()
    assert done == [1, 2, 3]


def test_the_error_of_a_call_is_raised_at_the_end_at_the_latest():
    behind = Behind(4)
    behind.do(int, "no number")
    with pytest.raises(ValueError, match="no number"):
        behind.finish()
