"""Tasks in order, each with the memory that it will need."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

# How often a worker may die over one task before the task fails.
ALLOWED_DEATHS = 2
# How many tasks may overtake one that waits for memory.
_OVERTAKERS = 32


@dataclass
class Item:
    """One task on its way.

    Attributes
    ----------
    need_bytes : int
        Memory that it will need.
    deaths : int
        How often a worker died over it.
    """

    task: Any
    need_bytes: int
    deaths: int = 0


class Queue:
    """Tasks in order; one that does not fit waits, and few may overtake it.

    Parameters
    ----------
    tasks : sequence
    need_bytes : callable
        Asked once a task, when its turn comes: it may read the task's files.
    """

    def __init__(self, tasks: Sequence[Any], need_bytes: Callable[[Any], int]) -> None:
        self._rest = iter(tasks)
        self._left = len(tasks)
        self._need = need_bytes
        self._waiting: deque[Item] = deque()
        self._overtaken = 0

    def __len__(self) -> int:
        return self._left

    def take(self, free_bytes: int, *, alone: bool) -> Item | None:
        """Next task that fits into the free memory; any, if nothing else runs."""
        item = self._next(free_bytes, alone)
        self._left -= item is not None
        return item

    def _next(self, free_bytes: int, alone: bool) -> Item | None:
        if self._waiting and (alone or self._waiting[0].need_bytes <= free_bytes):
            self._overtaken = 0
            return self._waiting.popleft()
        while self._overtaken < _OVERTAKERS:
            task = next(self._rest, None)
            if task is None:
                return None
            item = Item(task, self._need(task))
            if item.need_bytes <= free_bytes or (alone and not self._waiting):
                self._overtaken += bool(self._waiting)
                return item
            self._waiting.append(item)
            self._overtaken += 1
        return None

    def again(self, item: Item) -> None:
        """Put back a task whose worker died: it goes first, and alone, should memory be why."""
        self._left += 1
        self._waiting.appendleft(Item(item.task, sys.maxsize, item.deaths + 1))
