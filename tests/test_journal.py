"""The journal of a run: whatever a kill or a disk leaves of it, whole lines are read."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uls_data.io.journal import Journal
from uls_data.network.plan import ModelError
from uls_data.network.progress import Progress
from uls_data.release.unfinished import Unfinished

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)
LINES = st.lists(st.lists(JSON) | st.dictionaries(st.text(), JSON), max_size=5)


def contents(path: Path) -> list[Any]:
    return [content for _, content in Journal(path).lines()]


@given(LINES, LINES, st.data())
def test_a_kill_costs_the_line_at_work_alone(
    first: list[Any], second: list[Any], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "deep" / "journal"
        journal = Journal(path)
        ends = []
        for content in first:
            journal.add(content)
            ends.append(path.stat().st_size)
        journal.close()
        written = path.read_bytes() if first else b""
        cut = data.draw(st.integers(0, len(written)))
        if first:
            path.write_bytes(written[:cut])
        # One that lacks its end alone is whole.
        whole = first[: sum(end - 1 <= cut for end in ends)]
        assert contents(path) == whole
        journal = Journal(path)
        places = [journal.add(content) for content in second]
        journal.close()
        after = contents(path)
        assert after == [*whole, *second]
        if second:
            assert list(journal.contents_at(places)) == second
        journal.rewrite(after)
        lines = [json.dumps(content) + "\n" for content in after]
        assert path.read_bytes() == "".join(lines).encode()
        journal.remove()
        assert not path.exists() and contents(path) == []


@pytest.mark.parametrize(
    "damage", [b"\0" * 50, b"\xff\xfe{}", b"{half", b"[" * 50_000, b"\n\n", b"9" * 5000, b"9"]
)
def test_damage_is_no_line(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b'{"a": 1}\n' + damage + b"\n[2]\n" + damage)
    journal = Journal(path)
    journal.add(["new"])
    journal.close()
    assert contents(path) == [{"a": 1}, [2], ["new"]]


def test_what_is_there_already(tmp_path: Path) -> None:
    """Lines of any JSON that means nothing to its owner are passed by."""
    odd: list[Any] = [None, 5, "x", [], {}, [1], [1, 2], [[], {}], {"name": 1}, {"name": "p"}]
    request = {"model": "m", "seed": 0}
    path = tmp_path / "manifest" / ".layer.journal"
    Journal(path).rewrite([request, *odd])
    with Progress(path, request, dry=True) as progress:
        assert progress.known(["a"], tmp_path) is None
    with pytest.raises(ModelError, match="another prediction of layer layer"):
        Progress(path, {**request, "seed": 1})
    Journal(tmp_path / ".parts.jsonl").rewrite(odd)
    unfinished = Unfinished(tmp_path)
    assert unfinished.known == {}
    (tmp_path / "p").touch()
    unfinished.add(tmp_path / "p", "key", "hash")
    assert Unfinished(tmp_path).sha256_of(tmp_path / "p", "key") == "hash"


def test_a_prediction_that_ended_in_its_first_line_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "manifest" / ".layer.journal"
    path.parent.mkdir()
    path.write_text('{"model": "m", "se')
    with Progress(path, {"seed": 0, "model": "m"}) as progress:
        progress.add(["b"], {"status": "ok"})
        progress.add(["a"], {"status": "failed"})
    with Progress(path, {"model": "m", "seed": 0}) as progress:
        assert progress.known(["b"], tmp_path) == {"status": "ok"}
        assert progress.known(["a"], tmp_path) is None
        progress.finish([(["a"], {"status": "ok"}), (["b"], {"status": "ok"})])
    assert path.read_text() == (
        '{"model": "m", "seed": 0}\n[["a"], {"status": "ok"}]\n[["b"], {"status": "ok"}]\n'
    )
