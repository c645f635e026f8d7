"""The comparison of trees on emulated processors: it finds what differs, and nothing does."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tools.processors import EMULATOR, PHANTOM, SLANTED, compare, differences


def test_what_differs_is_named(tmp_path: Path) -> None:
    for tree, files in (("a", "same other only_here"), ("b", "same other only_there")):
        for name in files.split():
            path = tmp_path / tree / "folder" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(tree if name == "other" else name)
    assert differences(tmp_path / "a", tmp_path / "a") == []
    assert differences(tmp_path / "a", tmp_path / "b") == [
        "folder/only_here",
        "folder/only_there",
        "folder/other",
    ]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which(EMULATOR) is None, reason=f"needs {EMULATOR} (Debian: qemu-user)")
@pytest.mark.parametrize(("model", "source"), [("Westmere", SLANTED), ("Haswell", PHANTOM)])
def test_a_build_is_the_same_on_another_processor(
    model: str, source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare((model,), (source,), tmp_path) == 0
    files = list((tmp_path / source / model).rglob("*.nii.gz"))
    assert len(files) == 4
    assert "all the same" in capsys.readouterr().out
