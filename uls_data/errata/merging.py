"""Overlays of several people as one, conflicts named, decisions on them taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import ValidationError

from uls_data.errata.kappa import Disagreement, conflict, disagreement, opinions_by_voi
from uls_data.errata.mask import copy_patch
from uls_data.errata.opinion import Key, Opinion, Opinions, read_opinions
from uls_data.errata.overlay import (
    Correction,
    ErrataError,
    Kind,
    Overlay,
    load_overlay,
    wrong_field,
)
from uls_data.io import write_bytes
from uls_data.io.lock import LOCK, locked

_TITLE = "Merged from "
ONE, AGREED, DECIDED = "one curator", "agreed", "decided"


@dataclass(frozen=True)
class MergeReport:
    """An overlay that was merged from others.

    Attributes
    ----------
    path : Path
    overlay : Overlay
    vois : dict of str to int
        VOIs by how they got in: `one curator`, `agreed`, `decided`.
    conflicts : tuple of Disagreement
        VOIs that are left out, because curators differ and nobody decided.
    """

    path: Path
    overlay: Overlay
    vois: dict[str, int]
    conflicts: tuple[Disagreement, ...]


def merge_errata(
    overlays: Sequence[str | Path], out: str | Path, *, decisions: Sequence[str | Path] = ()
) -> MergeReport:
    """Merge overlays; same inputs, same bytes.

    What one curator says alone is taken, and what several say alike, once. Where they differ the
    VOI is left out, unless a decision settles it: that wins, whatever the others say.

    Parameters
    ----------
    overlays : sequence of paths
        Of curators, or of one: a later overlay may continue from masks that an earlier one edits.
    out : path
        Overlay to write; the patches that it needs are copied beside it.
    decisions : sequence of paths
        Overlays of the person who adjudicates.

    Raises
    ------
    ErrataError
        Not overlays, two of one name, decisions that differ, a patch is missing, or `out` cannot be
        written or holds something else.
    """
    out = Path(out)
    voices = read_opinions([Path(path) for path in overlays])
    judges = read_opinions([Path(path) for path in decisions], least=0)
    files = {one.path.resolve() for one in (*voices, *judges)}
    if out.resolve() in files:
        raise ErrataError(f"--out {out}: is one of the overlays that are merged")
    _check_out(out)
    homes = {one.overlay.name: one.path for one in (*voices, *judges)}
    if len(homes) < len(voices) + len(judges):
        raise ErrataError("an overlay and a decision have the same name")
    decided = _decided(judges)
    kept: list[tuple[str, Correction]] = []
    conflicts, counts = [], Counter[str]()
    said = opinions_by_voi(voices)
    for key in sorted(said.keys() | decided.keys()):
        opinions = said.get(key, [])
        if key in decided:
            kept += decided[key]
            counts[DECIDED] += 1
        elif (joined := _together(opinions)) is None:
            conflicts.append(disagreement(opinions))
        else:
            kept += joined
            counts[AGREED if len(opinions) > 1 else ONE] += 1
    overlay = _overlay(out, voices, judges, [step for _, step in kept])
    try:
        with locked(out.parent / LOCK, str(out), wait=True):
            for name, step in kept:
                if step.patch is not None:
                    copy_patch(homes[name], out, step.patch)
            text = yaml.safe_dump(
                overlay.model_dump(mode="json", exclude_none=True),
                sort_keys=False,
                allow_unicode=True,
                width=100,
            )
            write_bytes(out, text.encode())
    except OSError as error:
        raise ErrataError(f"--out {out}: cannot be written: {error.strerror}") from error
    return MergeReport(out, overlay, dict(counts), tuple(conflicts))


def _check_out(out: Path) -> None:
    """Refuse to write over an overlay that people wrote."""
    if out.exists() and not load_overlay(out).title.startswith(_TITLE):
        raise ErrataError(f"--out {out}: holds an overlay that was not merged; name another file")


def _decided(judges: Sequence[Opinions]) -> dict[Key, list[tuple[str, Correction]]]:
    found = {}
    for key, opinions in opinions_by_voi(judges).items():
        if all(opinion.decision is None for opinion in opinions):
            continue
        joined = _together(opinions)
        if joined is None:
            words = "; ".join(opinion.words() for opinion in opinions)
            raise ErrataError(f"the decisions on {key[1]} differ: {words}")
        found[key] = joined
    return found


def _together(opinions: Sequence[Opinion]) -> list[tuple[str, Correction]] | None:
    """Corrections of opinions as one chain; None where they cannot stand together."""
    if conflict(opinions):
        return None
    chain: list[tuple[str, Correction]] = []
    for opinion in sorted(opinions, key=lambda one: one.decision is None):
        steps = [(opinion.overlay, step) for step in opinion.steps]
        if not chain:
            chain = steps
        elif opinion.before == chain[-1][1].after and (
            chain[-1][1].after != chain[0][1].before or _only_notes(opinion)
        ):
            chain += steps
        elif _only_notes(opinion):
            if opinion.before != chain[0][1].before:
                return None
            chain = steps + chain
        elif opinion.effect != Opinion("", tuple(step for _, step in chain)).effect:
            return None
    return chain


def _only_notes(opinion: Opinion) -> bool:
    return all(step.kind is Kind.NOTE for step in opinion.steps)


def _overlay(
    out: Path, voices: Sequence[Opinions], judges: Sequence[Opinions], steps: list[Correction]
) -> Overlay:
    title = _TITLE + ", ".join(one.overlay.name for one in voices)
    if judges:
        title += "; decided by " + ", ".join(one.overlay.name for one in judges)
    try:
        return Overlay(name=out.stem, title=title, corrections=tuple(steps))
    except ValidationError as error:
        raise ErrataError(f"--out {out}: {wrong_field(error)}") from error
