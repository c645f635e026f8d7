"""`recipe new --raw` on ten layouts: what its recipe builds, once its questions are answered.

The lesions must be those of the shipped recipe for the same archive, or those that are known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from makers.raw_folders import write_nnunet_raw
from makers.shared import Shared

from uls_data import build
from uls_data.errors import SourceError
from uls_data.manifest.parquet import iterate_rows
from uls_data.recipe import load_recipe
from uls_data.sources.proposing import propose_recipe

Lesions = list[tuple[str, int]]


@dataclass(frozen=True)
class Layout:
    """An archive, what a user answers, and what the answer must give.

    Attributes
    ----------
    asked : str
        Must be among what could not be told.
    answers : tuple of (str, str)
        Fields of the recipe, and what a user writes there.
    says : str
        Must be among what was seen.
    """

    asked: str = ""
    answers: tuple[tuple[str, str], ...] = ()
    says: str = ""


def _tumour(value: int) -> tuple[tuple[str, str], ...]:
    rule = f"{{rule: components, values: [{value}], others: null, connectivity: 6, keep: all}}"
    return (("instances", rule),)


LARGEST = "{rule: components, values: [1], others: null, connectivity: 6, keep: largest}"
# Archives of the demo, whose shipped recipe says what must come out.
SHIPPED = {
    "kits21": Layout("of the values 1, 2, 3", _tumour(2), "the shipped recipe kits21 finds 4"),
    "lits": Layout("of the values 1, 2", _tumour(2), "the shipped recipe lits finds 5"),
    "mdsc_pancreas": Layout(says="(cancer)"),  # of the Decathlon: dataset.json names the values
    "mdsc_colon": Layout(says="the shipped recipe mdsc_colon finds"),
    "deeplesion3d": Layout("to one patient", (("instances", LARGEST),)),
    "nih_ln_med": Layout("every structure is called lesion"),  # SEG beside mask volumes
}


def lesions(manifest: Path) -> Lesions:
    """Case and voxels of each lesion, also of those that are too small."""
    rows = iterate_rows(manifest, ["case_id", "mask_voxels", "layer", "lesion_index"])
    found = {
        (row["case_id"], row["lesion_index"], row["mask_voxels"])
        for row in rows
        if row["mask_voxels"] is not None
    }
    return sorted((case, voxels) for case, _, voxels in found)


def built(raw: Path, layout: Layout, tmp_path: Path) -> Lesions:
    """Propose, ask, answer, build."""
    made = propose_recipe("mine", raw)
    assert layout.asked in "\n".join(made.unsure)
    assert layout.says in "\n".join(made.seen)
    text = made.text
    for field, answer in layout.answers:
        text, count = re.subn(rf"(?m)^( *){field}: .*$", rf"\g<1>{field}: {answer}", text)
        assert count == 1
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    load_recipe.cache_clear()
    return lesions(build(path, raw, tmp_path / "out", labels_only=True).manifest)


@pytest.mark.parametrize("source", SHIPPED)
def test_archives_of_the_demo(shared: Shared, tmp_path: Path, source: str) -> None:
    """Masks alone are read: images have faults of their own, which cost cases."""
    wanted = lesions(shared.out(source) / f"manifest/{source}.parquet")
    found = built(shared.raw(source), SHIPPED[source], tmp_path)
    cases = {case for case, _ in wanted}
    assert [one for one in found if one[0] in cases] == wanted != []
    assert len({case for case, _ in found} - cases) <= 1


def test_rtstruct(shared: Shared, tmp_path: Path) -> None:
    found = built(shared.raw("own_dicom"), Layout(says="GTV-1"), tmp_path)
    assert [case for case, _ in found] == ["p01", "p02"]


def test_pairs_in_two_folders(shared: Shared, tmp_path: Path) -> None:
    found = built(shared.raw("own"), Layout("to one patient"), tmp_path)
    assert len({case for case, _ in found}) == 5


def test_nnunet(tmp_path: Path) -> None:
    raw = write_nnunet_raw(tmp_path / "raw/Dataset007_Mine")
    found = built(raw, Layout(says="(tumour)"), tmp_path)
    voxels = 6 * 7 * 4
    assert found == [(f"mine_{case:03}", voxels) for case in (1, 2, 3) for _ in range(case)]


@pytest.mark.parametrize(
    ("name", "layout", "cases"),
    [
        ("ibsi-ct-phantom", Layout("there is one series", says="GTV-1"), {"dicom"}),
        ("dcmqi-liver", Layout("no structure's name says lesion", says="Liver"), {"ct-3slice"}),
        ("ibsi-sts", Layout("to one patient"), {"STS_003", "STS_050"}),
    ],
)
def test_real_data(
    real_data: Path, tmp_path: Path, name: str, layout: Layout, cases: set[str]
) -> None:
    found = built(real_data / name, layout, tmp_path)
    assert {case for case, _ in found} == cases


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("lidc_idri", "the shipped recipe lidc_idri reads such data"),
        ("ccc18", "the shipped recipe ccc18 reads such data"),
        ("deeplesion", "the shipped recipe deeplesion reads such data"),
        ("hospital", "the reader `measurements` reads them"),
    ],
)
def test_what_is_no_mask_names_who_reads_it(shared: Shared, source: str, words: str) -> None:
    with pytest.raises(SourceError, match=re.escape(words)):
        propose_recipe("mine", shared.raw(source))


def test_several_readers_are_asked_about(shared: Shared) -> None:
    made = propose_recipe("mine", shared.raw("hospital_readers"))
    assert "3 objects and 1 CT series" in "\n".join(made.unsure)
