"""How long a task may take: one that hangs is named, then stopped, and the others continue."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")
# How often somebody looks at the time.
LOOK_S = 2.0
# Share of its time after which a task is named.
_SLOW_SHARE = 0.25
# A longer pause between two looks is this process's own (Ctrl-Z, a laptop asleep).
_PAUSE_S = 10 * LOOK_S
_LOG = logging.getLogger("uls_data")


@dataclass(frozen=True)
class Patience(Generic[T, R]):
    """How long tasks may take.

    Attributes
    ----------
    seconds : callable
        Most seconds of a task.
    name : callable
        What to call it.
    overdue : callable
        Result of a task that took longer, from the task and words about it.
    """

    seconds: Callable[[T], float]
    name: Callable[[T], str]
    overdue: Callable[[T, str], R]


@dataclass
class Watch:
    """Times the tasks that run, each by a key.

    Parameters
    ----------
    patience : Patience or None
        Without it nothing is ever overdue.
    """

    patience: Patience[Any, Any] | None
    _began: dict[Any, tuple[float, float, Any]] = field(default_factory=dict)
    _named: set[Any] = field(default_factory=set)
    _looked: float = field(default_factory=lambda: time.monotonic())

    def begin(self, key: Any, task: Any) -> None:
        """Start the clock of a task."""
        if self.patience is not None:
            self._began[key] = time.monotonic(), self.patience.seconds(task), task

    def end(self, key: Any) -> None:
        """Stop it."""
        self._began.pop(key, None)
        self._named.discard(key)

    def overdue(self) -> list[tuple[Any, Any]]:
        """Return (key, result) of tasks that took too long, and name those that are slow."""
        now = time.monotonic()
        pause, self._looked = now - self._looked, now
        if self.patience is None:
            return []
        if pause > _PAUSE_S:
            self._began = {key: (at + pause, *rest) for key, (at, *rest) in self._began.items()}
        found = []
        for key, (began, most, task) in self._began.items():
            took = now - began
            if took > most:
                detail = (
                    f"took more than {most:.0f} s and was stopped; the same command tries it "
                    "again, --case-timeout gives it longer"
                )
                found.append((key, self.patience.overdue(task, detail)))
            elif took > _SLOW_SHARE * most and key not in self._named:
                self._named.add(key)
                name = self.patience.name(task)
                _LOG.warning("%s: at work for %.0f s, stopped after %.0f s", name, took, most)
        return found
