"""Overlays of made-up curators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from uls_data.errata.evidence import REJECTED, evidence_of

SEEN = "a" * 64


def verdict(voi_id: str, word: str, reason: str = "", **more: Any) -> dict[str, Any]:
    """A verdict of triage, as YAML has it."""
    drop = word == REJECTED
    before = more.get("before", SEEN)
    return {
        "kind": "drop" if drop else "note",
        "source": "own",
        "voi_id": voi_id,
        "layer": "annotated",
        "reason": reason or word,
        "evidence": evidence_of(word, reason),
        "author": "ann",
        "date": "2026-03-01",
        "before": before,
        **({} if drop else {"after": before}),
        **more,
    }


def replaced(voi_id: str, patch: str, after: str, **more: Any) -> dict[str, Any]:
    """An edited mask."""
    said = {"kind": "replace", "reason": "leak", "evidence": "edited in triage, over the image"}
    return verdict(voi_id, "accepted") | said | {"patch": patch, "after": after} | more


def write_curator(path: Path, *corrections: dict[str, Any]) -> Path:
    content = {"name": path.stem, "title": "Verdicts", "corrections": list(corrections)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path
