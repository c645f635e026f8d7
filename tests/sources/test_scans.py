"""What a series, a stray file and a file that nobody took are called."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from uls_data.dicom.inventory import SeriesFiles
from uls_data.outcome import Reason
from uls_data.sources.case_files import CaseFiles
from uls_data.sources.find import with_unaccounted
from uls_data.sources.measurement import StackSpec
from uls_data.sources.patterns import matching
from uls_data.sources.scans import (
    case_of,
    free_name,
    name_of,
    named_by_folder,
    naming_all,
    overlooked,
    with_strays,
)

CASE = r"p\d"


def series(*files: str, uid: str = "1.2", patient: str | None = None) -> SeriesFiles:
    return SeriesFiles(uid, "1.1", "CT", patient, tuple(map(Path, files)), "", "")


def test_the_folder_of_most_slices_names_a_series() -> None:
    """A slice that got into another patient's folder names nobody."""
    assert name_of(series("p1/9", "p2/ct/1", "p2/ct/2"), CASE) == "p2"
    assert name_of(series("x/p1/y/p3/1"), CASE) == "p3"  # the deepest that fits
    assert name_of(series("x/1", patient="p4"), CASE) == "p4"
    assert name_of(series("x/1", patient="no p4"), CASE) is None
    assert name_of(series("p1"), CASE) is None  # a file is not a folder
    assert named_by_folder(Path("p1/p2.dcm"), CASE) == "p1"


def test_a_name_whose_slices_are_of_another_s_series() -> None:
    shared = series("p1/1", "p1/2", "p2/1", "p3/1")
    lost, *more = overlooked([shared], CASE, {"p1", "p3"})
    assert not more and lost.case_id == "p2" and lost.problem is not None
    assert lost.problem[0] is Reason.AMBIGUOUS_FILES
    assert "1.2" in lost.problem[1] and "p1" in lost.problem[1]
    assert overlooked([series("x/1")], CASE, ()) == []


def test_a_name_whose_slices_are_copies_of_another_s() -> None:
    copied = replace(series("p1/1", "p1/2"), copies=(Path("p2/1"), Path("p2/2"), Path("x/1")))
    (copy,) = overlooked([copied], CASE, {"p1"})
    assert copy.case_id == "p2" and copy.problem is not None
    assert copy.problem == (Reason.DUPLICATE, "slices of it are copies of those of p1")
    # Which of two is called the copy is a matter of names, and decides nothing.
    other = replace(series("again/1", "again/2"), copies=(Path("p2/1"), Path("p2/2")))
    assert name_of(other, CASE) == "p2" and overlooked([other], CASE, {"p2"}) == []


def test_free_names() -> None:
    taken = {"p1"}
    names = [free_name("p1", Path("p1/a.dcm"), taken) for _ in range(5)]
    assert names[:3] == ["p1_a", "p1/a.dcm", "p1/a.dcm (file)"]
    assert names[3:] == ["p1/a.dcm (file 2)", "p1/a.dcm (file 3)"]
    assert free_name(".", Path("b.dcm"), set()) == "b.dcm"


def test_a_failure_names_every_object_that_is_lost_with_it() -> None:
    assert naming_all("why", [Path("a/1")]) == "why"
    assert naming_all("a/1 and a/2: why", [Path("a/1"), Path("a/2")]) == "a/1 and a/2: why"
    assert naming_all("a/1: why", [Path("a/1"), Path("a/2")]) == "a/1: why; it has 2 objects, a/2"
    many = naming_all("why", [Path(f"n{at:02d}") for at in range(30)])
    assert "n19" in many and "n20" not in many and many.endswith("and 10 more")


def test_strays_among_slices_fail_their_series_and_stay_with_it() -> None:
    strays = {
        Path("p1/bad"): (Reason.UNREADABLE, "p1/bad: no"),
        Path("q/x"): (Reason.IO_ERROR, "q"),
    }
    case = CaseFiles("p1", slices=(Path("p1/1"),))
    failed = with_strays(case, strays)
    assert failed.beside == (Path("p1/bad"),) and failed.problem is not None
    assert failed.problem[0] is Reason.UNREADABLE and "p1/bad, among" in failed.problem[1]
    # What fails or is skipped for another reason does not speak of them: each is a case of its own.
    skipped = replace(case, problem=(Reason.NOT_ANNOTATED, "no object"))
    assert with_strays(skipped, strays) == skipped
    assert with_strays(case, {}) is case


def test_copies_belong_to_the_case_of_their_originals(tmp_path: Path) -> None:
    found = SeriesFiles("1.2", "", "CT", None, (Path("a"),), "", "", copies=(Path("b"),))
    case = case_of(tmp_path, "p1", [found], [Path("m"), Path("n")], as_mask=True)
    assert set(case.held()) == {Path(), Path("a"), Path("b"), Path("m"), Path("n")}


def test_a_file_that_no_case_holds_is_a_failed_case() -> None:
    case = CaseFiles("a", image=Path("a.nii"), beside=(Path("b.nii"),))
    assert with_unaccounted([case], {Path("a.nii"), Path("b.nii")}) == [case]
    _, lost = with_unaccounted([case], {Path("a.nii"), Path("z/c.nii")})
    assert lost.case_id == "z/c.nii" and lost.problem is not None
    assert lost.problem[0] is Reason.UNACCOUNTED and lost.problem[0].status == "failed"
    (_, other) = with_unaccounted([case], {Path("a")})
    assert other.case_id == "a (file)"


def test_slices_named_by_number_are_held_as_their_folder() -> None:
    stack = StackSpec((9, 9, 3), None, 1, 2)
    case = CaseFiles("a", image=Path("png/1_1_1"), stack=stack, annotations=(Path("t.csv"),))
    assert set(case.held()) == {Path("png/1_1_1"), Path("t.csv")}
    assert len(case.files()) == 4


@pytest.mark.parametrize(
    ("pattern", "kept"), [("m/{case}.nii", ".nii"), ("m/{case}.nii.gz", ".nii.gz")]
)
def test_of_two_forms_of_a_nifti_one_counts_and_the_other_is_known(pattern: str, kept: str) -> None:
    files = [Path("m/a.nii"), Path("m/a.nii.gz"), Path("m/b.nii"), Path("m/c.nii.gz"), Path("m/d")]
    found = matching(pattern, "[a-d]", files)
    chosen = {it.path.name for it in found if not it.spare}
    assert chosen == {f"a{kept}", "b.nii", "c.nii.gz"}
    (left,) = (it for it in found if it.spare)
    assert left.path.name.startswith("a.nii") and left.path.name != f"a{kept}"
    assert left.match["case"] == "a"
