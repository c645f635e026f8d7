"""Overlays of several people become one; what they differ on is named, and decided by a third."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from makers.curators import SEEN, replaced, verdict, write_curator
from makers.labels import correction as of_labels
from makers.labels import cube, put_patch, replacement, write_out, write_overlay

from uls_data.cli import main
from uls_data.errata import ErrataError, apply_errata, check_errata, load_overlay, merge_errata

EDITED, OTHER = "b" * 64, "c" * 64


def said(path: Path) -> list[tuple[str, str, str]]:
    found = load_overlay(path).corrections
    return [(one.voi_id, one.kind.value, one.reason) for one in found]


def test_what_stands_together_is_merged(tmp_path: Path) -> None:
    ann = write_curator(
        tmp_path / "ann.yaml",
        verdict("a", "accepted"),
        verdict("b", "rejected", "leak"),
        verdict("c", "accepted"),
        verdict("d", "noted"),
        verdict("e", "rejected", "leak"),
    )
    ben = write_curator(
        tmp_path / "ben.yaml",
        verdict("a", "accepted", author="ben"),
        verdict("b", "rejected", "shifted", author="ben"),
        verdict("c", "rejected", "leak", author="ben"),
        verdict("d", "rejected", "leak", author="ben"),
        verdict("f", "noted", "wrong type", author="ben"),
    )
    report = merge_errata([ann, ben], tmp_path / "both.yaml")
    assert said(report.path) == [
        ("a", "note", "accepted"),
        ("a", "note", "accepted"),
        ("b", "drop", "leak"),
        ("d", "note", "noted"),
        ("d", "drop", "leak"),
        ("e", "drop", "leak"),
        ("f", "note", "wrong type"),
    ]
    assert report.vois == {"agreed": 3, "one curator": 2}
    (conflict,) = report.conflicts
    assert (conflict.voi_id, conflict.words) == ("c", "ann: accepted; ben: rejected (leak)")
    assert report.overlay.title == "Merged from ann, ben"
    first = report.path.read_bytes()
    merge_errata([ann, ben], report.path)
    assert report.path.read_bytes() == first


def test_a_decision_wins(tmp_path: Path) -> None:
    ann = write_curator(tmp_path / "ann.yaml", verdict("a", "accepted"), verdict("b", "accepted"))
    ben = write_curator(tmp_path / "ben.yaml", *(verdict(v, "rejected", "leak") for v in "ab"))
    chair = write_curator(tmp_path / "chair.yaml", verdict("a", "accepted", author="chair"))
    report = merge_errata([ann, ben], tmp_path / "both.yaml", decisions=[chair])
    assert [one.voi_id for one in report.conflicts] == ["b"]
    assert [(c.voi_id, c.author) for c in report.overlay.corrections] == [("a", "chair")]
    # Also over what the curators agreed on, and where only one had said something.
    write_curator(tmp_path / "ben.yaml", verdict("a", "accepted"))
    write_curator(tmp_path / "chair.yaml", *(verdict(v, "rejected", author="chair") for v in "ab"))
    report = merge_errata([ann, ben], tmp_path / "both.yaml", decisions=[chair])
    assert said(report.path) == [("a", "drop", "rejected"), ("b", "drop", "rejected")]
    assert report.vois == {"decided": 2} and report.overlay.title.endswith("; decided by chair")
    # A bare note of the chair decides nothing.
    write_curator(tmp_path / "chair.yaml", verdict("a", "noted", author="chair"))
    report = merge_errata([ann, ben], tmp_path / "both.yaml", decisions=[chair])
    assert report.vois == {"agreed": 1, "one curator": 1}
    other = write_curator(tmp_path / "other.yaml", verdict("a", "rejected"))
    write_curator(tmp_path / "chair.yaml", verdict("a", "accepted"))
    with pytest.raises(ErrataError, match="the decisions on a differ: chair: accepted; other: rej"):
        merge_errata([ann, ben], tmp_path / "both.yaml", decisions=[chair, other])


def test_edits_bring_their_patches_and_what_follows_them(tmp_path: Path) -> None:
    patch, second = (put_patch(tmp_path / "ann", data) for data in (b"one", b"two"))
    put_patch(tmp_path / "ben", b"two")
    edits = write_curator(
        tmp_path / "ann" / "ann-edits.yaml",
        replaced("a", patch, EDITED),
        replaced("b", patch, EDITED),
        replaced("c", second, OTHER),
    )
    ann = write_curator(tmp_path / "ann" / "ann.yaml", verdict("a", "accepted", before=EDITED))
    ben = write_curator(
        tmp_path / "ben" / "ben.yaml", verdict("b", "accepted"), replaced("c", second, OTHER)
    )
    report = merge_errata([edits, ann, ben], tmp_path / "all" / "all.yaml")
    assert [one.voi_id for one in report.conflicts] == ["b"], "edited, or right as it was"
    found = [(c.voi_id, c.kind.value, c.after) for c in report.overlay.corrections]
    assert found == [("a", "replace", EDITED), ("a", "note", EDITED), ("c", "replace", OTHER)]
    held = {path.name: path.read_bytes() for path in (tmp_path / "all" / "patches").iterdir()}
    assert held == {f"{patch}.nii.gz": b"one", f"{second}.nii.gz": b"two"}
    (tmp_path / "ann" / "patches" / f"{patch}.nii.gz").write_bytes(b"another")
    with pytest.raises(ErrataError, match="is not the file of its name"):
        merge_errata([edits, ann], tmp_path / "more" / "more.yaml")
    (tmp_path / "ann" / "patches" / f"{patch}.nii.gz").unlink()
    with pytest.raises(ErrataError, match=r"no patches/.* beside ann-edits\.yaml"):
        merge_errata([edits, ann], tmp_path / "more" / "more.yaml")
    assert not (tmp_path / "more" / "more.yaml").exists()


def test_decisions_on_different_masks_conflict(tmp_path: Path) -> None:
    ann = write_curator(tmp_path / "ann.yaml", verdict("a", "accepted"))
    ben = write_curator(tmp_path / "ben.yaml", verdict("a", "accepted", before=OTHER))
    third = write_curator(tmp_path / "third.yaml", verdict("a", "noted", before=OTHER))
    assert merge_errata([ann, ben], tmp_path / "both.yaml").conflicts
    assert merge_errata([ann, third], tmp_path / "both.yaml").conflicts


def test_merged_corrections_apply(tmp_path: Path) -> None:
    old, new = cube(8), cube(6)
    write_out(tmp_path / "out", {(number, "annotated"): old for number in (1, 2, 3)})
    seen = {"evidence": "seen in triage: accepted", "reason": "accepted"}
    ann = write_overlay(
        tmp_path / "ann.yaml",
        replacement(1, old, new, tmp_path),
        of_labels("drop", 2, old),
        of_labels("note", 3, old, **seen),
    )
    ben = write_overlay(
        tmp_path / "ben.yaml",
        of_labels("note", 1, new, **seen),
        of_labels("note", 2, old),
        of_labels("note", 3, old, **seen),
    )
    report = merge_errata([ann, ben], tmp_path / "merged" / "both.yaml")
    assert report.conflicts == ()
    outcomes = [v.outcome for v in check_errata(report.path, tmp_path / "out")]
    assert outcomes == ["fits"] * 6
    rows = apply_errata(report.path, tmp_path / "out").rows
    assert [row["status"] for row in rows] == ["ok", "skipped", "ok"]


def test_what_is_refused(tmp_path: Path) -> None:
    ann = write_curator(tmp_path / "ann.yaml", verdict("a", "accepted"))
    with pytest.raises(ErrataError, match="is one of the overlays"):
        merge_errata([ann], ann)
    mine = write_curator(tmp_path / "mine.yaml", verdict("z", "accepted"))
    with pytest.raises(ErrataError, match="holds an overlay that was not merged"):
        merge_errata([ann], mine)
    with pytest.raises(ErrataError, match=r"--out .*name"):
        merge_errata([ann], tmp_path / "Both.yaml")
    with pytest.raises(ErrataError, match="have the same name"):
        merge_errata([ann], tmp_path / "both.yaml", decisions=[ann])
    assert SEEN in mine.read_text()


def test_command(tmp_path: Path, capsys: Any) -> None:
    def run(*arguments: Any) -> tuple[int, str]:
        with pytest.raises(SystemExit) as caught:
            main(["errata", "merge", *map(str, arguments), "--out", str(tmp_path / "both.yaml")])
        return int(caught.value.code or 0), capsys.readouterr().out

    ann = write_curator(tmp_path / "ann.yaml", verdict("a", "accepted"))
    ben = write_curator(tmp_path / "ben.yaml", verdict("a", "rejected", "leak"))
    code, text = run(ann, ben)
    assert code == 1 and "ann: accepted; ben: rejected (leak)" in text and "VOIs: none" in text
    chair = write_curator(tmp_path / "chair.yaml", verdict("a", "rejected", "leak"))
    code, text = run(ann, ben, "--decision", chair)
    assert code == 0 and "VOIs: 1 decided" in text
    code, text = run(ann, ben, "--json")
    assert code == 1
    assert [json.loads(line)["kind"] for line in text.splitlines()] == ["conflict", "summary"]
