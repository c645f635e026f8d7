"""Raw archives of image collections: DICOM with XML or masks, MetaImage with tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from demo.dicom import uid_of, write_localizer, write_rtstruct, write_seg, write_series
from demo.files import recipe_text, seed_of, write, write_itk, write_nifti
from demo.outline import traced
from demo.phantom import Affine, LesionSpec, Mask, Phantom, grown, make_phantom, store

_SHAPE = (80, 72, 40)
_SPACING = (0.7, 0.7, 2.0)
_ORIGIN = (-31.25, 17.5, -204.0)
_CHARACTERISTICS = (
    *("subtlety", "internalStructure", "calcification", "sphericity", "margin"),
    *("lobulation", "spiculation", "texture", "malignancy"),
)


def _scan(source: str, seed: int, case: str, lesions: Sequence[LesionSpec], hu: int) -> Phantom:
    return make_phantom(seed_of(seed, source, case), _SHAPE, _SPACING, lesions, hu, case)


# --- NIH CT Lymph Nodes -----------------------------------------------------


def make_nih_ln_abd(root: Path, seed: int) -> list[str]:
    """Write the abdominal part: DICOM series, masks of numbered nodes, and a DICOM-SEG."""
    return _nih(root, seed, "nih_ln_abd", "ABD_LYMPH", "ABDLYMPH", "abdominallymphnodes", "001")


def make_nih_ln_med(root: Path, seed: int) -> list[str]:
    """Write the mediastinal part."""
    return _nih(root, seed, "nih_ln_med", "MED_LYMPH", "MEDLYMPH", "mediastinallymphnodes", "007")


def _nih(
    root: Path, seed: int, source: str, prefix: str, study: str, series: str, heldout: str
) -> list[str]:
    nodes = (
        LesionSpec((0.35, 0.5, 0.5), 8.0),
        LesionSpec(radius_mm=7.0, touches=1),
        LesionSpec((0.65, 0.4, 0.4), 7.5),
        LesionSpec((0.6, 0.65, 0.6), 1.5),
    )
    cases = {f"{prefix}_002": nodes, f"{prefix}_{heldout}": nodes[:1], f"{prefix}_010": nodes[:1]}
    for case, lesions in cases.items():
        phantom = _scan(source, seed, case, lesions, 60)
        affine = phantom.affine(_ORIGIN)
        name = f"09-14-2014-{study}{case[-3:]}-{series}-30274"
        folder = root / "CT Lymph Nodes" / case / name
        count = phantom.ct_hu.shape[2]
        names = [f"{number:06d}.dcm" for number in range(count)]
        uids = write_series(folder / f"{series}-26828", phantom.ct_hu, affine, case, case, names)
        masks = [phantom.label_map == number for number in range(1, len(lesions) + 1)]
        write_seg(folder / "300.000000-seg" / "1-1.dcm", masks, affine, case, uids, case)
        if case.endswith("010"):
            continue
        # The masks lie as the slices do, the lowest first: stored L, P, S.
        stored, at = store(phantom.label_map, affine, "LPS")
        write_nifti(root / "MED_ABD_LYMPH_MASKS" / case / f"{case}_mask.nii.gz", stored, at)
    return [
        f"{prefix}_002: four nodes; two touch, and are kept apart; one is below the size rule",
        f"{prefix}_{heldout}: a held-out patient",
        f"{prefix}_010: its mask is missing, so the case fails",
        "all: a DICOM-SEG lies in the same study, and SliceThickness is not a distance of slices",
    ]


# --- LIDC-IDRI --------------------------------------------------------------


def make_lidc_idri(root: Path, seed: int) -> list[str]:
    """Write DICOM series in folders named by UIDs, and XML readings beside and among them."""
    one = (LesionSpec((0.5, 0.5, 0.5), 6.0),)
    two = (LesionSpec((0.35, 0.5, 0.5), 6.5), LesionSpec((0.65, 0.45, 0.4), 5.0))
    for number, (case, lesions, readers) in enumerate(
        (("LIDC-IDRI-0042", two, 4), ("LIDC-IDRI-0132", one, 2), ("LIDC-IDRI-0133", one, 0))
    ):
        phantom = _scan("lidc_idri", seed, case, lesions, -750)
        affine = phantom.affine(_ORIGIN)
        folder = root / "LIDC-IDRI" / case / "01-01-2000-30178" / "3000566.000000-03192"
        uids = write_series(folder, phantom.ct_hu, affine, case, case)
        if number == 0:
            write_localizer(root / "LIDC-IDRI" / case / "01-01-2000-35511", case, case)
        if not readers:
            continue
        text = _reading(phantom, affine, case, uids, readers).encode()
        write(root / "tcia-lidc-xml" / "185" / f"{69 + number:03d}.xml", text)
        if number == 0:
            write(folder / "069.xml", text)
    return [
        "LIDC-IDRI-0042: two nodules, four readers who do not agree on the border, the second "
        "nodule outlined by two of them; a hole; a mark below 3 mm and a point beside any nodule; "
        "its XML lies in two places",
        "LIDC-IDRI-0132: one nodule of two readers",
        "LIDC-IDRI-0133: a series without a reading, so the case fails",
    ]


def _reading(
    phantom: Phantom, affine: Affine, series: str, uids: Sequence[str], readers: int
) -> str:
    """XML of all readers of one series."""
    sessions = []
    count = int(phantom.label_map.max())
    for reader in range(readers):
        marks = []
        for nodule in range(1, count + 1):
            if nodule > 1 and reader >= 2:
                continue
            mask = phantom.label_map == nodule
            if reader % 2:
                mask = grown(mask)
            hole = nodule == 1 and reader == 0
            marks.append(_nodule(mask, affine, uids, f"{reader}-{nodule}", hole))
        if reader == 0:
            marks += [_point("unblindedReadNodule", "small", uids[3], affine, 3)]
            marks += [_point("nonNodule", "9", uids[5], affine, 5)]
        body = "\n".join(marks)
        sessions.append(
            "<readingSession><annotationVersion>3.12</annotationVersion>"
            f"<servicingRadiologistID>{reader}90</servicingRadiologistID>\n{body}\n"
            "</readingSession>"
        )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<LidcReadMessage uid="1.3.6.1" xmlns="http://www.nih.gov">\n<ResponseHeader>'
        f"<Version>1.7</Version><SeriesInstanceUid>{uid_of(series)}</SeriesInstanceUid>"
        f"<StudyInstanceUID>{uid_of(series, 'study')}</StudyInstanceUID></ResponseHeader>\n"
        + "\n".join(sessions)
        + "\n</LidcReadMessage>\n"
    )


def _nodule(mask: Mask, affine: Affine, uids: Sequence[str], name: str, hole: bool) -> str:
    stored, at = store(mask, affine, "LPS")
    slices = np.flatnonzero(stored.any(axis=(0, 1))).tolist()
    regions = []
    for k in slices:
        z_mm = at[2, 3] + at[2, 2] * k
        regions.append(_roi(traced(stored[:, :, k]), uids[k], z_mm, True))
        if hole and k == slices[len(slices) // 2]:
            inner = np.zeros_like(stored[:, :, k])
            x, y = np.argwhere(stored[:, :, k]).mean(axis=0).astype(int)
            inner[x, y] = True
            regions.append(_roi(traced(inner), uids[k], z_mm, False))
    features = "".join(f"<{feature}>3</{feature}>" for feature in _CHARACTERISTICS)
    return (
        f"<unblindedReadNodule><noduleID>{name}</noduleID>"
        f"<characteristics>{features}</characteristics>{''.join(regions)}</unblindedReadNodule>"
    )


def _roi(points: NDArray[np.int_], uid: str, z_mm: float, inclusion: bool) -> str:
    edges = "".join(
        f"<edgeMap><xCoord>{x}</xCoord><yCoord>{y}</yCoord></edgeMap>" for x, y in points.tolist()
    )
    return (
        f"<roi><imageZposition>{z_mm:.6g}</imageZposition><imageSOP_UID>{uid}</imageSOP_UID>"
        f"<inclusion>{str(inclusion).upper()}</inclusion>{edges}</roi>"
    )


def _point(kind: str, name: str, uid: str, affine: Affine, k: int) -> str:
    z_mm = affine[2, 3] + affine[2, 2] * k
    if kind == "nonNodule":
        return (
            f"<nonNodule><nonNoduleID>{name}</nonNoduleID><imageZposition>{z_mm:.6g}"
            f"</imageZposition><imageSOP_UID>{uid}</imageSOP_UID>"
            "<locus><xCoord>20</xCoord><yCoord>21</yCoord></locus></nonNodule>"
        )
    return (
        f"<unblindedReadNodule><noduleID>{name}</noduleID>"
        f"{_roi(np.array([[30, 31]]), uid, z_mm, True)}</unblindedReadNodule>"
    )


# --- LNDb -------------------------------------------------------------------

_SENTINEL_MM3 = 14.137166941154069
_MERGED = "LNDbID,RadID,RadFindingID,FindingID,x,y,z,AgrLevel,Nodule,Volume,Text"


def make_lndb(root: Path, seed: int) -> list[str]:
    """Write `data0/LNDb-NNNN.mhd`, masks of one to three readers, and the tables."""
    two = (LesionSpec((0.35, 0.5, 0.5), 5.5), LesionSpec((0.65, 0.45, 0.4), 5.0))
    findings = ["LNDbID,RadID,FindingID,x,y,z,Nodule,Volume,Text"]
    merged = [_MERGED]
    scans = ["LNDbID,RadN"]
    for number, readers in ((1, 3), (5, 1), (12, 2)):
        name = f"LNDb-{number:04d}"
        phantom = _scan("lndb", seed, name, two, -750)
        affine = phantom.affine(_ORIGIN)
        image, at = store(phantom.ct_hu, affine, "LPS")
        write_itk(root / "data0" / f"{name}.mhd", image, at)
        scans.append(f"{number},{readers}")
        seen: dict[int, list[int]] = {1: [], 2: []}
        for reader in range(1, readers + 1):
            labels = np.zeros(phantom.label_map.shape, dtype=np.uint8)
            for nodule in (1, 2):
                if nodule == 2 and reader == 3:
                    continue
                mask = phantom.label_map == nodule
                finding = 3 - nodule if reader == 2 else nodule  # numbers are the reader's own
                labels[grown(mask) if reader == 2 else mask] = finding
                seen[nodule].append(finding)
                row = _finding(phantom, affine, nodule)
                findings.append(f"{number},{reader},{finding},{row}")
            if reader == 1:
                findings.append(f"{number},1,9,0,0,{_ORIGIN[2]},1,{_SENTINEL_MM3},5")
                findings.append(f"{number},1,8,3,3,{_ORIGIN[2]},0,{_SENTINEL_MM3},0")
            stored, _ = store(labels, affine, "LPS")
            write_itk(root / "masks" / "masks" / f"{name}_rad{reader}.mhd", stored, at)
        for nodule in (1, 2):
            who = list(range(1, len(seen[nodule]) + 1))
            merged.append(
                _merged(number, who, seen[nodule], nodule, _finding(phantom, affine, nodule))
            )
        sentinel = f"0,0,{_ORIGIN[2]},1,{_SENTINEL_MM3},5"
        merged.append(_merged(number, [1], [9], 3, sentinel))
        merged.append(_merged(number, [1], [8], 4, f"3,3,{_ORIGIN[2]},0,{_SENTINEL_MM3},0", 0))
    tables = root / "trainset_csv"
    write(tables / "trainCTs.csv", ("\r\n".join(scans) + "\r\n").encode())
    write(tables / "trainNodules.csv", ("\r\n".join(findings) + "\r\n").encode())
    write(tables / "trainNodules_gt.csv", ("\r\n".join(merged) + "\r\n").encode())
    return [
        "LNDb-0001: three readers; the second numbers its findings in another order, the third "
        "marked one nodule of two; a point mark below 3 mm, and a finding that is not a nodule",
        "LNDb-0005: one reader; a held-out patient",
        "LNDb-0012: two readers",
    ]


def _finding(phantom: Phantom, affine: Affine, nodule: int) -> str:
    """Centre (LPS mm), whether it is a nodule, volume and texture of one nodule."""
    voxels = np.argwhere(phantom.label_map == nodule)
    x, y, z = (affine @ [*voxels.mean(axis=0), 1])[:3]
    volume = len(voxels) * float(np.prod(phantom.spacing_mm))
    return f"{-x:.6f},{-y:.6f},{z:.6f},1,{volume:.4f},5"


def _merged(
    number: int, who: Sequence[int], theirs: Sequence[int], finding: int, row: str, level: int = -1
) -> str:
    x, y, z, nodule, volume, text = row.split(",")
    agree = len(who) if level < 0 else level
    readers = '"' + ",".join(map(str, who)) + '"' if len(who) > 1 else str(who[0])
    numbers = '"' + ",".join(map(str, theirs)) + '"' if len(theirs) > 1 else str(theirs[0])
    return f"{number},{readers},{numbers},{finding},{x},{y},{z},{agree},{nodule},{volume},{text}"


# --- A user's own DICOM with structure sets ---------------------------------

OWN_DICOM_RECIPE = recipe_text(
    "own_dicom",
    "A user's own DICOM with RTSTRUCT",
    "A recipe for the made-up DICOM beside it: series and the structure sets that refer to them.",
    """\
