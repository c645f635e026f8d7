"""Which files below a raw root are a case."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from uls_data.errors import SourceError
from uls_data.outcome import Flag, Reason
from uls_data.recipe import Recipe, load_recipe, recipe_template
from uls_data.sources.case_files import CaseFiles
from uls_data.sources.find import find_cases


def recipe(image: str, mask: str, **reader: Any) -> Recipe:
    content = yaml.safe_load(recipe_template("mine"))
    layouts = [{"name": "one", "image": image, "mask": mask}]
    content["reader"] = {"name": "volume_pairs", "layouts": layouts, **reader}
    return Recipe.model_validate(content)


FLAT = recipe("images/{case}{ext}", "masks/{case}{ext}")


def touch(root: Path, *names: str) -> Path:
    """Create empty files; what is in them decides nothing here."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


def found(cases: list[CaseFiles]) -> dict[str, tuple[str | None, str | None]]:
    return {
        case.case_id: (
            case.image.as_posix() if case.image else None,
            case.mask.as_posix() if case.mask else None,
        )
        for case in cases
    }


def reasons(cases: list[CaseFiles]) -> dict[str, Reason | None]:
    return {case.case_id: case.problem[0] if case.problem else None for case in cases}


@pytest.mark.parametrize(
    ("image", "mask", "files", "expected"),
    [
        (
            "ct-{case}.nii.gz",
            "seg-{case}.nii.gz",
            ["ct-a.nii.gz", "seg-a.nii.gz", "ct-b.nii", "sub/ct-c.nii.gz", "sub/seg-c.nii.gz"],
            {"a": ("ct-a.nii.gz", "seg-a.nii.gz")},
        ),
        (  # the case in folder and file name, which must agree
            "{case}/{case}_ct.nii",
            "{case}/mask/{case}{ext}",
            ["p/p_ct.nii", "p/mask/p.nrrd", "q/r_ct.nii", "q/mask/r.nrrd"],
            {"p": ("p/p_ct.nii", "p/mask/p.nrrd")},
        ),
        (  # **/ is any number of folders, none too
            "**/{case}/ct.nii",
            "**/{case}/seg.nii",
            ["a/ct.nii", "a/seg.nii", "x/y/b/ct.nii", "x/y/b/seg.nii"],
            {"a": ("a/ct.nii", "a/seg.nii"), "b": ("x/y/b/ct.nii", "x/y/b/seg.nii")},
        ),
        (  # * stays within one folder, ? is one character
            "*/{case}_?.nii",
            "{case}*.mha",
            ["i/a_1.nii", "a-mask.mha", "b_22.nii", "b.mha", "i/j/b_1.nii", "i/c_1.nii", "c/.mha"],
            {"a": ("i/a_1.nii", "a-mask.mha")},
        ),
        (  # what has a meaning in regular expressions has none in patterns
            "c(t)+/{case}.v1{ext}",
            "[seg]/{case}.v1{ext}",
            ["c(t)+/a.v1.nii", "[seg]/a.v1.nii", "ctt/b.v1.nii", "s/b.v1.nii", "c(t)+/aXv1.nii"],
            {"a": ("c(t)+/a.v1.nii", "[seg]/a.v1.nii")},
        ),
    ],
)
def test_patterns(
    tmp_path: Path,
    image: str,
    mask: str,
    files: list[str],
    expected: dict[str, tuple[str | None, str | None]],
) -> None:
    cases = find_cases(recipe(image, mask), touch(tmp_path, *files))
    whole = [case for case in cases if case.problem is None]
    assert found(whole) == expected


def test_every_suffix_pairs_with_every_other(tmp_path: Path) -> None:
    names = {"a": ".nii", "b": ".nii.gz", "c": ".mha", "d": ".mhd", "e": ".nrrd"}
    for case, suffix in names.items():
        touch(tmp_path, f"images/{case}{suffix}", f"masks/{case}.nrrd")
    touch(tmp_path, "images/d.raw", "images/notes.txt")
    assert reasons(find_cases(FLAT, tmp_path)) == dict.fromkeys("abcde")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha", ".mhd", ".nrrd"])
