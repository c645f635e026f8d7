"""DeepLesion joined into volumes, as NIH's own script writes them, is DeepLesion."""

from __future__ import annotations

import re
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from makers.faults import tree
from numpy.typing import NDArray

from demo.measured import make_deeplesion, slice_files, table_bytes, table_row, write_zip
from uls_data import build, load_manifest
from uls_data.errors import CaseError
from uls_data.measure.lines import Lines
from uls_data.outcome import Flag, Reason
from uls_data.recipe import load_recipe
from uls_data.sources.case_files import CaseFiles
from uls_data.sources.deeplesion.png_stack import decode_hu, read_png_stack
from uls_data.sources.deeplesion.volume_stack import read_volume_stack
from uls_data.sources.find import find_cases
from uls_data.sources.measurement import StackSpec
from uls_data.tables import read_rows

RECIPE = load_recipe("deeplesion").recipe
LINES = Lines((30.25, 40.5, 50.25, 40.5), (40.25, 33.5, 40.25, 46.5))
SHAPE = (7, 5, 6)
SPACING = (0.7, 0.8, 2.5)
STACK = StackSpec(SHAPE, SPACING, first_slice=98, key_slice=99)


def script_affine(spacing: Any) -> NDArray[np.float64]:
    """What DL_save_nifti.py writes: rows go back, columns left, slices down; no origin."""
    x, y, z = spacing
    return np.array([[0, -y, 0, 0], [-x, 0, 0, 0], [0, 0, -z, 0], [0, 0, 0, 1.0]])


def save(path: Path, ct_hu: NDArray[Any], spacing: Any = SPACING) -> Path:
    """Write slices (column, row, slice) as the script does: (row, column, slice)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(ct_hu.transpose(1, 0, 2), script_affine(spacing)), path)
    return path


@pytest.fixture
def ct_hu(rng: np.random.Generator) -> NDArray[np.int16]:
    return rng.integers(-1024, 3000, SHAPE).astype(np.int16)


def joined(path: Path, stack: StackSpec, run: tuple[int, int]) -> NDArray[Any]:
    volume = read_volume_stack(path, path.parent, replace(stack, run=run))
    assert volume.slope == 1 and volume.intercept == 0
    return volume.stored


@pytest.mark.parametrize("dtype", [np.int16, np.float64])
@pytest.mark.parametrize("suffix", [".nii.gz", ".nii"])
def test_the_script_s_own_files(
    tmp_path: Path, ct_hu: NDArray[np.int16], dtype: type, suffix: str
) -> None:
    """The script writes 300 slices and more as floating point."""
    path = save(tmp_path / f"x{suffix}", ct_hu.astype(dtype))
    assert np.array_equal(joined(path, STACK, (98, 103)), ct_hu)
    part = replace(STACK, shape=(7, 5, 3), first_slice=100)
    assert np.array_equal(joined(path, part, (98, 103)), ct_hu[:, :, 2:5])


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PLI", "SAR"])
def test_a_copy_in_another_orientation(
    tmp_path: Path, ct_hu: NDArray[np.int16], codes: str
) -> None:
    image = nib.Nifti1Image(ct_hu.transpose(1, 0, 2), script_affine(SPACING))
    wanted = nib.orientations.axcodes2ornt(codes)
    turn = nib.orientations.ornt_transform(nib.io_orientation(image.affine), wanted)
    nib.save(image.as_reoriented(turn), tmp_path / "x.nii")
    assert np.array_equal(joined(tmp_path / "x.nii", STACK, (98, 103)), ct_hu)


def test_a_spacing_that_is_none_turns_no_volume_over(
    tmp_path: Path, ct_hu: NDArray[np.int16]
) -> None:
    """The script believes the table's negative spacing: its header stands on its head."""
    unknown = replace(STACK, spacing_mm=None, run=(98, 103))
    path = save(tmp_path / "x.nii", ct_hu, (0.7, 0.8, -2.5))
    volume = read_volume_stack(path, tmp_path, unknown)
    assert np.array_equal(volume.stored, ct_hu) and Flag.SPACING_UNKNOWN in volume.flags
    nib.save(nib.Nifti1Image(ct_hu, np.diag([-1.0, -1.0, 1.0, 1.0])), path)
    with pytest.raises(CaseError) as caught:
        read_volume_stack(path, tmp_path, unknown)
    assert caught.value.reason == Reason.BAD_AFFINE and "give Images_png" in caught.value.detail


