"""Two curators judge the same build; a third decides where they differ."""

from __future__ import annotations

from pathlib import Path

from makers.builds import ball
from makers.editable import voi_id, write_editable

from uls_data.errata import (
    apply_errata,
    check_errata,
    compare_errata,
    load_overlay,
    merge_errata,
    take_edit,
)
from uls_data.errata.mask import patch_file
from uls_data.io import sha256_voxels
from uls_data.triage import triage_server
from uls_data.triage.editing import runs_of

SMALLER = ball(5.0)


def test_from_verdicts_to_one_corrected_build(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_editable(out, 3)
    ann, ben, chair = (tmp_path / f"{name}.yaml" for name in ("ann", "ben", "chair"))
    with triage_server(out, overlay=ann, author="ann") as server:
        server.judge([0], "rejected", reason="leak")
        body = {"number": 1, "before": server.lesions.subject(1).sha256, "reason": "too large"}
        server.edit(body | {"runs": runs_of(SMALLER != 0)})
        server.judge([1, 2], "accepted")
    with triage_server(out, overlay=ben, author="ben") as server:
        server.judge([0], "noted", reason="wrong type")
        server.judge([1, 2], "accepted")
    everything = merge_errata([tmp_path / "ann-edits.yaml", ann], tmp_path / "ann-all.yaml")
    assert everything.conflicts == ()

    differ = tmp_path / "differ.csv"
    found = compare_errata([everything.path, ben], to_list=differ)
    assert [one.voi_id for one in found.disagreements] == [voi_id(0), voi_id(1)]
    decision, *_ = found.agreements[0].kappas
    assert (decision.n, decision.observed) == (3, 1 / 3)

    with triage_server(out, listed=differ, overlay=chair, author="chair") as server:
        assert len(server.lesions) == 2
        words = [*server.voi(0)["why"]]
        assert words == ["disagreement: ann-all: rejected (leak); ben: noted (wrong type)"]
        server.judge([0], "rejected", reason="leak")
    # The chair takes Ann's mask as it is.
    patch = load_overlay(tmp_path / "ann-edits.yaml").corrections[0].patch
    file = patch_file(tmp_path / "ann-edits.yaml", str(patch))
    said = {"author": "chair", "reason": "Ann's border"}
    take_edit(file, out, voi_id=voi_id(1), overlay=chair, **said)

    merged = merge_errata([everything.path, ben], tmp_path / "both.yaml", decisions=[chair])
    assert merged.conflicts == () and merged.vois == {"decided": 2, "agreed": 1}
    assert {v.outcome for v in check_errata(merged.path, out)} == {"fits"}
    rows = {row["voi_id"]: row for row in apply_errata(merged.path, out).rows}
    assert rows[voi_id(0)]["reason"] == "erratum_drop"
    assert rows[voi_id(1)]["label_voxels_sha256"] == sha256_voxels(SMALLER)
    assert rows[voi_id(2)]["status"] == "ok"
    assert "Ann's border | evidence: edited in another program" in str(rows[voi_id(1)]["detail"])
