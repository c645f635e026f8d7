"""The chain of hashes holds on what a build made, and breaks where somebody tampered with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from demo.files import write_nifti
from demo.phantom import store
from uls_data.cli import main
from uls_data.errata import Correction, append, apply_errata
from uls_data.errors import ManifestError, RecipeError
from uls_data.factory import build
from uls_data.filtering import filter as filter_manifest
from uls_data.manifest import read_table, write_manifest
from uls_data.manifest.row import Row
from uls_data.nifti_writer import nifti_gz
from uls_data.provenance import blame, explain
from uls_data.provenance.link import STATES
from uls_data.recipe import recipe_template
from uls_data.voi import VOI_SHAPE

AFFINE = np.array([[0.75, 0, 0, -31.5], [0, 0.75, 0, 12.25], [0, 0, 2.5, -804.0], [0, 0, 0, 1.0]])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Raw data of two lesions, `raw`; their build, `out`; and corrections of the first."""
    folder = tmp_path_factory.mktemp("made")
    raw, out = folder / "raw", folder / "out"
    image = np.random.default_rng(0).integers(-800, 800, (24, 20, 16), "i2")
    mask = np.zeros(image.shape, np.uint8)
    mask[3:9, 4:10, 3:9] = mask[14:21, 11:18, 8:14] = 1
    for kind, array in (("images", image), ("masks", mask)):
        write_nifti(raw / kind / "a.nii", *store(array, AFFINE, "LPS"))
    (raw / "mine.yaml").write_text(recipe_template("mine"), encoding="utf-8")
    rows = build(raw / "mine.yaml", raw, out, clicks=2).rows
    assert [row["status"] for row in rows] == ["ok"] * 4
    fix = {"kind": "note", "source": "mine", "voi_id": rows[0]["voi_id"], "layer": "annotated"}
    fix |= {"reason": "a good one", "evidence": "looked", "author": "me", "date": "2026-01-02"}
    fix |= {"before": rows[0]["label_voxels_sha256"], "after": rows[0]["label_voxels_sha256"]}
    append(folder / "one.yaml", Correction.model_validate(fix))
    fix |= {"kind": "relabel", "columns": {"lesion_type": "lung"}, "reason": "in the lung"}
    append(folder / "one.yaml", Correction.model_validate(fix))
    apply_errata(folder / "one.yaml", out)
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "made"))


def rows_of(folder: Path, name: str = "mine") -> list[Row]:
    rows: list[Row] = read_table(folder / "out" / "manifest" / f"{name}.parquet").to_pylist()
    return rows


def changed(folder: Path, name: str = "mine", **columns: Any) -> None:
    """Tamper with the manifest."""
    rows = [row | columns for row in rows_of(folder, name)[:1]] + rows_of(folder, name)[1:]
    write_manifest(rows, folder / "out" / "manifest" / f"{name}.parquet")


def walked(folder: Path, number: int = 0, **options: Any) -> Any:
    options = {"layer": "annotated", "recipe": folder / "raw" / "mine.yaml"} | options
    name = rows_of(folder)[number]["voi_id"]
    return explain(name, folder / "out", raw=folder / "raw", **options)


@pytest.mark.parametrize("number", range(4))
def test_every_voi_of_a_build_can_be_walked_again(made: Path, number: int) -> None:
    found = walked(made, number)
    assert found.broken is None
    assert [link.name for link in found.links] == list(STATES)
    assert {link.walked for link in found.links} == {"same"}
    assert [link.file for link in found.links if link.file] == ["same", "same"]
    row = rows_of(made)[number]
    assert [found.links[at].sha256 for at in (0, 1, 3, 6, 7)] == [
        row[f"{name}_sha256"]
        for name in ("image_source", "label_source", "recipe", "image_voxels", "label_voxels")
    ]
    assert len({link.sha256 for link in found.links}) == len(STATES)


def test_chains_differ_from_where_vois_do(made: Path) -> None:
    names = [row["voi_id"] for row in rows_of(made)[:2]]  # two clicks on one lesion
    one, other = (explain(name, made / "out", layer="annotated").links for name in names)
    same = [a.chain_sha256 == b.chain_sha256 for a, b in zip(one, other, strict=True)]
    assert same == [True] * 5 + [False] * 3


def edit(folder: Path, path: str, change: Callable[[bytes], bytes]) -> None:
    (folder / path).write_bytes(change((folder / path).read_bytes()))


def flipped(data: bytes) -> bytes:
    return data[:-100] + bytes([data[-100] ^ 1]) + data[-99:]


def erased(folder: Path) -> None:
    mask = np.zeros((24, 20, 16), np.uint8)
    mask[14:21, 11:18, 8:14] = 1
    write_nifti(folder / "raw" / "masks" / "a.nii", *store(mask, AFFINE, "LPS"))