def test_a_fixed_suffix_finds_every_other(tmp_path: Path, suffix: str) -> None:
    kits = load_recipe("kits21").recipe
    for case, other in (("case_00000", suffix), ("case_00001", ".nii.gz")):
        touch(tmp_path, f"data/{case}/imaging{suffix}", f"data/{case}/segmentation{other}")
    one, two = find_cases(kits, tmp_path)
    assert one.problem is None and two.problem is None
    assert found([one])["case_00000"][1] == f"data/case_00000/segmentation{suffix}"
    told = (Flag.OTHER_VOLUME_FORMAT,) if "nii" not in suffix else ()
    assert one.flags == two.flags == told


def test_one_mask_in_two_other_formats_is_nobody_s_choice(tmp_path: Path) -> None:
    rule = recipe("ct/{case}.nii.gz", "mask/{case}.nii.gz")
    cases = find_cases(rule, touch(tmp_path, "ct/a.nii.gz", "mask/a.mha", "mask/a.nrrd"))
    assert reasons(cases) == {"a": Reason.AMBIGUOUS_FILES}
    assert cases[0].problem and "found 2 masks: mask/a.mha, mask/a.nrrd" in cases[0].problem[1]


def test_image_and_mask_that_differ_in_the_suffix_alone(tmp_path: Path) -> None:
    rule = recipe("{case}.nii.gz", "{case}.nrrd")
    touch(tmp_path, "a.nii.gz", "a.nrrd", "b.nii", "b.nrrd", "c.mha", "c.nrrd", "d.nii.gz")
    cases = find_cases(rule, tmp_path)
    assert found(cases)["a"] == ("a.nii.gz", "a.nrrd")
    assert found(cases)["b"] == ("b.nii", "b.nrrd")
    assert reasons(cases) == {
        "a": None, "b": None, "c": Reason.IMAGE_MISSING, "d": Reason.MASK_MISSING
    }  # fmt: skip


def test_a_mask_beside_its_image_is_no_image(tmp_path: Path) -> None:
    for mask in ("{case}_mask{ext}", "{case}.seg.nrrd"):
        name = mask.format(case="a", ext=".mha")
        rule, raw = recipe("{case}{ext}", mask), tmp_path / name
        cases = find_cases(rule, touch(raw, "a.nii.gz", name))
        assert found(cases) == {"a": ("a.nii.gz", name)} and reasons(cases) == {"a": None}


def test_case_pattern_limits_names(tmp_path: Path) -> None:
    rule = recipe("**/{case}.nii", "**/{case}-m.nii", case=r"p\d+")
    touch(tmp_path, "p1.nii", "p1-m.nii", "x2.nii", "x2-m.nii", "p1-m-m.nii")
    assert found(find_cases(rule, tmp_path)) == {"p1": ("p1.nii", "p1-m.nii")}


def test_dot_files_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.nii", "masks/a.nii", "images/._a.nii", "masks/._a.nii")
    touch(tmp_path, "images/.DS_Store", ".trash/images/b.nii", "images/.c.nii", "masks/.c.nii")
    assert set(found(find_cases(FLAT, tmp_path))) == {"a"}


def test_natural_order(tmp_path: Path) -> None:
    names = ["case_10", "case_9", "case_010", "b", "case_1", "10", "9", "case_9b"]
    for name in names:
        touch(tmp_path, f"images/{name}.nii", f"masks/{name}.nii")
    order = [case.case_id for case in find_cases(FLAT, tmp_path)]
    assert sorted(order) == sorted(names)
    for earlier, later in (("9", "10"), ("case_1", "case_9"), ("case_9", "case_10")):
        assert order.index(earlier) < order.index(later)
    assert order.index("case_9b") < order.index("case_10")