@pytest.mark.parametrize(
    ("shape", "spacing", "reason", "words"),
    [
        ((7, 5, 5), SPACING, Reason.GRID_MISMATCH, "its name says slices 98 to 103"),
        ((7, 6, 6), SPACING, Reason.GRID_MISMATCH, "Image_size is 7 x 5"),
        (SHAPE, (0.7, 0.8, 5.0), Reason.AFFINE_MISMATCH, "spacing is 0.7 x 0.8 x 2.5 mm"),
    ],
)
def test_what_contradicts_the_table_fails(
    tmp_path: Path, shape: Any, spacing: Any, reason: Reason, words: str
) -> None:
    path = save(tmp_path / "x.nii", np.zeros(shape, np.int16), spacing)
    with pytest.raises(CaseError) as caught:
        read_volume_stack(path, tmp_path, replace(STACK, run=(98, 103)))
    assert caught.value.reason == reason and words in caught.value.detail


# --- Which file is of which key slice --------------------------------------------


def _unmeasured(case: CaseFiles) -> bool:
    return case.problem is not None and case.problem[0] is Reason.NOT_ANNOTATED


def find(root: Path, *names: str, key: int = 106) -> CaseFiles:
    row = table_row("000001_01_01", key, LINES, (96, 80, 13), 100)
    (root / "DL_info.csv").write_bytes(table_bytes([row]))
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    # Slices in no range are a case too.
    (case,) = [case for case in find_cases(RECIPE, root) if not _unmeasured(case)]
    return case


@pytest.mark.parametrize(
    ("names", "image", "first", "count", "neighbours"),
    [
        (["Images_nifti/000001_01_01_100-112.nii.gz"], 0, 100, 13, False),
        (["000001_01_01_095-140.nii"], 0, 100, 13, False),
        # A hole ends the scan; both groups have a file.
        (["a/000001_01_01_100-103.nii.gz", "a/000001_01_01_105-112.nii.gz"], 1, 105, 8, True),
        # Slices as they were published come first.
        (["000001_01_01_100-112.nii.gz", *(f"p/000001_01_01/{n}.png" for n in range(100, 113))],
         -1, 100, 13, False),
    ],
)  # fmt: skip
def test_the_volume_that_holds_the_key_slice(
    tmp_path: Path, names: list[str], image: int, first: int, count: int, neighbours: bool
) -> None:
    case = find(tmp_path, *names)
    assert case.problem is None and case.stack is not None and case.image is not None
    assert (case.stack.first_slice, case.stack.shape[2]) == (first, count)
    assert case.stack.neighbours == neighbours
    if image >= 0:
        assert case.image == Path(names[image])
        assert case.image in case.files() and len(case.files()) == 2
    else:
        assert case.stack.run is None and len(case.files()) == 14


@pytest.mark.parametrize(
    ("names", "reason", "words"),
    [
        ([], Reason.IMAGE_MISSING, "no volume 000001_01_01_<first>-<last>.nii.gz"),
        (["000001_01_01_100-105.nii.gz", "000001_01_01_107-112.nii.gz"], Reason.KEY_SLICE_MISSING,
         "no slice 106; it has 100 to 105, 107 to 112"),
        (["000001_01_01_104-112.nii.gz"], Reason.MISSING_SLICES, "slices 100 to 103"),
        (["a/000001_01_01_100-112.nii.gz", "b/000001_01_01_100-112.nii"], Reason.AMBIGUOUS_FILES,
         "in 2 volumes: a/000001_01_01_100-112.nii.gz, b/"),
    ],
)  # fmt: skip
def test_volumes_that_do_not_do(
    tmp_path: Path, names: list[str], reason: Reason, words: str
) -> None:
    case = find(tmp_path, *names)
    assert case.problem is not None and case.problem[0] == reason
    assert words in case.problem[1]


