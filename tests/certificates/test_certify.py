"""`certify`: masks of known and unknown lesions, a certificate, rows that meet it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from makers.certified import write_pseudo

from uls_data import certify
from uls_data.certificates import mark, read_certificate
from uls_data.cli import main
from uls_data.errors import ManifestError
from uls_data.manifest.expected import expected_dice
from uls_data.manifest.parquet import iterate_rows, write_manifest

# So weak a promise needs few patients.
WEAK: dict[str, Any] = {"risk": 0.3, "confidence": 0.8, "least_patients": 5}
MEMBERS = ("ellipsoid",)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pseudo(tmp_path_factory.mktemp("known"), range(30))


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pseudo(tmp_path_factory.mktemp("new"), range(100, 112), truth=False)


@pytest.fixture(scope="module")
def certificate(known: Path, new: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cert") / "cert.json"
    marked = out.with_name("manifest") / "marked.parquet"
    certify(new, known, out, members=MEMBERS, manifest_out=marked, **WEAK)
    return out


def test_a_certificate_says_what_it_rests_on(certificate: Path, known: Path) -> None:
    found = read_certificate(certificate)
    evidence = found.evidence
    assert evidence.patients == evidence.masks == 30
    assert evidence.fitted_patients == 12 and evidence.tested_patients == 18
    assert evidence.p_value <= 0.2 < 1
    assert (evidence.layer, found.members) == ("pseudo3d-r1", MEMBERS)
    assert [file.name for file in evidence.manifests] == [known.name]
    assert f"{evidence.failures} of these masks fail" in found.sentence
    assert "at most 0.3 have a Dice under 0.7, with 0.8 confidence" in found.sentence
    (everything,) = (group for group in evidence.groups if group.by == "all")
    assert everything.masks == 18 and everything.failed == evidence.failures
    assert found.accepted["lesion_type"] == {"liver": 30}


def test_rows_that_meet_it_are_the_good_ones(certificate: Path, new: Path) -> None:
    marked = list(iterate_rows(certificate.with_name("manifest") / "marked.parquet"))
    kept = [row for row in marked if row["certified"]]
    assert len(marked) == 12 and 5 <= len(kept) < 12
    sha256 = read_certificate(certificate).sha256
    assert {row["certificate"] for row in marked} == {sha256}
    random = {row["case_id"]: np.random.default_rng(int(row["case_id"])) for row in marked}
    fails = {case: (its.uniform(6, 9), its.random() < 0.4)[1] for case, its in random.items()}
    assert sum(fails.values()) >= 2
    assert sum(fails[row["case_id"]] for row in kept) <= 0.3 * len(kept)
    expected = {row["case_id"]: expected_dice(row) for row in marked}
    bad = [value for case, value in expected.items() if fails[case]]
    good = [value for case, value in expected.items() if not fails[case]]
    assert np.mean(bad) < np.mean(good)  # type: ignore[arg-type]


def test_the_same_again_gives_the_same_bytes(
    certificate: Path, known: Path, new: Path, tmp_path: Path
) -> None:
    certify(new, known, tmp_path / "again.json", members=MEMBERS, workers=2, **WEAK)
    assert (tmp_path / "again.json").read_bytes() == certificate.read_bytes()


def test_a_changed_certificate_is_refused(certificate: Path, tmp_path: Path) -> None:
    content = json.loads(certificate.read_text())
    path = tmp_path / "c.json"
    for change, words in [
        ({"threshold": -1}, "changed after it was written"),
        ({"risk": 2}, "risk"),
        ({"certificate_version": 9}, "certificate_version"),
    ]:
        path.write_text(json.dumps({**content, **change}))
        with pytest.raises(ManifestError, match=words):
            read_certificate(path)
    content["score"]["terms"][0]["measure"] = "colour"
    path.write_text(json.dumps(content))
    with pytest.raises(ManifestError, match="no measure 'colour'"):
        read_certificate(path)
    with pytest.raises(ManifestError, match="cannot be read"):
        read_certificate(tmp_path / "absent.json")


def test_a_type_that_the_calibration_lacks_is_never_kept(certificate: Path, tmp_path: Path) -> None:
    other = write_pseudo(tmp_path, range(200, 205), truth=False, lesion_type="bone")
    marks = mark(other, certificate)
    assert marks.kept == 0 and len(marks.certified) == 5
    assert any("too few calibration patients" in text and "bone" in text for text in marks.warnings)
    assert any("lesion_type" in text for text in marks.warnings)


def test_unlike_lesions_are_warned_of(certificate: Path, new: Path, tmp_path: Path) -> None:
    assert not any(
        "differ from the calibration" in text for text in mark(new, certificate).warnings
    )
    thick = write_pseudo(tmp_path, range(300, 312), truth=False, spacing_z_mm=5.0)
    assert any(
        "differ from the calibration" in text and "spacing_z_mm" in text
        for text in mark(thick, certificate).warnings
    )


def test_masks_of_another_model_are_warned_of(certificate: Path, tmp_path: Path) -> None:
    other = write_pseudo(tmp_path, range(400, 402), truth=False, model_sha256="ab" * 32)
    assert any(
        "models without a mask in the calibration (1)" in text
        for text in mark(other, certificate).warnings
    )


def test_a_file_that_cannot_be_read_is_not_certified(certificate: Path, tmp_path: Path) -> None:
    manifest = write_pseudo(tmp_path, range(500, 503), truth=False)
    next(tmp_path.glob("own/labels/*/*_0501_*")).write_bytes(b"no gzip")
    marks = mark(manifest, certificate)
    assert [row["voi_id"][4:8] for row in marks.failed] == ["0501"]
    assert len(marks.certified) == 3 and not marks.certified["own", "0501", 1, 0, "pseudo3d-r1"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"risk": 0}, "--risk"),
        ({"confidence": 1}, "--confidence"),
        ({"risk": 0.01, "confidence": 0.95}, "this promise needs at least"),
        ({"risk": 0.1, "confidence": 0.7, "dice": 0.999}, "no rule keeps the promise"),
        ({"least_patients": 31}, "0 patients with a known mask"),
        ({"layer": "pseudo3d-r7"}, "no pseudo-mask of layer 'pseudo3d-r7'"),
    ],
)
def test_no_certificate(
    known: Path, new: Path, tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ManifestError, match=words):
        certify(new, known, tmp_path / "c.json", members=MEMBERS, **{**WEAK, **options})
    assert not (tmp_path / "c.json").exists()


def test_a_member_that_there_is_not_is_refused(known: Path, new: Path, tmp_path: Path) -> None:
    """A misspelt one told nothing; nor does the layer itself."""
    for name in ("elipsoid", "pseudo3d-r1"):
        words = (
            f"--member {name}: expected .*ellipsoid, likeness, jury_3d, or a layer .*there is none"
        )
        with pytest.raises(ManifestError, match=words):
            certify(new, known, tmp_path / "c.json", members=("ellipsoid", name), **WEAK)


def test_no_truth_and_several_layers(known: Path, new: Path, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="--truth"):
        certify(known, new, tmp_path / "c.json", members=MEMBERS, **WEAK)
    rows = list(iterate_rows(new))
    write_manifest([*rows, *({**row, "layer": "pseudo3d-r2"} for row in rows)], tmp_path / "m")
    with pytest.raises(ManifestError, match="several layers of masks in 3D"):
        certify(tmp_path / "m", known, tmp_path / "c.json", members=MEMBERS, **WEAK)


def test_masks_of_lesions_that_the_teacher_knew_are_left_out(
    known: Path, new: Path, tmp_path: Path
) -> None:
    rows = list(iterate_rows(known))
    for row in rows:
        row["teacher_saw_lesion"] = row["case_id"] < "0004"
    some, every = known.parent / "some.seen", known.parent / "every.seen"
    write_manifest(rows, some)
    report = certify(new, some, tmp_path / "c.json", members=MEMBERS, **WEAK)
    evidence = report.certificate.evidence
    assert (evidence.patients, evidence.left_out_seen) == (26, 4)
    write_manifest([{**row, "teacher_saw_lesion": True} for row in rows], every)
    with pytest.raises(ManifestError, match="30 masks are by a teacher"):
        certify(new, every, tmp_path / "c.json", members=MEMBERS, **WEAK)


def test_truth_may_lie_in_another_manifest(
    certificate: Path, known: Path, new: Path, tmp_path: Path
) -> None:
    rows = list(iterate_rows(known))
    for name, layer in (("masks", "pseudo3d-r1"), ("truth", "annotated")):
        path = known.parent / f"only-{name}.parquet2"
        write_manifest([row for row in rows if row["layer"] == layer], path)
    masks, truth = (known.parent / f"only-{name}.parquet2" for name in ("masks", "truth"))
    report = certify(new, masks, tmp_path / "c.json", truth=truth, members=MEMBERS, **WEAK)
    assert report.certificate.threshold == read_certificate(certificate).threshold


def test_command(
    known: Path, new: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(new), "--calibration", str(known), "--out", str(tmp_path / "c.json")]
    words += ["--member", "ellipsoid", "--risk", "0.3", "--confidence", "0.8"]
    words += ["--least-patients", "5", "--workers", "0"]
    for more in ([], ["--json"]):
        with pytest.raises(SystemExit) as end:
            main(["certify", *words, *more])
        assert end.value.code == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("Of the kept masks, one of each patient, at most 0.3")
    assert any(line.startswith("Next: uls-data filter") for line in out)
    assert json.loads(out[-1])["sha256"] == read_certificate(tmp_path / "c.json").sha256
