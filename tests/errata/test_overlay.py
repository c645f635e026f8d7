"""Overlays: what is not an overlay is refused in words, and appending never loses one."""

from __future__ import annotations

import datetime
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from makers.labels import correction, cube, write_overlay

from uls_data.errata import Change, Correction, ErrataError, append, load_overlay
from uls_data.errata import overlay as module

NOTE = correction("note", 1, cube())
DROP = correction("drop", 1, cube())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "remove"}, "kind"),
        ({"voi_id": "../../etc/passwd"}, "no file name"),
        ({"voi_id": ".hidden"}, "no file name"),
        ({"source": "a/b"}, "no file name"),
        ({"layer": "a/b"}, "layer"),
        ({"reason": "one | two"}, "without |"),
        ({"reason": "one\ntwo"}, "one line"),
        ({"reason": "x" * 1001}, "1000"),
        ({"reason": None}, "reason"),
        ({"author": "someone@example.org"}, "author"),
        ({"date": "yesterday"}, "date"),
        ({"before": "AB" * 32}, "before"),
        ({"before": "ab" * 32 + "\n"}, "before"),
        ({"patch": "ab" * 32}, "`patch` has no meaning for note"),
        ({"after": None}, "`after` equals `before`"),
        ({"kind": "drop"}, "`after` is null"),
        ({"kind": "relabel"}, "needs `columns`"),
        ({"kind": "relabel", "columns": {}}, "names no column"),
        ({"kind": "relabel", "columns": {"split": "train"}}, "split"),
        ({"kind": "relabel", "columns": {"lesion_type": "nose"}}, "lesion_type"),
        ({"kind": "replace", "patch": "ab" * 32}, "replace needs `after`"),
        ({"kind": "reclick", "after": None}, "needs `click`"),
        ({"kind": "reclick", "after": None, "click": [1, 2, 128]}, "click"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_bad_corrections_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = write_overlay(tmp_path / "o.yaml", NOTE, NOTE | change)
    with pytest.raises(ErrataError) as caught:
        load_overlay(path)
    text = str(caught.value)
    assert message in text and "corrections.1" in text and str(path) in text


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i + 1}: &a{i + 1} [*a{i}, *a{i}]\n" for i in range(40))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "just text",
        "- a\n- list",
        "name: [",
        "name: a\nname: b\ntitle: t",
        "overlay_version: 2\nname: a\ntitle: t",
        "name: A b\ntitle: t",
        "name: a\ntitle: t\ncorrections: 7",
        "!!python/object/apply:os.system ['true']",
        "name: a\ntitle: !!python/name:os.system ''",
        "? [1]\n: 2",
        "date: 99999-99-99",
        "a: " + "[" * 5000,
        BOMB,
    ],
)
def test_what_is_no_overlay_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "o.yaml").write_text(text)
    with pytest.raises(ErrataError, match=r"o\.yaml"):
        load_overlay(tmp_path / "o.yaml")


def test_unreadable_and_large_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "o.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ErrataError, match="cannot be read"):
        load_overlay(tmp_path / "o.yaml")
    with pytest.raises(ErrataError, match="no such overlay"):
        load_overlay(tmp_path)
    path = write_overlay(tmp_path / "p.yaml", NOTE)
    monkeypatch.setattr(module, "MAXIMUM_BYTES", 10)
    with pytest.raises(ErrataError, match="larger"):
        load_overlay(path)


def test_append_keeps_what_stands_there(tmp_path: Path) -> None:
    path = write_overlay(tmp_path / "o.yaml", NOTE)
    path.write_text("# why this file is there\n" + path.read_text() + "# the end\n")
    append(path, Correction.model_validate(DROP))
    text = path.read_text()
    assert "# why this file is there" in text and "# the end" in text
    assert [c.kind for c in load_overlay(path).corrections] == ["note", "drop"]


@pytest.mark.parametrize(
    "text",
    [
        "name: o\ntitle: t\ncorrections: []\n",
        "{name: o, title: t}",
        "name: o\ntitle: t\ncorrections:\n",
        "corrections:\n    - X\nname: o\ntitle: t",
        "name: o\ntitle: t\ncorrections:\n    - X",
    ],
)
def test_append_takes_every_style(tmp_path: Path, text: str) -> None:
    before = ["note"] if "X" in text else []
    if text.endswith("corrections:\n"):
        text = text.removesuffix("corrections:\n")
    item = yaml.safe_dump(NOTE, default_flow_style=True, width=10_000).strip()
    (tmp_path / "o.yaml").write_text(text.replace("X", item))
    found = append(tmp_path / "o.yaml", Correction.model_validate(DROP))
    assert found == load_overlay(tmp_path / "o.yaml")
    assert [c.kind for c in found.corrections] == [*before, "drop"]


WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60)


@given(WORDS, WORDS, st.dates(), st.sampled_from(["note", "drop"]))
def test_what_is_appended_is_read_again(
    tmp_path_factory: pytest.TempPathFactory,
    reason: str,
    evidence: str,
    date: datetime.date,
    kind: str,
) -> None:
    content = correction(kind, 1, cube(), reason=reason, evidence=evidence, date=date)
    try:
        wanted = Correction.model_validate(content)
    except ValueError:
        texts = reason, evidence
        assert any(not text.strip() or "|" in text or not text.isprintable() for text in texts)
        return
    path = tmp_path_factory.mktemp("o") / "verdicts.yaml"
    append(path, wanted)
    append(path, wanted)
    assert load_overlay(path).corrections == (wanted, wanted)
    change = Change.of(wanted, "verdicts")
    assert Change.parsed(change.line()) == change


def test_writers_wait_for_each_other(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.yaml"
    notes = [
        Correction.model_validate(NOTE | {"reason": f"verdict {number}"}) for number in range(24)
    ]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda note: append(path, note), notes))
    found = load_overlay(path).corrections
    assert sorted(c.reason for c in found) == sorted(c.reason for c in notes)
    assert [p.name for p in tmp_path.iterdir()] == ["verdicts.yaml"]


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_overlay(tmp_path / "o.yaml", NOTE)
    before = path.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_bytes", full)
    with pytest.raises(ErrataError, match="No space left"):
        append(path, Correction.model_validate(DROP))
    assert path.read_bytes() == before
    (tmp_path / "bad.yaml").write_text("name: [")
    with pytest.raises(ErrataError, match="not valid YAML"):
        append(tmp_path / "bad.yaml", Correction.model_validate(DROP))
