"""Progress of the loop's stages."""

from __future__ import annotations

from typing import Any, Protocol


class Stage(Protocol):
    """Told how far one stage is; `uls_data.cli.progress_bar.Progress` is one."""

    def begin(self, total: int, done: int = 0) -> None:
        """Start with `total` things, of which `done` were finished before."""

    def step(self, cases: int, things: int) -> None:
        """Count finished things."""

    def end(self) -> None:
        """Stop."""


class Told:
    """Callbacks of `train` and `predict` for a stage, or for nobody."""

    def __init__(self, stage: Stage | None) -> None:
        self._stage = stage

    def steps(self) -> dict[str, Any]:
        """Return the callbacks of `train`."""
        if self._stage is None:
            return {}
        stage = self._stage
        return {
            "started": stage.begin,
            "progress": lambda count, _loss: stage.step(count, count),
        }

    def vois(self) -> dict[str, Any]:
        """Return the callbacks of `predict`."""
        if self._stage is None:
            return {}
        stage = self._stage
        return {"started": stage.begin, "progress": lambda count: stage.step(count, count)}

    def end(self) -> None:
        """Stage is over."""
        if self._stage is not None:
            self._stage.end()