def other_recipe(folder: Path) -> None:
    content = yaml.safe_load((folder / "raw" / "mine.yaml").read_text())
    content["lesion_type"] = "bone"
    (folder / "raw" / "mine.yaml").write_text(yaml.safe_dump(content))


FAULTS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "raw image edited": ("raw image", lambda f: edit(f, "raw/images/a.nii", flipped)),
    "raw image gone": ("raw image", lambda f: (f / "raw/images/a.nii").unlink()),
    "raw image cut short": ("raw image", lambda f: edit(f, "raw/images/a.nii", lambda b: b[:-9])),
    "raw image hash": ("raw image", lambda f: changed(f, image_source_sha256="0" * 64)),
    "raw image elsewhere": ("raw image", lambda f: changed(f, image_source="../x.nii")),
    "raw label edited": ("raw label", lambda f: edit(f, "raw/masks/a.nii", flipped)),
    "raw label gone": ("raw label", lambda f: (f / "raw/masks/a.nii").unlink()),
    "lesion erased": ("raw label", erased),
    "raw label hash": ("raw label", lambda f: changed(f, label_source_sha256="0" * 64)),
    "spacing": ("decoded voxels", lambda f: changed(f, spacing_z_mm=2.0)),
    "recipe edited": ("recipe", other_recipe),
    "recipe hash": ("recipe", lambda f: changed(f, recipe_sha256="0" * 64)),
    "lesion type": ("instance", lambda f: changed(f, lesion_type="bone")),
    "click": ("click", lambda f: changed(f, click_x_vox=5)),
    "seed": ("click", lambda f: changed(f, seed=7)),
    "position": ("VOI", lambda f: changed(f, affine=np.eye(4).ravel().tolist())),
    "padding": ("VOI", lambda f: changed(f, pad_value_hu=-9)),
    "image hash": ("VOI", lambda f: changed(f, image_voxels_sha256="0" * 64)),
    "image file": ("VOI", lambda f: edit(f, f"out/{rows_of(f)[0]['image_path']}", flipped)),
    "mask size": ("mask", lambda f: changed(f, mask_voxels=5)),
    "mask hash": ("mask", lambda f: changed(f, label_voxels_sha256="0" * 64)),
    "label file": ("mask", lambda f: edit(f, f"out/{rows_of(f)[0]['label_path']}", flipped)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_chain_breaks_at_the_link_that_was_tampered_with(copy: Path, fault: str) -> None:
    link, tamper = FAULTS[fault]
    tamper(copy)
    found = walked(copy)
    assert found.broken is not None and found.broken.name == link, [
        (one.name, one.file, one.walked, one.detail) for one in found.links
    ]
    assert found.broken.detail


def test_corrections_are_links_of_their_own(copy: Path) -> None:
    name = rows_of(copy)[0]["voi_id"]
    found = walked(copy, layer=None)
    assert found.layer == "corrected" and found.broken is None
    assert [link.name for link in found.links][-2:] == ["mask", "mask"]
    assert found.links[-1].file == "same" and found.links[-1].walked is None
    assert "relabelled (lesion_type: lung): in the lung" in found.links[-1].words
    detail = rows_of(copy, "errata")[0]["detail"]
    wrong = detail.replace(rows_of(copy)[0]["label_voxels_sha256"][:16], "0" * 16, 1)
    changed(copy, "errata", detail=wrong)
    found = explain(name, copy / "out")
    assert found.broken is found.links[-1] and "is followed by" in found.broken.detail
    changed(copy, "errata", detail=detail)
    label = copy / "out" / rows_of(copy, "errata")[0]["label_path"]
    label.write_bytes(nifti_gz(np.ones(VOI_SHAPE, np.uint8, order="F"), AFFINE))
    found = explain(name, copy / "out")
    assert found.broken is found.links[-1] and found.broken.file == "differs"


def test_without_raw_data_the_files_are_compared(copy: Path) -> None:
    name = rows_of(copy)[0]["voi_id"]
    found = explain(name, copy / "out", layer="annotated")
    assert found.broken is None and not found.verified
    assert {link.walked for link in found.links} == {None}
    shutil.rmtree(copy / "out" / "mine")
    found = explain(name, copy / "out", layer="annotated")
    assert found.broken is None and [k.file for k in found.links if k.file] == ["absent"] * 2


def test_a_replayed_build_is_walked_by_its_positions(made: Path, tmp_path: Path) -> None:
    raw = made / "raw"
    manifest = made / "out" / "manifest" / "mine.parquet"
    build(raw / "mine.yaml", raw, tmp_path / "drawn", seed=5)
    build(raw / "mine.yaml", raw, tmp_path / "out", seed=5, replay=manifest)
    (tmp_path / "raw").symlink_to(raw)
    found = walked(tmp_path)
    assert found.broken is not None and found.broken.name == "click"
    assert walked(tmp_path, replayed=True).broken is None
    changed(tmp_path, affine=(np.eye(4) * [0.75, 0.75, 2.5, 1]).ravel().tolist())
    found = walked(tmp_path, replayed=True)
    assert found.broken is not None and found.broken.name == "click"


def test_an_archive_without_provenance_is_explained_too(made: Path, tmp_path: Path) -> None:
    from uls_data.manifest.index import index

    labels = made / "out" / "mine" / "labels" / "annotated"
    index(labels, tmp_path / "m.parquet", source="mine", workers=0)
    (name, *_) = sorted(path.name.removesuffix(".nii.gz") for path in labels.iterdir())
    found = explain(name, tmp_path / "m.parquet")
    assert found.broken is None and found.links[0].words == "not recorded"
    (event,) = blame(name, tmp_path / "m.parquet")
    assert event.kind == "indexed"


def test_blame_tells_everything_in_order(copy: Path) -> None:
    name = rows_of(copy)[0]["voi_id"]
    weak = [row | {"supervision": "weak_2d"} for row in rows_of(copy)]
    write_manifest(weak, copy / "weak" / "manifest" / "mine.parquet")
    kept = copy / "kept" / "manifest" / "mine.parquet"
    filter_manifest(copy / "weak" / "manifest" / "mine.parquet", kept, rule="mask_voxels > 9000")
    events = blame(name, [copy / "out", kept])
    assert [event.kind for event in events] == ["cut", "left out", "note", "relabel"]
    assert "recipe mine version" in events[0].words and events[0].date is None
    assert "filtered" in events[1].words and events[1].manifest == str(kept)
    assert (events[3].author, events[3].date) == ("me", "2026-01-02")
    assert "lesion_type: lung" in events[3].words and "evidence: looked" in events[3].words
    assert len(blame(name, [copy / "out", copy / "out"])) == 3


def test_wrong_questions(made: Path, tmp_path: Path) -> None:
    name = rows_of(made)[0]["voi_id"]
    with pytest.raises(ManifestError, match="Did you mean a_lesion_02_sample_1"):
        blame("a_lesion_02_samples_1", made / "out")
    with pytest.raises(ManifestError, match="no layer 'jury', only annotated, corrected"):
        explain(name, made / "out", layer="jury")
    with pytest.raises(RecipeError, match="mine"):
        explain(name, made / "out", raw=made / "raw")
    nowhere = tmp_path / "nothing"
    found = explain(name, made / "out", raw=nowhere, recipe=made / "raw" / "mine.yaml")
    assert found.broken is found.links[0] and "is not below the raw root" in found.broken.detail


@pytest.mark.parametrize(
    ("target", "told"), [("loop", "leads back to itself"), ("..", "leads out of the raw root")]
)
def test_links_of_a_raw_file(made: Path, tmp_path: Path, target: str, told: str) -> None:
    row, raw = rows_of(made)[0], tmp_path / "raw"
    link = raw / row["image_source"]
    link.parent.mkdir(parents=True)
    link.symlink_to(link if target == "loop" else tmp_path)
    found = explain(row["voi_id"], made / "out", raw=raw, recipe=made / "raw" / "mine.yaml")
    assert found.broken is found.links[0] and told in found.broken.detail


def test_commands(
    copy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = rows_of(copy)[0]["voi_id"]
    monkeypatch.chdir(copy / "out")

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main([*arguments])
        streams = capsys.readouterr()
        return int(caught.value.code or 0), streams.out, streams.err

    code, text, _ = run("blame", name, "--json")
    assert code == 0
    assert [json.loads(line)["kind"] for line in text.splitlines()] == ["cut", "note", "relabel"]
    assert "in the lung" in run("blame", name)[1]
    verify = ("explain", name, "--verify", "--raw", "../raw", "--recipe", "../raw/mine.yaml")
    code, text, _ = run(*verify)
    assert code == 0 and "every link that the manifest states is the same" in text
    edit(copy, "raw/masks/a.nii", flipped)
    code, text, _ = run(*verify)
    assert code == 1 and "The chain breaks at: raw label" in text
    code, text, _ = run(*verify, "--json")
    broken = [json.loads(line)["broken"] for line in text.splitlines()]
    assert code == 1 and broken[1] and not broken[0]
    assert run("explain", name, "--verify")[0] == 2
    assert run("explain", "nothing")[0] == 2
