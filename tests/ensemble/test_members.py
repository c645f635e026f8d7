"""Members of an ensemble, what they make, and how far they disagree."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from makers.certified import AFFINE, ball, write_pseudo
from makers.vois import write_voi, write_vois

from uls_data.ensemble import (
    Ellipsoid,
    Flat,
    Jury3d,
    Layer,
    Likeness,
    NnInteractiveMember,
    OnnxMember,
    Subject,
    disagreement,
    member_of,
    write_layer,
)
from uls_data.ensemble.disagreement import in_one_box
from uls_data.ensemble.member import masks_of
from uls_data.errors import CaseError, ManifestError, UlsDataError
from uls_data.manifest.parquet import iterate_rows
from uls_data.measure.lines import Lines
from uls_data.measure.overlap import dice
from uls_data.nifti_writer import nifti_gz
from uls_data.voi import VOI_SHAPE

LINES = Lines((120, 128, 136, 128), (128, 120, 128, 136))
ROW: dict[str, Any] = {
    "source": "s",
    "case_id": "a",
    "lesion_index": 1,
    "voi_id": "a_1",
    **{f"spacing_{axis}_mm": mm for axis, mm in zip("xyz", (1.0, 1.0, 2.0), strict=True)},
    **{f"pad_{side}_{axis}_vox": 0 for side in ("before", "after") for axis in "xyz"},
}
DISC = ball(8) * (np.arange(128) == 64)


def subject(**changes: Any) -> Subject:
    hu = np.full(VOI_SHAPE, -100, np.int16)
    hu[ball(8) == 1] = 60
    about = {"row": ROW, "image": hu, "lines": LINES, "key_slice": 64, **changes}
    return Subject(**about)


def test_an_ellipsoid_of_equal_axes_is_a_ball() -> None:
    found = Ellipsoid().mask(subject())
    assert found is not None and dice(found, ball(8)) > 0.97
    assert Ellipsoid().mask(subject(lines=None)) is None
    assert Ellipsoid().mask(subject(row={**ROW, "spacing_z_mm": None})) is None


def test_lines_of_the_row_reach_as_far_as_its_source_says() -> None:
    drawn = {"recist_points_vox": LINES.points.ravel().tolist(), "key_slice_voi": 64}
    its = subject(row={**ROW, **drawn, "recist_outward_vox": 0.5})
    plain = subject(row={**ROW, **drawn})
    for member in (Ellipsoid(), Flat("ellipse")):
        small, large = member.mask(plain), member.mask(its)
        assert small is not None and large is not None
        assert not (small & ~large).any() and large.sum() > 1.05 * small.sum()
    # Lines drawn across a mask are not the source's.
    other = subject(row={**ROW, **drawn, "recist_outward_vox": 0.5}, lines=LINES.moved(1, 0))
    assert its.outward_vox == 0.5 and plain.outward_vox == other.outward_vox == 0


def test_likeness_finds_the_height_that_lines_do_not_tell() -> None:
    high = np.zeros(VOI_SHAPE, bool)
    high[121:136, 121:136, 60:76] = True  # 32 mm, where the lines say 16 mm
    hu = np.where(high, 60, -100).astype(np.int16)
    its = subject(image=hu)
    member = member_of("likeness")
    found, plain = member.mask(its), Ellipsoid().mask(its)
    assert member == Likeness() and member.needs == {"lines", "image"}
    assert found is not None and plain is not None
    assert dice(found, high) > dice(plain, high) + 0.05
    assert member.mask(subject(lines=None)) is None
    assert member.mask(subject(row={**ROW, "spacing_z_mm": None})) is None
    cut = member.mask(subject(image=hu, row={**ROW, "pad_after_z_vox": 62}))
    assert cut is not None and cut.any() and not cut[:, :, 66:].any()
    with pytest.raises(CaseError, match="no image"):
        member.mask(subject(image=None))


def test_the_jury_follows_a_lesion_within_the_scan() -> None:
    its, member = subject(), member_of("jury_3d")
    found = member.mask(its)
    assert member == Jury3d() and member.needs == {"lines", "image"}
    assert found is not None and dice(found, ball(8)) > 0.9
    assert member.mask(subject(lines=None)) is None
    assert member.mask(subject(row={**ROW, "spacing_z_mm": None})) is None
    cut = member.mask(subject(row={**ROW, "pad_after_z_vox": 62, "pad_before_x_vox": 125}))
    assert cut is not None and cut.any()
    assert not cut[:, :, 66:].any() and not cut[:125].any()
    # Lines where the scan has ended already, and such as reach beyond the VOI.
    assert member.mask(subject(row={**ROW, "pad_after_z_vox": 64})) is None
    assert member.mask(subject(row={**ROW, "pad_before_x_vox": 200})) is None
    long = Lines((-20, 128, 280, 128), (128, 120, 128, 136))
    assert member.mask(subject(lines=long)) is not None


def test_nothing_is_drawn_into_padding() -> None:
    found = Ellipsoid().mask(subject(row={**ROW, "pad_after_z_vox": 62, "pad_before_x_vox": 125}))
    assert found is not None and found.any()
    assert not found[:, :, 66:].any() and not found[:125].any()


def test_a_2d_method_gives_the_key_slice() -> None:
    for name in ("ellipse", "jury"):
        found = Flat(name).mask(subject())
        assert found is not None and found.shape == VOI_SHAPE[:2]
        assert dice(found, DISC[:, :, 64]) > 0.85
    assert Flat("jury").mask(subject(lines=None)) is None
    assert Flat("ellipse").mask(subject(image=None)) is not None
    with pytest.raises(CaseError, match="no image"):
        Flat("jury").mask(subject(image=None))
    assert Flat("jury").needs == {"lines", "image"} and Flat("ellipse").needs == {"lines"}


def test_layers_flat_and_solid(tmp_path: Path) -> None:
    for name, mask in (("solid", ball(8)), ("flat", DISC)):
        data = nifti_gz(mask.astype(np.uint8), AFFINE)
        (tmp_path / f"{name}.nii.gz").write_bytes(data)
    layers = {name: tmp_path / f"{name}.nii.gz" for name in ("solid", "flat")}
    its = subject(layers=layers)
    solid, flat = Layer("solid").mask(its), Layer("flat").mask(its)
    assert solid is not None and np.array_equal(solid, ball(8) == 1)
    assert flat is not None and np.array_equal(flat, DISC[:, :, 64] == 1)
    assert Layer("absent").mask(its) is None
    # A layer of a member's name stands for what the member would make.
    its = subject(layers={**layers, "ellipsoid": layers["flat"]})
    made = masks_of([member_of("ellipsoid"), member_of("solid")], its)
    assert set(made.flat) == {"ellipsoid"} and set(made.solid) == {"solid"}


def test_what_cannot_be_read_is_a_problem_of_that_member_alone(tmp_path: Path) -> None:
    (tmp_path / "bad.nii.gz").write_bytes(b"no gzip")
    its = subject(layers={"bad": tmp_path / "bad.nii.gz", "gone": tmp_path / "gone.nii.gz"})
    made = masks_of([member_of(name) for name in ("bad", "gone", "ellipsoid")], its)
    assert set(made.problems) == {"bad", "gone"} and set(made.solid) == {"ellipsoid"}


def test_disagreement_by_hand() -> None:
    a, b, c = np.zeros((3, 4, 1, 1), bool)
    a[:2], b[1:3], c[:2] = True, True, True
    assert disagreement([a, b, c]) == pytest.approx(1 - (0.5 + 1 + 0.5) / 3)
    assert disagreement([a]) is None and disagreement([]) is None
    # Flat masks: with each other and with what the solid ones are there, not solid with solid.
    plane = [mask[:, :, 0] for mask in (a, b)]
    assert disagreement(plane, [c[:, :, 0]]) == pytest.approx(1 - (1 + 0.5) / 2)
    assert disagreement(plane, []) is None


def test_a_box_changes_no_dice() -> None:
    one, other = ball(8) == 1, ball(6, 1.0) == 1
    small = in_one_box([one, other])
    assert small[0].shape == small[1].shape != one.shape
    assert dice(*small) == dice(one, other)
    empty = np.zeros(VOI_SHAPE, bool)
    assert [mask.size for mask in in_one_box([empty, empty])] == [0, 0]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("annotated", "masks called that people drew"),
        ("reader-1", "masks called that people drew"),
        ("jury", r"s\.parquet holds other rows"),
        ("s", r"s\.parquet holds other rows"),
    ],
)
def test_a_layer_never_replaces_those_of_a_build(tmp_path: Path, name: str, words: str) -> None:
    """Neither its masks nor its manifest, which is called after the source."""
    path = write_vois(tmp_path, [write_voi(tmp_path, "a", layer="jury")])
    before = path.read_bytes()
    with pytest.raises(ManifestError, match=words):
        write_layer(tmp_path, Layer(name), tmp_path)
    assert path.read_bytes() == before
    write_layer(tmp_path, Layer("new"), tmp_path)
    write_layer(tmp_path, Layer("new"), tmp_path)  # its own rows it may


@pytest.mark.parametrize("mask", [np.full(VOI_SHAPE, 255, np.uint8), np.ones((9, 9, 9), bool)])
def test_what_is_no_mask_becomes_no_layer(tmp_path: Path, mask: Any) -> None:
    class Own:
        name, needs = "own", frozenset({"image"})

        def mask(self, subject: Subject) -> Any:
            return mask

    write_vois(tmp_path, [write_voi(tmp_path, "a")])
    with pytest.raises(ManifestError, match=r"own: expected a mask of bool .* found "):
        write_layer(tmp_path, Own(), tmp_path / "made")
    assert not list(tmp_path.rglob("*.nii.gz"))


def test_a_server_that_ends_a_session_costs_one_lesion(tmp_path: Path) -> None:
    class Session:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError("lease expired")

    drawn = {"recist_points_vox": LINES.points.ravel().tolist(), "key_slice_voi": 64}
    write_vois(tmp_path, [write_voi(tmp_path, name, **drawn) for name in "ab"])
    member = NnInteractiveMember("http://here", connect=lambda _: Session())
    rows = list(iterate_rows(write_layer(tmp_path, member, tmp_path / "made")))
    assert [row["reason"] for row in rows] == ["io_error"] * 2
    assert "lease expired" in str(rows[0]["detail"])


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ([1, 1, 64, 64], r"image of shape \[1, 1, 64, 64\]; expected \(1, 1, z, y, x\)"),
        ([1, 1, 1 << 20, 64, 64], "at most 1024 each"),
        ([1, 1, 8, 8, 8], "the model cannot be run: wrong type"),
    ],
)
def test_an_onnx_model_of_another_kind_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: list[int], words: str
) -> None:
    class Session:
        def __init__(self, *_: Any, **__: Any) -> None:
            pass

        def get_inputs(self) -> list[Any]:
            return [SimpleNamespace(name="image", shape=shape)]

        def run(self, *_: Any) -> None:
            raise TypeError("wrong type")

    runtime = SimpleNamespace(InferenceSession=Session, SessionOptions=SimpleNamespace)
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
    with pytest.raises(UlsDataError, match=words):
        OnnxMember(tmp_path / "m.onnx").mask(subject())


def test_a_member_becomes_a_layer(tmp_path: Path) -> None:
    rows = [
        write_voi(tmp_path / "weak", name, 8, supervision="weak_2d", layer="jury", **more)
        for name, more in (
            ("a", {"recist_points_vox": LINES.points.ravel().tolist(), "key_slice_voi": 64}),
            ("b", {}),
        )
    ]
    write_vois(tmp_path / "weak", rows)
    path = write_layer(tmp_path / "weak", Ellipsoid(), tmp_path / "more")
    with_lines, without = iterate_rows(path)
    assert (with_lines["status"], with_lines["layer"]) == ("ok", "ellipsoid")
    assert with_lines["supervision"] == "pseudo_3d" and with_lines["parent_layer"] == "jury"
    assert (tmp_path / "more" / str(with_lines["label_path"])).is_file()
    assert (without["status"], without["reason"]) == ("skipped", "not_measured")
    flat = next(iterate_rows(write_layer(tmp_path / "weak", Flat("ellipse"), tmp_path / "more")))
    assert flat["supervision"] == "weak_2d" and flat["long_axis_slice_voi"] == 64
    with pytest.raises(ManifestError, match="layer 'No Name'"):
        write_layer(tmp_path / "weak", Layer("No Name"), tmp_path / "more")
    bare = write_pseudo(tmp_path / "bare", range(1))
    with pytest.raises(ManifestError, match="an image"):
        write_layer(bare, Ellipsoid(), tmp_path / "more")
