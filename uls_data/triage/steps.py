"""Steps of a curator that can be taken back, also after a crash."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from uls_data.io.journal import Journal

Key = tuple[str, str]
# What the overlay says about each VOI, as text; None: nothing.
Texts = Mapping[Key, str | None]
# A journal that is longer is written again with the steps that count.
_LONGEST_BYTES = 1 << 25


class Step(NamedTuple):
    """One change of verdicts.

    Attributes
    ----------
    name : str
        In the journal; empty where it is not there.
    before : dict of Key to str or None
        What it replaced.
    """

    name: str
    before: dict[Key, str | None]


class Steps:
    """The steps behind an overlay, in a journal beside it.

    The overlay alone says what was decided: a step that does not lead to what is there, because
    a crash came between or somebody edited the file, is not one. Several processes may add steps,
    each with the overlay locked.

    Parameters
    ----------
    path : Path
        JSON lines; made with the first step.
    """

    def __init__(self, path: Path) -> None:
        self._journal = Journal(path)
        self._run, self._count = secrets.token_hex(4), 0
        self._done: list[Step] = []

    def __bool__(self) -> bool:
        return bool(self._done)

    @property
    def last(self) -> Step:
        """Step to take back next."""
        return self._done[-1]

    def recall(self, now: Mapping[Key, str]) -> None:
        """Take the steps that led to what the overlay says.

        What is there without a step, as in an overlay whose journal is gone, is a step for each
        VOI.

        Parameters
        ----------
        now : dict of Key to str
            Verdicts of the overlay, in their order.
        """
        told: dict[str, tuple[dict[Key, str | None], str]] = {}
        for _, line in self._journal.lines():
            match line:
                case {"step": str(name), "before": [*rows], "after": str(digest)}:
                    if (texts := _texts(rows)) is not None:
                        told[name] = texts, digest
                case {"undone": str(name)}:
                    told.pop(name, None)
        state: dict[Key, str | None] = {**now}
        found = []
        for name, (before, after) in reversed(told.items()):
            if _digest({key: state.get(key) for key in before}) == after:
                state |= before
                found.append(Step(name, before))
        alone = [Step("", {key: None}) for key in now if state[key] is not None]
        self._done = alone + found[::-1]
        if self._journal.is_file() and self._journal.path.stat().st_size > _LONGEST_BYTES:
            self._journal.rewrite(_line(step, told[step.name][1]) for step in found[::-1])

    @contextmanager
    def adding(self, before: dict[Key, str | None], after: Texts) -> Iterator[None]:
        """Add a step; the overlay is written inside. After a crash there, it leads nowhere."""
        self._count += 1
        step = Step(f"{self._run}-{self._count}", before)
        self._add(_line(step, _digest(after)))
        yield
        self._done.append(step)

    def undone(self) -> None:
        """Forget the last step, after the overlay is written."""
        name = self._done.pop().name
        if name:
            self._add({"undone": name})

    def _add(self, line: dict[str, Any]) -> None:
        self._journal.add(line)
        # Another process may write the next one.
        self._journal.close()


def _line(step: Step, after: str) -> dict[str, Any]:
    before = [[*key, text] for key, text in step.before.items()]
    return {"step": step.name, "before": before, "after": after}


def _texts(before: list[Any]) -> dict[Key, str | None] | None:
    """Read `before` of a line; None where it is not that."""
    found: dict[Key, str | None] = {}
    for one in before:
        match one:
            case [str(source), str(voi_id), str() | None as text]:
                found[source, voi_id] = text
            case _:
                return None
    return found


def _digest(texts: Texts) -> str:
    content = json.dumps(sorted([*key, text or ""] for key, text in texts.items()))
    return hashlib.sha256(content.encode()).hexdigest()
