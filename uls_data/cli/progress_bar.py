"""How far a command is: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from typing import Any, Self

import click

# The rate is put behind the bar: tqdm's own is hard to read below one per second.
_BAR = "{percentage:3.0f}%|{bar}| {n_fmt} of {total_fmt}{unit} [{elapsed}<{remaining}{postfix}]"
_BEFORE = "{desc} [{elapsed}]"
# Between two drawings of a bar, whether anything is finished or not.
_TICK_S = 0.5
_LINE_S = 30.0
# The rate is that of the last so many seconds.
_WINDOW_S = 60.0


def rate_text(things: int, seconds: float, unit: str) -> str:
    """Say how fast it goes: things a second, or seconds a thing where that is the larger number.

    Parameters
    ----------
    unit : str
        A plural, such as `lesions`.
    """
    if 0 < things < seconds:
        return f"{seconds / things:.1f} s per {unit.removesuffix('s')}"
    return f"{things / seconds:.1f} {unit}/s"


class Progress:
    """A bar on a terminal; elsewhere one plain line every half minute.

    A context manager: the bar is removed at its end, whatever happens. It shows that something is
    at work before the first thing is finished, and before it is known how many there are.

    Parameters
    ----------
    unit : str
        What is made, such as `lesions`.
    steps : str
        What is worked through, such as `cases`.
    """

    def __init__(self, unit: str, steps: str = "cases") -> None:
        self.unit, self.steps = unit, steps
        self.things = 0
        self.cases = self.before = self.total = 0
        self.start = self.said = time.monotonic()
        self._recent: deque[tuple[float, int]] = deque()
        self._bar: Any = None
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._ticker: threading.Thread | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._show(bar_format=_BEFORE, desc=f"looking for {self.steps}")
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def begin(self, total: int, done: int = 0) -> None:
        """Start with `total` cases, of which `done` were finished before."""
        self.total, self.cases, self.before = total, done, done
        self.start = self.said = time.monotonic()
        self._recent.clear()
        self._recent.append((self.start, self.things))
        self._close()
        if sys.stderr.isatty() and total > done:
            self._show(bar_format=_BAR, total=total, initial=done, unit=f" {self.steps}")

    def step(self, cases: int, things: int) -> None:
        """Count finished cases and things."""
        now = time.monotonic()
        with self._lock:
            self.cases += cases
            self.things += things
            self._recent.append((now, self.things))
            # The window is counted from the last entry before it.
            while len(self._recent) > 2 and self._recent[1][0] < now - _WINDOW_S:
                self._recent.popleft()
            if self._bar is not None:
                self._bar.set_postfix_str(self.rate(now), refresh=False)
                self._bar.update(cases)
                return
        if now - self.said > _LINE_S:
            self.said = now
            done = self.cases - self.before
            seconds = now - self.start
            left = seconds / done * (self.total - self.cases) if done > 0 else None
            when = "" if left is None else f", {left / 60:.0f} min left"
            click.echo(
                f"{self.cases} of {self.total} {self.steps}, {self.rate(now)}{when}", err=True
            )

    def end(self) -> None:
        """Remove the bar."""
        self._ended.set()
        if self._ticker is not None:
            self._ticker.join()
        self._close()

    def rate(self, now: float) -> str:
        """Say how fast it goes, by what was finished lately."""
        since, before = self._recent[0] if self._recent else (self.start, 0)
        if self.things == before:
            since, before = self.start, 0
        return rate_text(self.things - before, max(now - since, 1e-6), self.unit)

    def _show(self, **shape: Any) -> None:
        from tqdm import tqdm

        with self._lock:
            self._bar = tqdm(file=sys.stderr, leave=False, **shape)
            if "total" in shape:
                # Until the first is done, a bar at 0 looks like one that hangs.
                self._bar.set_postfix_str(f"the first {self.steps} are at work")
        if self._ticker is None:
            self._ticker = threading.Thread(target=self._tick, name="progress", daemon=True)
            self._ticker.start()

    def _close(self) -> None:
        with self._lock:
            if self._bar is not None:
                self._bar.close()
                self._bar = None

    def _tick(self) -> None:
        while not self._ended.wait(_TICK_S):
            with self._lock:
                if self._bar is not None:
                    self._bar.refresh()
