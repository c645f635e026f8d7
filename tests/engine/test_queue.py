"""Which task comes next: every task once, none before its memory is free, none forever late."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from uls_data.engine.queue import Item, Queue

needs = st.lists(st.integers(0, 20), max_size=80)


@given(needs=needs, budget=st.integers(1, 20), places=st.integers(1, 5), data=st.data())
def test_every_task_once_and_never_more_memory_than_there_is(
    needs: list[int], budget: int, places: int, data: st.DataObject
) -> None:
    queue = Queue(list(enumerate(needs)), lambda task: task[1])
    running: list[Item] = []
    ended = []
    while queue or running:
        taken = sum(item.need_bytes for item in running)
        while len(running) < places:
            item = queue.take(budget - taken, alone=not running)
            if item is None:
                break
            running.append(item)
            taken += item.need_bytes
        assert running, "tasks wait, and nothing runs"
        assert taken <= budget or len(running) == 1
        ended.append(running.pop(data.draw(st.integers(0, len(running) - 1))).task[0])
    assert sorted(ended) == list(range(len(needs)))


def test_a_task_that_waits_is_overtaken_by_few() -> None:
    queue = Queue([50, *([1] * 200)], lambda task: task)
    first = queue.take(10, alone=False)
    assert first is not None and first.task == 1
    overtakers = 1
    while queue.take(10, alone=False) is not None:
        overtakers += 1
    assert overtakers < 40
    waited = queue.take(0, alone=True)
    assert waited is not None and waited.task == 50


def test_memory_is_asked_for_once_and_late() -> None:
    asked: list[int] = []

    def need(task: int) -> int:
        asked.append(task)
        return task

    queue = Queue([1, 2, 3], need)
    assert asked == []
    assert queue.take(10, alone=True) and asked == [1]
    assert queue.take(1, alone=False) is None and asked == [1, 2, 3]
    assert queue.take(2, alone=False) and queue.take(3, alone=False) and asked == [1, 2, 3]


def test_a_task_that_killed_its_worker_goes_next_and_alone() -> None:
    queue = Queue(["a", "b"], lambda _: 1)
    item = queue.take(10, alone=True)
    assert item is not None and len(queue) == 1
    queue.again(item)
    assert len(queue) == 2
    other = queue.take(10, alone=False)
    assert other is not None and other.task == "b"  # it may overtake
    again = queue.take(10, alone=True)
    assert again is not None and (again.task, again.deaths) == ("a", 1)
    assert queue.take(10**9, alone=False) is None
