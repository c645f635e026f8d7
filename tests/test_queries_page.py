"""Every command and every piece of code of docs/queries.md runs, and answers something."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from makers.shared import Shared

from uls_data.cli import cli
from uls_data.manifest import write_manifest
from uls_data.manifest.parquet import iterate_rows

PAGE = (Path(__file__).parent.parent / "docs" / "queries.md").read_text(encoding="utf-8")
QUESTIONS = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
# What each answer must hold; a build without such rows would not test the page.
EXPECTED = {
    1: ["kits21", "deeplesion3d"],
    2: ["kidney21_case_00000_lesion_01_sample_0", "liver_33_lesion_01_sample_0"],
    3: ["leak_same_scan", "heldout"],
    4: ["lesion_type", "mean"],
    5: ["1 removed", "long_axis: key_slice_long_error_vox 7.25", "000001_01_01_112_sample_0"],
    6: ["same", "added", "mask changed"],
    7: ["truncated_file", "case_00001"],
    8: ["kidney21_case_00200_lesion_03_sample_0", "liver_93_lesion_10_sample_0"],
    9: ["CC-BY-NC-SA-4.0", "True", "<NA>"],
    10: ["63.55 ± 39.99", "lymph_node", "ABD_LYMPH_"],
    11: ["rows"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, shared: Shared) -> Path:
    """A build of two sources, and an older one: a lesion less, and another mask.

    One mask of either source is made to look worse than it is, so that every question has an
    answer.
    """
    root = tmp_path_factory.mktemp("queries")
    for source in ("kits21", "deeplesion"):
        shared.vois(root / "vois", source)
        manifest = root / "vois" / "manifest" / f"{source}.parquet"
        rows = list(iterate_rows(manifest))
        first, second, *_ = (row for row in rows if row["status"] == "ok")
        first["qc_flags"].append("cut_by_voi")
        first["key_slice_long_error_vox"] = 7.25 if source == "deeplesion" else None
        write_manifest(rows, manifest)
        rows.remove(first)
        second["label_voxels_sha256"] = "0" * 64
        write_manifest(rows, root / "vois-before" / "manifest" / f"{source}.parquet")
    return root


def test_every_question_is_expected() -> None:
    assert [int(question.split(".")[0]) for question in QUESTIONS] == list(EXPECTED)


def test_all_of_it_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    names: dict[str, object] = {}
    for question in QUESTIONS:
        number = int(question.split(".")[0])
        said = ""
        blocks = re.findall(r"^```(sh|python)\n(.*?)^```", question, re.MULTILINE | re.DOTALL)
        assert blocks, question
        for language, code in blocks:
            if language == "sh":
                for line in code.splitlines():
                    tool, *arguments = shlex.split(line, comments=True)
                    assert tool == "uls-data"
                    done = CliRunner().invoke(cli, arguments, standalone_mode=False)
                    assert done.exception is None, (line, done.exception)
                    assert not done.return_value, line
                    said += done.stdout
            else:
                with contextlib.redirect_stdout(io.StringIO()) as printed:
                    exec(code, names)
                said += printed.getvalue()
        missing = [word for word in EXPECTED[number] if word not in said]
        assert not missing, f"question {number}: no {missing} in\n{said[:2000]}"
