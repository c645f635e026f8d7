"""DICOM SEG and SR, read by highdicom and pydicom."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from makers.shared import Shared, linked

from demo.clinical import OWN_DICOM_RECIPE
from uls_data import build, load_manifest
from uls_data.cli import main
from uls_data.errors import SourceError
from uls_data.export import export_dicom_seg
from uls_data.manifest import write_manifest
from uls_data.manifest.parquet import read_table

pytest.importorskip("highdicom")
from highdicom.seg import segread
from highdicom.sr import srread

pytestmark = pytest.mark.filterwarnings("ignore")  # of pydicom and highdicom about each other
LONG, SHORT, VOLUME = "103339001", "103340004", "118565006"  # SNOMED CT


def rows_of(out: Path) -> list[dict[str, Any]]:
    return [row for row in load_manifest(out).to_dict("records") if row["status"] == "ok"]


def points_of_seg(path: Path, number: int) -> Any:
    """Patient coordinates (LPS, mm) of the voxels of a segment, by highdicom's own geometry."""
    seg = segread(path)
    volume = seg.get_volume(
        segment_numbers=[number], combine_segments=True, rescale_fractional=False
    )
    index = np.argwhere(volume.array > 0)
    return volume.map_indices_to_reference(index)


def points_of_voi(out: Path, row: dict[str, Any]) -> Any:
    """The same of a VOI's label, by nibabel."""
    label = nibabel.load(out / row["label_path"])
    ras = nibabel.affines.apply_affine(label.affine, np.argwhere(np.asarray(label.dataobj)))
    return ras * (-1, -1, 1)


def same_points(one: Any, other: Any) -> bool:
    """Whether two sets of voxel centres are one: none differs by more than rounding."""

    def ordered(points: Any) -> Any:
        whole = np.rint(np.asarray(points) * 10).astype(int)  # no two voxels lie within 0.2 mm
        return points[np.lexsort(whole.T)]

    return len(one) == len(other) and bool(np.abs(ordered(one) - ordered(other)).max() < 0.02)


def measured(path: Path) -> dict[str, dict[str, float]]:
    """Sizes in an SR, by tracking identifier and SNOMED code, as highdicom reads them."""
    found = {}
    for group in srread(path).content.get_volumetric_roi_measurement_groups():
        found[group.tracking_identifier] = {
            one.name.value: float(one.value) for one in group.get_measurements()
        }
    return found


def out_of(shared: Shared) -> Path:
    raw = shared.raw("own_dicom")
    return shared.once("out-own-dicom", lambda to: build(raw / "own_dicom.yaml", raw, to))