def test_halves_of_a_pair(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.nii", "masks/a.nii", "images/lone.nii", "masks/orphan.nii")
    cases = find_cases(FLAT, tmp_path)
    assert reasons(cases) == {
        "a": None,
        "lone": Reason.MASK_MISSING,
        "orphan": Reason.IMAGE_MISSING,
    }
    details = {case.case_id: case.problem[1] for case in cases if case.problem}
    assert "images/lone.nii" in details["lone"] and "masks/orphan.nii" in details["orphan"]
    without_images = reasons(find_cases(FLAT, tmp_path, need_images=False))
    assert without_images["orphan"] is None and without_images["lone"] is Reason.MASK_MISSING


def test_two_files_for_one_case(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.nii", "images/a.nii.gz", "masks/a.nii", "images/b.nii")
    touch(tmp_path, "masks/b.nii", "masks/b.mha")
    cases = find_cases(FLAT, tmp_path)
    assert reasons(cases) == dict.fromkeys("ab", Reason.AMBIGUOUS_FILES)
    assert cases[0].problem is not None
    assert "images/a.nii.gz" in cases[0].problem[1] and "2 images" in cases[0].problem[1]
    assert reasons(find_cases(FLAT, tmp_path, need_images=False))["a"] is None


def test_links_are_followed_inside_the_root_only(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    touch(root, "store/a.nii", "masks/a.nii", "images/b.nii", "masks/b.nii", "masks/c.nii")
    touch(outside, "secret.nii", "images/d.nii", "masks/d.nii")
    (root / "images" / "a.nii").symlink_to("../store/a.nii")
    (root / "images" / "c.nii").symlink_to(outside / "secret.nii")
    (root / "elsewhere").symlink_to(outside)  # a folder outside is not looked into, but told
    (root / "not mounted").symlink_to(tmp_path / "absent")
    touch(root, "masks/e.nii", "masks/f.nii")
    (root / "images" / "e.nii").symlink_to("e.nii")  # a link to itself
    (root / "images" / "f.nii").symlink_to(outside / "absent.nii")
    rule = recipe("**/images/{case}{ext}", "**/masks/{case}{ext}")
    result = reasons(find_cases(rule, root))
    assert (result["a"], result["b"], result["c"]) == (None, None, Reason.PATH_LEAVES_ROOT)
    assert "d" not in result
    assert result["elsewhere"] is Reason.FOLDER_UNREADABLE
    assert result["not mounted"] is Reason.FOLDER_UNREADABLE
    assert result["f"] is Reason.PATH_LEAVES_ROOT
    assert result["e"] is Reason.UNREADABLE


def test_loops_and_second_ways_into_a_folder(tmp_path: Path) -> None:
    root = touch(tmp_path / "root", "images/a.nii", "masks/a.nii")
    (root / "images" / "up").symlink_to("..")
    (root / "again").symlink_to("images")
    (root / "self").symlink_to(".")
    (root / "above").symlink_to(tmp_path)
    # A link that sorts before the folder it leads to must not hide the folder's own name.
    rule = recipe("**/images/{case}{ext}", "masks/{case}{ext}")
    assert found(find_cases(rule, root)) == {"a": ("images/a.nii", "masks/a.nii")}


def test_the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    touch(tmp_path / "disk", "images/a.nii", "masks/a.nii")
    (tmp_path / "raw").symlink_to("disk")
    assert reasons(find_cases(FLAT, tmp_path / "raw")) == {"a": None}


def test_first_layout_with_masks_wins(tmp_path: Path) -> None:
    kits = load_recipe("kits21").recipe
    for case in ("case_00000", "case_00001"):
        touch(tmp_path, f"data/{case}/imaging.nii.gz", f"data/{case}/segmentation.nii.gz")
    kits23 = find_cases(kits, tmp_path)
    assert [case.mask and case.mask.name for case in kits23] == ["segmentation.nii.gz"] * 2
    touch(tmp_path, "data/case_00000/aggregated_MAJ_seg.nii.gz")
    kits21 = find_cases(kits, tmp_path)
    assert [case.mask and case.mask.name for case in kits21] == ["aggregated_MAJ_seg.nii.gz", None]
    assert reasons(kits21)["case_00001"] is Reason.MASK_MISSING  # layouts are never mixed


def test_instance_files(tmp_path: Path) -> None:
    content = load_recipe("kits21").recipe.model_dump(mode="json")
    rule = Recipe.model_validate({**content, "instances": {"rule": "files"}})
    case = "case_00007"
    parts = f"{case}/segmentations/tumor_instance-%d_annotation-%d.nii.gz"
    touch(tmp_path, f"{case}/imaging.nii.gz", *(parts % (i, a) for i in (10, 2) for a in (2, 1)))
    touch(tmp_path, f"{case}/segmentations/kidney_instance-1_annotation-1.nii.gz")
    (one,) = find_cases(rule, tmp_path)
    assert one.problem is None
    assert [key[:2] for key in one.instances] == [(2, 1), (2, 2), (10, 1), (10, 2)]
    touch(tmp_path, f"copy/{parts % (2, 1)}")
    (two,) = find_cases(rule, tmp_path)
    assert two.problem is not None and two.problem[0] is Reason.AMBIGUOUS_FILES
    touch(tmp_path, f"{case}/aggregated_MAJ_seg.nii.gz")
    by_components = find_cases(load_recipe("kits21").recipe, tmp_path)
    assert by_components[0].instances == ()


def test_nothing_found_says_what_was_expected_and_what_is_there(tmp_path: Path) -> None:
    touch(tmp_path, "scan.nii", "readme.txt")
    with pytest.raises(SourceError) as caught:
        find_cases(load_recipe("kits21").recipe, tmp_path)
    message = str(caught.value)
    for part in ("kits21", "aggregated_MAJ_seg.nii.gz", "segmentation.nii.gz", "scan.nii"):
        assert part in message
    assert "uls-data recipe show kits21" in message
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no files at all"):
        find_cases(FLAT, tmp_path / "empty")
    # Images alone may be any source's.
    touch(tmp_path / "only", "images/a.nii")
    with pytest.raises(SourceError, match=r"images/a\.nii"):
        find_cases(FLAT, tmp_path / "only")


def test_bad_roots(tmp_path: Path) -> None:
    touch(tmp_path, "file")
    for root in (tmp_path / "absent", tmp_path / "file"):
        with pytest.raises(SourceError, match=root.name):
            find_cases(FLAT, root)


def test_archive_only_sources_cannot_be_built(tmp_path: Path) -> None:
    content = yaml.safe_load(recipe_template("mine"))
    content["reader"] = {"name": "archive_only", "case": ".+", "why": "Waits for a reader."}
    with pytest.raises(SourceError, match=r"Waits for a reader\."):
        find_cases(Recipe.model_validate(content), tmp_path)


def test_a_folder_can_be_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.nii", "masks/a.nii", "out/images/a.nii", "out/masks/a.nii")
    rule = recipe("**/images/{case}{ext}", "**/masks/{case}{ext}")
    assert reasons(find_cases(rule, tmp_path)) == {"a": Reason.AMBIGUOUS_FILES}
    assert reasons(find_cases(rule, tmp_path, leave_out=tmp_path / "out")) == {"a": None}
    assert reasons(find_cases(rule, tmp_path, leave_out=tmp_path / "absent"))["a"] is not None


def test_odd_names(tmp_path: Path) -> None:
    names = ["with space", "line\nbreak", "Knoten-ä-結節", "quote'\"", "a.b.c", "-x", "100%"]
    for name in names:
        touch(tmp_path, f"images/{name}.nii.gz", f"masks/{name}.nii")
    cases = find_cases(FLAT, tmp_path)
    assert reasons(cases) == dict.fromkeys(names)
    assert all((tmp_path / path).is_file() for case in cases for path in case.files())


def test_a_folder_named_like_a_volume_is_not_lost(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.nii.gz/a.dcm", "masks/a.nii.gz", "images/b.nii", "masks/b.nii")
    assert set(reasons(find_cases(FLAT, tmp_path))) == {"a", "b"}
