"""Reports with their truth marked in them, and how well rows of `mine` meet it.

A measured lesion stands as ⟦text|axes in mm|series/image|type|previous axes|target⟧, its later
fields left out where there is nothing to say: ⟦12 x 8 mm|12x8|4/52|lung⟧. What is not marked is no
lesion of now.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

_MARK = re.compile(r"⟦([^|⟧]*)\|([^⟧]*)⟧")
FIELDS = ("size", "reference", "lesion_type", "previous", "target")


@dataclass(frozen=True)
class Truth:
    start: int
    end: int
    axes: tuple[float, ...]
    reference: tuple[int | None, int | None] | None = None
    lesion_types: frozenset[str] = frozenset()
    previous: tuple[float, ...] = ()
    target: str = "unknown"


@dataclass
class Score:
    """Counts per field: found and right, found, and there to be found."""

    right: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FIELDS, 0))
    found: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FIELDS, 0))
    there: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FIELDS, 0))
    # Confidence of every lesion found, and whether size, reference and type were right.
    judged: list[tuple[float, bool]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def precision(self, name: str) -> float:
        return self.right[name] / max(self.found[name], 1)

    def recall(self, name: str) -> float:
        return self.right[name] / max(self.there[name], 1)

    def ranks_errors(self) -> float:
        """Chance that a wrong row has less confidence than a right one (area under the curve)."""
        wrong = [belief for belief, right in self.judged if not right]
        fine = [belief for belief, right in self.judged if right]
        if not wrong or not fine:
            return 1.0
        better = sum((w < r) + (w == r) / 2 for w in wrong for r in fine)
        return better / (len(wrong) * len(fine))

    def lines(self) -> list[str]:
        return [
            f"{name:12} precision {self.precision(name):.3f} recall {self.recall(name):.3f} "
            f"({self.there[name]} there, {self.found[name]} found)"
            for name in FIELDS
        ]


def marked(text: str) -> tuple[str, list[Truth]]:
    """Report without its marks, and the truth that they told."""
    parts, truths, at, length = [], [], 0, 0
    for match in _MARK.finditer(text):
        parts.append(text[at : match.start()])
        length += match.start() - at
        at = match.end()
        fields = [*match[2].split("|"), "", "", "", ""]
        axes, reference, kind, previous, target = (part.strip() for part in fields[:5])
        said = match[1]
        truths.append(
            Truth(
                length,
                length + len(said),
                _axes(axes),
                _reference(reference),
                frozenset(kind.split("/")) - {""},
                _axes(previous),
                target or "unknown",
            )
        )
        parts.append(said)
        length += len(said)
    return "".join([*parts, text[at:]]), truths


def _axes(text: str) -> tuple[float, ...]:
    return tuple(sorted(float(part) for part in text.split("x"))) if text else ()


def _reference(text: str) -> tuple[int | None, int | None] | None:
    if not text or text == "-":
        return None
    series, image = text.split("/")
    return (None if series == "?" else int(series), None if image == "?" else int(image))


def add(score: Score, rows: Sequence[dict[str, Any]], truths: Sequence[Truth], name: str) -> None:
    """Count the rows of one report."""
    lesions = [row for row in rows if row["status"] == "ok"]
    used: set[int] = set()
    for truth in truths:
        _there(score, truth)
        at = next(
            (
                n
                for n, row in enumerate(lesions)
                if n not in used and row["start"] < truth.end and truth.start < row["end"]
            ),
            None,
        )
        if at is None:
            score.errors.append(f"{name} at {truth.start}: missed {truth.axes}")
            continue
        used.add(at)
        _judge(score, lesions[at], truth, name)
    for n, row in enumerate(lesions):
        if n not in used:
            score.found["size"] += 1
            score.found["reference"] += row["image_number"] is not None
            score.judged.append((row["confidence"], False))
            score.errors.append(f"{name} at {row['start']}: no lesion, found {row['text']!r}")


def _there(score: Score, truth: Truth) -> None:
    score.there["size"] += 1
    score.there["reference"] += truth.reference is not None
    score.there["lesion_type"] += bool(truth.lesion_types)
    score.there["previous"] += bool(truth.previous)
    score.there["target"] += truth.target != "unknown"


def _judge(score: Score, row: dict[str, Any], truth: Truth, name: str) -> None:
    score.found["size"] += 1
    names = ("long_axis_mm", "short_axis_mm", "third_axis_mm")
    axes = tuple(sorted(row[key] for key in names if row[key] is not None))
    checks = {"size": axes == truth.axes}
    said = (row["series_number"], row["image_number"])
    reference = None if said == (None, None) else said
    if reference is not None or truth.reference is not None:
        score.found["reference"] += reference is not None
        checks["reference"] = reference == truth.reference
    if truth.lesion_types and truth.lesion_types != {"*"}:
        score.found["lesion_type"] += row["lesion_type"] != "unknown"
        checks["lesion_type"] = row["lesion_type"] in truth.lesion_types
    elif truth.lesion_types:
        score.there["lesion_type"] -= 1
    was = [row[f"previous_{key}"] for key in names[:2] if row[f"previous_{key}"] is not None]
    if was or truth.previous:
        score.found["previous"] += bool(was)
        checks["previous"] = tuple(sorted(was)) == truth.previous[-2:]
    if row["target"] != "unknown" or truth.target != "unknown":
        score.found["target"] += row["target"] != "unknown"
        checks["target"] = row["target"] == truth.target
    for key, right in checks.items():
        score.right[key] += right
        if not right:
            score.errors.append(f"{name} at {row['start']}: {key} of {row['text']!r}: {row}")
    told = (right for key, right in checks.items() if key in ("size", "reference", "lesion_type"))
    score.judged.append((row["confidence"], all(told)))