@pytest.fixture(scope="module")
def exported(shared: Shared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("objects")
    found = export_dicom_seg(out_of(shared), to, shared.raw("own_dicom"))
    assert (found.series, found.lesions, found.failed) == (2, 2, [])
    return to


def test_voxels_and_sizes_are_those_of_the_vois(shared: Shared, exported: Path) -> None:
    out = out_of(shared)
    rows = rows_of(out)
    assert len(rows) == 2
    for row in rows:
        base = exported / "own_dicom" / row["series_instance_uid"]
        assert same_points(points_of_seg(Path(f"{base}.seg.dcm"), 1), points_of_voi(out, row))
        (sizes,) = measured(Path(f"{base}.sr.dcm")).values()
        assert sizes[LONG] == pytest.approx(row["long_axis_mm"], abs=0.1)
        assert sizes[SHORT] == pytest.approx(row["short_axis_mm"], abs=0.1)
        assert sizes[VOLUME] == pytest.approx(row["volume_mm3"], rel=1e-6)


def test_dcmqi_reads_both(shared: Shared, exported: Path, tmp_path: Path) -> None:
    """Its own programs: voxels of the SEG, and sizes of the SR."""
    programs = Path(sys.executable).parent
    if not (programs / "segimage2itkimage").exists():
        pytest.skip("no dcmqi: pip install 'uls-data[consumers]'")

    def run(program: str, *options: str) -> None:
        subprocess.run([programs / program, *options], check=True, capture_output=True)

    for row in rows_of(out_of(shared)):
        base = exported / "own_dicom" / row["series_instance_uid"]
        to = tmp_path / row["case_id"]
        to.mkdir()
        run(
            "segimage2itkimage",
            *("--inputDICOM", f"{base}.seg.dcm", "--outputDirectory", str(to)),
            *("--outputType", "nifti", "--prefix", "lesion"),
        )
        assert same_points(
            points_of_voi(to, {"label_path": "lesion-1.nii.gz"}),
            points_of_voi(out_of(shared), row),
        )
        sizes = to / "sizes.json"
        run("tid1500reader", "--inputDICOM", f"{base}.sr.dcm", "--outputMetadata", str(sizes))
        (lesion,) = json.loads(sizes.read_text())["Measurements"]
        found = {
            item["quantity"]["CodeValue"]: float(item["value"])
            for item in lesion["measurementItems"]
        }
        assert found[LONG] == pytest.approx(row["long_axis_mm"], abs=0.1)
        assert found[SHORT] == pytest.approx(row["short_axis_mm"], abs=0.1)
        assert found[VOLUME] == pytest.approx(row["volume_mm3"], rel=1e-5)


def test_objects_refer_to_the_series_and_to_each_other(shared: Shared, exported: Path) -> None:
    slices = {}
    for path in shared.raw("own_dicom").rglob("IM*"):
        slice_ = pydicom.dcmread(path, stop_before_pixels=True)
        slices[slice_.SOPInstanceUID] = slice_
    for row in rows_of(out_of(shared)):
        base = exported / "own_dicom" / row["series_instance_uid"]
        seg, report = (pydicom.dcmread(f"{base}.{kind}.dcm") for kind in ("seg", "sr"))
        (series,) = seg.ReferencedSeriesSequence
        assert series.SeriesInstanceUID == row["series_instance_uid"]
        for frame in seg.PerFrameFunctionalGroupsSequence:
            (source,) = frame.DerivationImageSequence[0].SourceImageSequence
            slice_ = slices[source.ReferencedSOPInstanceUID]
            position = frame.PlanePositionSequence[0].ImagePositionPatient
            assert np.allclose(position, slice_.ImagePositionPatient, atol=1e-3)
        (group,) = srread(f"{base}.sr.dcm").content.get_volumetric_roi_measurement_groups()
        (segment,) = seg.SegmentSequence
        assert group.tracking_uid == segment.TrackingUID and segment.TrackingUID.is_valid
        assert group.tracking_identifier == segment.TrackingID == f"own_dicom/{row['case_id']}/1"
        referenced = group.referenced_segment
        assert referenced.referenced_sop_instance_uid == seg.SOPInstanceUID
        assert seg.StudyInstanceUID == report.StudyInstanceUID == row["study_instance_uid"]


def test_nothing_about_a_person(shared: Shared, exported: Path) -> None:
    """Not even what highdicom copies: name, dates, numbers of the study."""
    for path in exported.rglob("*.dcm"):
        found = pydicom.dcmread(path)
        assert found.PatientID in ("p01", "p02")
        for keyword in (
            *("PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"),
            *("AccessionNumber", "StudyID", "ReferringPhysicianName"),
        ):
            assert not found.get(keyword), keyword
        dates = {e.value for e in found.iterall() if e.VR in ("DA", "DT") and e.value}
        assert dates == {"19000101"}


def test_same_bytes_again(shared: Shared, exported: Path, tmp_path: Path) -> None:
    export_dicom_seg(out_of(shared), tmp_path, shared.raw("own_dicom"))
    one, other = (
        {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*.dcm")}
        for folder in (exported, tmp_path)
    )
    assert one == other and len(one) == 4


def test_what_cannot_be_exported_is_named(shared: Shared, tmp_path: Path, capsys: Any) -> None:
    """No series, one that is not there, other files of it, a place that the affine contradicts."""
    out = out_of(shared)
    table = read_table(out)
    first, second = (row for row in table.to_pylist() if row["status"] == "ok")
    rows = [
        {**first, "series_instance_uid": None},
        {**first, "series_instance_uid": "1.2.3", "lesion_index": 2, "voi_id": "absent"},
        {**second, "image_source_sha256": "0" * 64, "voi_id": "changed"},
        {**second, "voi_origin_x_vox": second["voi_origin_x_vox"] + 1, "lesion_index": 3},
        {**second, "lesion_index": 4},
    ]
    copy = linked(out, tmp_path / "out")
    manifest = copy / "manifest" / "own_dicom.parquet"
    manifest.unlink()
    write_manifest(rows, manifest)
    with pytest.raises(SystemExit) as caught:
        main(
            [
                *("export", "dicom-seg", str(copy)),
                *("--raw", str(shared.raw("own_dicom")), "--to", str(tmp_path / "objects")),
            ]
        )
    streams = capsys.readouterr()
    assert caught.value.code == 1
    for word in ("unsupported_format", "image_missing", "other files", "affine_mismatch"):
        assert word in streams.err
    assert "1 lesions on 1 series" in streams.out
    (seg,) = (tmp_path / "objects").rglob("*.seg.dcm")
    assert segread(seg).number_of_segments == 1


@pytest.mark.real
@pytest.mark.parametrize(
    ("folder", "kind", "structures"),
    [("ibsi-ct-phantom/dicom", "rtstruct", "GTV-1"), ("dcmqi-liver", "seg", ".*")],
)
def test_real_masks_there_and_back(
    real_data: Path, tmp_path: Path, folder: str, kind: str, structures: str
) -> None:
    """From an object to a VOI, to a SEG, and to a VOI again: no voxel differs."""
    if not (real_data / folder).is_dir():
        pytest.skip(f"no {folder} in {real_data}")

    def built(raw: Path, kind: str, structures: str, out: Path) -> dict[str, Any]:
        recipe = tmp_path / f"{out.name}.yaml"
        text = OWN_DICOM_RECIPE.replace("kind: rtstruct", f"kind: {kind}")
        text = text.replace("'GTV.*'", f"'{structures}'").replace("'p\\d{2}'", "'case'")
        recipe.write_text(text, encoding="utf-8")
        (row,) = build(recipe, raw, out, replay=replay).rows
        assert row["status"] == "ok", row["detail"]
        return row

    replay = None
    shutil.copytree(real_data / folder, tmp_path / "raw" / "case")
    row = built(tmp_path / "raw", kind, structures, tmp_path / "one")
    found = export_dicom_seg(tmp_path / "one", tmp_path / "objects", tmp_path / "raw")
    assert found.lesions == 1, found.failed
    (seg,), (report,) = ((tmp_path / "objects").rglob(f"*.{end}.dcm") for end in ("seg", "sr"))
    points = points_of_seg(seg, 1)
    assert len(points) == row["mask_voxels"]
    assert same_points(points, points_of_voi(tmp_path / "one", row))
    if kind == "seg":
        # What differs from the original lies beyond the VOI.
        theirs = points_of_seg(real_data / folder / "liver.dcm", 1)
        box = nibabel.load(tmp_path / "one" / row["label_path"]).affine
        index = nibabel.affines.apply_affine(np.linalg.inv(box), theirs * (-1, -1, 1))
        inside = ((index > -0.5) & (index < np.array([256, 256, 128]) - 0.5)).all(axis=1)
        assert same_points(points, theirs[inside])
    (sizes,) = measured(report).values()
    assert sizes[LONG] == pytest.approx(row["long_axis_mm"], abs=0.1)
    assert sizes[SHORT] == pytest.approx(row["short_axis_mm"], abs=0.1)
    # The SEG for the original object: the same VOI.
    again = tmp_path / "again" / "case"
    shutil.copytree(tmp_path / "raw" / "case", again)
    for path in list(again.rglob("*.dcm")):
        if pydicom.dcmread(path, stop_before_pixels=True).Modality in ("SEG", "RTSTRUCT"):
            path.unlink()
    shutil.copy(seg, again / "ours.dcm")
    replay = tmp_path / "one"
    other = built(tmp_path / "again", "seg", ".*", tmp_path / "two")
    assert other["label_voxels_sha256"] == row["label_voxels_sha256"]
    assert other["image_voxels_sha256"] == row["image_voxels_sha256"]


def test_lesions_that_overlap_are_segments_of_their_own(shared: Shared, tmp_path: Path) -> None:
    """Both whole; and a lesion that is followed keeps the name by which it is."""
    copy = linked(out_of(shared), tmp_path / "out")
    manifest = copy / "manifest" / "own_dicom.parquet"
    row = next(row for row in read_table(manifest).to_pylist() if row["status"] == "ok")
    manifest.unlink()
    second = {**row, "lesion_index": 2, "lesion_track_id": "t0123456789abcdef"}
    write_manifest([row, second], manifest)
    found = export_dicom_seg(copy, tmp_path / "objects", shared.raw("own_dicom"))
    assert (found.series, found.lesions, found.failed) == (1, 2, [])
    (seg,) = (tmp_path / "objects").rglob("*.seg.dcm")
    points = points_of_voi(copy, row)
    assert same_points(points_of_seg(seg, 1), points) and same_points(points_of_seg(seg, 2), points)
    names = [item.TrackingID for item in pydicom.dcmread(seg).SegmentSequence]
    assert names == [f"own_dicom/{row['case_id']}/1", "own_dicom/t0123456789abcdef"]


def test_without_highdicom_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(SourceError, match=r"uls-data\[dicom\]"):
        export_dicom_seg(tmp_path, tmp_path, tmp_path)