reader:
  name: dicom_objects
  kind: rtstruct
  case: 'p\\d{2}'
  structures: 'GTV.*'

instances: {rule: given}
minimum_size: {measure: inertia_major_vox, at_least: 5}
lesion_type: soft_tissue
voi_name: "{case}_lesion_{lesion:02d}_sample_{sample}"
heldout_patients: ["p02"]
""",
)


def make_own_dicom(root: Path, seed: int) -> list[str]:
    """Write series without a suffix, a structure set each, and `own_dicom.yaml`."""
    for case in ("p01", "p02"):
        phantom = _scan("own_dicom", seed, case, (LesionSpec((0.5, 0.5, 0.5), 7.0),), 90)
        affine = phantom.affine(_ORIGIN)
        count = phantom.ct_hu.shape[2]
        names = [f"IM{number:05d}" for number in range(count)]
        uids = write_series(root / case / "ct", phantom.ct_hu, affine, f"own {case}", case, names)
        stored, at = store(phantom.label_map == 1, affine, "LPS")
        lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ at
        contours = []
        for k in np.flatnonzero(stored.any(axis=(0, 1))).tolist():
            points = traced(stored[:, :, k])
            index = np.column_stack([points, np.full(len(points), k), np.ones(len(points))])
            contours.append((uids[k], (index @ lps.T)[:, :3]))
        write_rtstruct(root / case / "rs" / "RS0001", contours, f"own {case}", case)
    write(root / "own_dicom.yaml", OWN_DICOM_RECIPE.encode())
    return ["own_dicom.yaml: the recipe of this folder", "p02: a held-out patient"]