def test_a_link_out_of_the_root(tmp_path: Path) -> None:
    root = tmp_path / "raw"
    root.mkdir()
    outside = save(tmp_path / "x.nii", np.zeros((96, 80, 13), np.int16))
    (root / "000001_01_01_100-112.nii").symlink_to(outside)
    case = find(root)
    assert case.problem is not None and case.problem[0] == Reason.PATH_LEAVES_ROOT


# --- Whole ------------------------------------------------------------------------


def join_up(raw: Path, to: Path) -> None:
    """Do to a raw archive what NIH's script does."""
    shutil.copy(raw / "DL_info.csv", to)
    pngs = {path.relative_to(raw).as_posix(): path.read_bytes() for path in raw.rglob("*.png")}
    for archive in raw.glob("*.zip"):
        with zipfile.ZipFile(archive) as file:
            pngs |= {name: file.read(name) for name in file.namelist()}
    slices: dict[str, dict[int, bytes]] = {}
    for name, data in pngs.items():
        if match := re.fullmatch(r"Images_png/([0-9_]+)/([0-9]+)\.png", name):
            slices.setdefault(match[1], {})[int(match[2])] = data
    needed = ("File_name", "Spacing_mm_px_", "Image_size")
    spacing, size = {}, {}
    for row in read_rows(raw / "DL_info.csv", raw, needed, Reason.UNREADABLE, ragged=True):
        series = row.cells["file_name"].rpartition("_")[0]
        spacing[series] = [float(mm) for mm in row.cells["spacing_mm_px_"].split(",")]
        size[series] = [int(n) for n in row.cells["image_size"].split(",")]
    for series, its in slices.items():
        groups: list[list[int]] = []
        for number in sorted(its):
            if groups and number == groups[-1][-1] + 1:
                groups[-1].append(number)
            else:
                groups.append([number])
        for group in groups:
            try:
                planes = [decode_hu(its[n], (size[series][0], size[series][1]), "") for n in group]
            except CaseError:
                continue  # the slice that is cut short: the script ends there
            name = f"Images_nifti/{series}_{group[0]:03d}-{group[-1]:03d}.nii.gz"
            save(to / name, np.stack(planes, axis=2).transpose(1, 0, 2), spacing[series])


def test_volumes_give_the_vois_of_their_slices(tmp_path: Path) -> None:
    raw, volumes = tmp_path / "raw", tmp_path / "volumes"
    volumes.mkdir()
    make_deeplesion(raw, 3)
    join_up(raw, volumes)
    reports = [build("deeplesion", root, tmp_path / f"out-{root.name}") for root in (raw, volumes)]
    assert reports[0].ok == reports[1].ok > 5
    one, two = (tree(tmp_path / f"out-{root.name}/deeplesion") for root in (raw, volumes))
    assert one == two
    told = ["voi_id", "status", "qc_flags", "click_x_vox", "affine", "spacing_z_mm"]
    rows = [load_manifest(report.manifest, told).set_index("voi_id") for report in reports]
    # Of its folder the script makes no volume.
    broken = rows[0].index.str.startswith("000003").astype(bool)
    assert (rows[0]["status"] == rows[1]["status"]).all()
    for name in told[2:]:
        values = [frame.loc[~broken, name].map(repr) for frame in rows]
        assert values[0].equals(values[1]), name


def test_one_slice_by_png_and_by_volume_has_one_affine(
    tmp_path: Path, ct_hu: NDArray[np.int16]
) -> None:
    ras = ct_hu[::-1, ::-1, ::-1]
    names = {f"{n:03d}.png": data for n, data in slice_files(ras, 98).items()}
    write_zip(tmp_path / "p.zip", names)
    by_png = read_png_stack(tmp_path / "p.zip", STACK)
    path = save(tmp_path / "x.nii", ct_hu)
    by_volume = read_volume_stack(path, tmp_path, replace(STACK, run=(98, 103)))
    assert np.array_equal(by_png.affine, by_volume.affine)
    assert np.array_equal(by_png.ras, ras) and np.array_equal(by_volume.ras, ras)
