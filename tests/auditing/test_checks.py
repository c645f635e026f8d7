"""Which rows are put together, and which of the groups leak."""

from __future__ import annotations

from typing import Any

import pytest

from uls_data.auditing.checks import Match, Prints, findings
from uls_data.auditing.inspection import COLUMNS, flags_of, with_flags

SKETCH = tuple(range(100, 110))


def row(source: str, case: str, **changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = dict.fromkeys(COLUMNS)
    base |= {"source": source, "case_id": case, "patient_id": case, "voi_id": f"{case}_lesion_01"}
    base |= {"layer": "annotated", "status": "ok", "split": "train", "mask_voxels": 500}
    base |= {f"spacing_{axis}_mm": 0.7 for axis in "xyz"}
    return base | changes


def named(rows: list[dict[str, Any]], check: str, **options: Any) -> list[Match]:
    return [finding for finding in findings(rows, **options) if finding.check == check]


@pytest.mark.parametrize(
    ("splits", "leak"),
    [
        (("train", "train"), False),
        (("heldout", "train"), True),
        (("train", "heldout"), True),
        (("heldout", None), True),
        (("heldout", "heldout"), True),  # of two sources: each may be used without the other
        ((None, None), False),
    ],
)
@pytest.mark.parametrize("check", ["same_image", "same_mask", "same_lesion"])
def test_two_sources(check: str, splits: tuple[str | None, ...], leak: bool) -> None:
    same: dict[str, Any] = {
        "same_image": {"image_voxels_sha256": "a"},
        "same_mask": {"label_voxels_sha256": "b"},
        "same_lesion": {},
    }[check]
    rows = [
        row("one", "scan 1", split=splits[0], **same),
        row("other", "another scan", split=splits[1], **same),
        row("other", "unlike"),
    ]
    masks = ["m", "m", "n"] if check == "same_lesion" else [None] * 3
    found = findings(rows, {number: Prints(mask=mask) for number, mask in enumerate(masks)})
    assert [one for one in found if one.check == check] == [Match(check, (0, 1), leak)]
    expected = {"leak_same_scan"} if leak else set()
    flags = [set(flags) - {"leak_heldout_patient"} for flags in flags_of(3, found)]
    assert flags == [expected, expected, set()]


def test_what_is_no_second_name() -> None:
    """Layers and clicks of one lesion, rows that failed, masks too small to tell."""
    image: dict[str, Any] = {"image_voxels_sha256": "a", "label_voxels_sha256": "b"}
    rows = [
        row("s", "x", split="heldout", **image),
        row("s", "x", layer="corrected", **image),
        row("s", "y", status="failed", **image),
    ]
    assert [finding.check for finding in findings(rows)] == ["same_patient"]
    small = {"label_voxels_sha256": "b", "mask_voxels": 12}
    assert findings([row("s", "x", **small), row("s", "y", **small)]) == []
    wide = {"label_voxels_sha256": "b", "spacing_x_mm": 0.9}
    assert not named([row("s", "x", label_voxels_sha256="b"), row("s", "y", **wide)], "same_mask")


def test_lesions_of_one_source_are_one_side_by_side() -> None:
    """Two held-out scans of one source that are one do not leak into training."""
    rows = [row("s", name, split="heldout", image_voxels_sha256="a") for name in ("x", "y")]
    assert named(rows, "same_image") == [Match("same_image", (0, 1), False)]


def test_lesions_by_their_fingerprints() -> None:
    rows = [row("s", "x", split="heldout"), row("t", "yy"), row("t", "zzz")]
    assert not named(rows, "same_lesion")
    prints = {0: Prints(mask="m"), 1: Prints(mask="m"), 2: Prints(mask="n")}
    assert named(rows, "same_lesion", prints=prints) == [Match("same_lesion", (0, 1), True)]
    turned = rows[1] | {"spacing_x_mm": 0.9, "spacing_y_mm": 0.8}
    rows = [row("s", "x", spacing_y_mm=0.9, spacing_z_mm=0.8), turned]
    assert named(rows, "same_lesion", prints=prints)
    assert not named([rows[0], row("t", "y")], "same_lesion", prints=prints)
    assert not named([rows[0], turned | {"spacing_z_mm": None}], "same_lesion", prints=prints)


def test_scans_by_name_and_by_series() -> None:
    """A key slice of DeepLesion has one name in both sources."""
    rows = [
        row("deeplesion", "000010_02_02_100", patient_id="000010"),
        row("deeplesion3d", "000010_02_02_100", patient_id="000010", split="heldout"),
        row("deeplesion", "000010_02_02_090", patient_id="000010"),
        row("lits", "000010_02_02_100", patient_id="9", series_instance_uid="1.2.3"),
        row("kits21", "q", series_instance_uid="1.2.3"),
    ]
    assert named(rows, "same_scan") == [
        Match("same_scan", (0, 1), True),
        Match("same_scan", (3, 4), False),
    ]
    assert named(rows, "same_patient") == [Match("same_patient", (0, 1, 2), True)]


def test_scans_by_their_voxels() -> None:
    """A chain of three is one scan; three numbers are chance; what all share says nothing."""
    rows = [row("s", f"case {n}") for n in range(5)] + [row("t", f"c{n}") for n in range(40)]
    prints = {
        0: Prints(sketch=(*SKETCH[:5], 1, 2)),
        1: Prints(sketch=(*SKETCH, 7, 8, 9)),
        2: Prints(sketch=SKETCH[5:]),
        3: Prints(sketch=(7, 8, 9)),
        4: Prints(sketch=(5, 6)),
        **{n: Prints(sketch=(60, 61, 62, 63, 64)) for n in range(5, 45)},
    }
    assert named(rows, "same_scan", prints=prints) == [Match("same_scan", (0, 1, 2), False)]


def test_patients() -> None:
    rows = [
        row("s", "a", patient_id="1", split="heldout"),
        row("s", "b", patient_id="1"),
        row("s", "c", patient_id="2", split="heldout"),
        row("s", "d", patient_id="3"),
        row("t", "e", patient_id="1"),
        row("s", "f", patient_id=None, split="heldout"),
    ]
    assert named(rows, "same_patient") == [Match("same_patient", (0, 1), True)]
    # In its source's own split the patient is on both sides.
    both = [
        row("s", "g", patient_id="4", split="heldout", source_split=side)
        for side in ("train", "test")
    ]
    assert named(both, "same_patient") == [Match("same_patient", (0, 1), True)]
    assert not named(both[:1] * 2, "same_patient")
    # A shipped recipe holds this patient out of another source of the same people.
    weak = row("deeplesion", "000102_01_01_001", patient_id="000102", split="heldout")
    assert named([weak], "same_patient") == [Match("same_patient", (0,), True)]


def test_an_earlier_audit_is_forgotten() -> None:
    old = {"qc_flags": ["cut_by_voi", "leak_same_scan"]}
    (flags,) = flags_of(1, [Match("same_patient", (0,), True)])
    assert with_flags(old, flags) == {"qc_flags": ["cut_by_voi", "leak_heldout_patient"]}
    assert with_flags({"qc_flags": None}, ()) == {"qc_flags": []}


@pytest.mark.parametrize(
    ("patients", "splits", "expected"),
    [
        (("p1", "p2"), ("train", "train"), [False]),
        (("p1", "p2"), ("heldout", "train"), [True]),
        (("p1", "p1"), ("heldout", "heldout"), []),  # one patient in two studies
        ((None, "p2"), ("train", "train"), []),  # the other case may be that patient's
        ((None, None), ("train", "train"), []),
        ((None, "p2"), ("heldout", "train"), [True]),
    ],
)
def test_one_track_through_two_patients(
    patients: tuple[str | None, ...], splits: tuple[str, ...], expected: list[bool]
) -> None:
    rows = [
        row("s", f"case {at}", patient_id=patient, split=split, lesion_track_id="track")
        for at, (patient, split) in enumerate(zip(patients, splits, strict=True))
    ]
    rows.append(row("s", "another", lesion_track_id="track of its own"))
    found = findings(rows)
    tracks = [one for one in found if one.check == "same_track"]
    assert tracks == [Match("same_track", (0, 1), leak) for leak in expected]
    leaks = {"leak_heldout_patient"} if expected == [True] else set()
    assert [set(flags) for flags in flags_of(3, found)] == [leaks, leaks, set()]
