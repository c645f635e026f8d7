"""Single files by address, size and hash, from a web server on this machine."""

from __future__ import annotations

import hashlib
import os
import resource
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from makers.store import Proxy, Spoil, busy, cut, flipped

from demo.idc import BUCKET, Store, write_pinned
from uls_data.errors import RecipeError, SourceError
from uls_data.fetching import FetchReport, fetch, file_download
from uls_data.fetching.downloading import STAGING
from uls_data.fetching.wanted import part_of
from uls_data.recipe import load_recipe

DATA = bytes(range(256)) * 8192  # 2 MiB: two chunks
SHA = hashlib.sha256(DATA).hexdigest()
Pin = Callable[..., Path]


@pytest.fixture
def pin(tmp_path: Path, store: Store, line: Proxy, monkeypatch: pytest.MonkeyPatch) -> Pin:
    """Make a recipe that pins files behind the proxy."""
    pytest.importorskip("pooch")
    monkeypatch.setenv(file_download.LOOPBACK_VARIABLE, "1")
    monkeypatch.setattr(file_download, "_PAUSE_S", 0.0)
    store.put("masks.zip", DATA)

    def make(*files: dict[str, Any], **block: Any) -> Path:
        base = {"url": f"{line.url}/{BUCKET}/masks.zip", "path": "in/masks.zip"}
        base |= {"size_bytes": len(DATA), "sha256": SHA}
        block["files"] = [{**base, **one} for one in files]
        return write_pinned(tmp_path / "recipe", {}, block)

    return make


def outcome(report: FetchReport) -> tuple[str, str | None, str | None]:
    (item,) = report.items
    return item.outcome.value, item.reason, item.detail


def named(raw: Path) -> list[str]:
    """Files below a root that have their names."""
    found = [path.relative_to(raw).as_posix() for path in raw.rglob("*") if path.is_file()]
    return sorted(path for path in found if not path.startswith(STAGING))


def test_a_file_comes_once(tmp_path: Path, pin: Pin, line: Proxy) -> None:
    recipe, raw = pin({}), tmp_path / "raw"
    assert outcome(fetch(recipe, raw, dry_run=True))[0] == "planned" and not raw.exists()
    came: list[int] = []
    report = fetch(recipe, raw, progress=lambda size, _: came.append(size))
    assert outcome(report)[0] == "fetched" and report.complete
    assert (raw / "in/masks.zip").read_bytes() == DATA and named(raw) == ["in/masks.zip"]
    assert sum(came) == len(DATA) and sum(line.asked.values()) == 1
    assert outcome(fetch(recipe, raw))[0] == "whole" and sum(line.asked.values()) == 1


def test_one_that_is_there_is_hashed_unless_that_was_done(
    tmp_path: Path, pin: Pin, line: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, raw = pin({}), tmp_path / "raw"
    place = raw / "in/masks.zip"
    place.parent.mkdir(parents=True)
    place.write_bytes(DATA)
    assert outcome(fetch(recipe, raw))[0] == "whole" and not line.asked
    place.write_bytes(DATA[:-1] + b"x")
    kind, reason, detail = outcome(fetch(recipe, raw))
    assert (kind, reason) == ("failed", "in_the_way")
    assert f"expected {SHA}; move it away" in str(detail)
    place.write_bytes(b"short")
    assert "has 5 bytes, expected 2097152" in str(outcome(fetch(recipe, raw))[2])
    assert place.read_bytes() == b"short"
    place.unlink()
    fetch(recipe, raw)
    monkeypatch.setattr("uls_data.fetching.wanted.sha256_file", lambda _: "hashed again")
    assert outcome(fetch(recipe, raw))[0] == "whole"
    os.utime(place)
    assert "hashed again" in str(outcome(fetch(recipe, raw))[2])


def test_what_came_during_the_download_is_kept(tmp_path: Path, pin: Pin, line: Proxy) -> None:
    recipe, raw = pin({}), tmp_path / "raw"
    place = raw / "in/masks.zip"

    def mine(status: int, headers: dict[str, str], body: bytes) -> Any:
        place.parent.mkdir(parents=True)
        place.write_bytes(b"mine")
        return status, headers, body

    line.spoil["masks"] = Spoil(mine)
    kind, reason, detail = outcome(fetch(recipe, raw))
    assert (kind, reason) == ("failed", "in_the_way") and "move it away" in str(detail)
    assert place.read_bytes() == b"mine"
    # What was downloaded waits for its place.
    place.unlink()
    assert outcome(fetch(recipe, raw))[0] == "fetched" and sum(line.asked.values()) == 1
    assert place.read_bytes() == DATA


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_it_goes_on_where_it_stopped(
    tmp_path: Path, pin: Pin, line: Proxy, knows_ranges: bool
) -> None:
    line.spoil["masks"] = Spoil(cut)
    line.knows_ranges = knows_ranges
    came: list[int] = []
    report = fetch(pin({}), tmp_path / "raw", progress=lambda size, _: came.append(size))
    assert outcome(report)[0] == "fetched"
    assert (tmp_path / "raw/in/masks.zip").read_bytes() == DATA
    assert line.ranges == [None, f"bytes={len(DATA) // 2}-"] and sum(came) == len(DATA)


def test_an_earlier_run_is_continued(tmp_path: Path, pin: Pin, line: Proxy) -> None:
    recipe, raw = pin({}), tmp_path / "raw"
    line.spoil["masks"] = Spoil(cut, 3)
    assert outcome(fetch(recipe, raw))[:2] == ("failed", "unreachable")
    have = len(DATA) - len(DATA) // 8
    plan = fetch(recipe, raw, dry_run=True)
    assert plan.items[0].staged_bytes == have
    line.clear()
    assert outcome(fetch(recipe, raw))[0] == "fetched"
    assert line.ranges == [f"bytes={have}-"]


def test_half_a_file_of_other_bytes_is_found_out(tmp_path: Path, pin: Pin, line: Proxy) -> None:
    recipe = load_recipe(str(pin({}))).recipe
    assert recipe.fetch is not None
    part = part_of(tmp_path / "raw" / STAGING / "files", recipe.fetch.files[0])
    part.parent.mkdir(parents=True)
    for left in (b"x" * 1000, b"x" * len(DATA), b"x" * (len(DATA) + 1)):
        part.write_bytes(left)
        assert outcome(fetch(pin({}), tmp_path / "raw"))[0] == "fetched"
        assert (tmp_path / "raw/in/masks.zip").read_bytes() == DATA
        (tmp_path / "raw/in/masks.zip").unlink()


@pytest.mark.parametrize("what", [flipped, busy])
def test_an_answer_that_is_spoiled_once(tmp_path: Path, pin: Pin, line: Proxy, what: Any) -> None:
    line.spoil["masks"] = Spoil(what)
    assert outcome(fetch(pin({}), tmp_path / "raw"))[0] == "fetched"
    assert (tmp_path / "raw/in/masks.zip").read_bytes() == DATA


def _longer(_: int, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
    return 200, {}, body + b"x"


def _shorter(_: int, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
    return 200, {}, body[:100]


def _gone(_: int, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
    return 404, {}, b""


def _moved(_: int, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
    return 302, {"Location": "http://192.0.2.1/masks.zip"}, b""


@pytest.mark.parametrize(
    ("what", "reason", "words"),
    [
        (flipped, "damaged", ["arrived with the SHA-256", f"expected {SHA}"]),
        (_longer, "damaged", ["more than the 2097152 bytes"]),
        (_shorter, "damaged", ["ended after 100 bytes, expected 2097152"]),
        (_gone, "missing", ["404"]),
        (busy, "unreachable", ["503"]),
        (_moved, "unreachable", ["leads to http://192.0.2.1/masks.zip, which is not https"]),
    ],
)
def test_what_is_not_as_pinned_never_gets_its_name(
    tmp_path: Path, pin: Pin, line: Proxy, what: Any, reason: str, words: list[str]
) -> None:
    line.spoil["masks"] = Spoil(what, 100)
    report = fetch(pin({}), tmp_path / "raw")
    assert outcome(report)[:2] == ("failed", reason) and not report.complete
    for word in words:
        assert word in str(outcome(report)[2])
    assert named(tmp_path / "raw") == []
    line.clear()
    assert outcome(fetch(pin({}), tmp_path / "raw"))[0] == "fetched"


def test_files_of_cases(tmp_path: Path, pin: Pin) -> None:
    recipe = pin({"path": "a", "case": "A"}, {"path": "b", "case": "B"}, {"path": "table"})
    assert fetch(recipe, tmp_path / "one", limit=1).complete
    assert named(tmp_path / "one") == ["a", "table"]
    fetch(recipe, tmp_path / "two", only=["B"])
    assert named(tmp_path / "two") == ["b", "table"]
    with pytest.raises(SourceError, match="Cases are called like A"):
        fetch(recipe, tmp_path / "two", only=["zzzz"])


def test_what_a_person_has_to_get(tmp_path: Path, pin: Pin) -> None:
    errand = {"what": "the masks", "url": "https://a.org/ask", "why": "asks for an account"}
    errand["path"] = "masks/by/hand"
    recipe = pin({}, by_hand=[errand])
    report = fetch(recipe, tmp_path / "raw")
    assert Counter(item.outcome.value for item in report.items) == {"refused": 1, "fetched": 1}
    assert not report.complete
    assert report.items[1].detail == "the masks: asks for an account; go to https://a.org/ask"
    (tmp_path / "raw/masks/by/hand").mkdir(parents=True)
    assert fetch(recipe, tmp_path / "raw").complete


def test_licences(tmp_path: Path, pin: Pin, line: Proxy) -> None:
    recipe = pin({"licence": "ask the author"}, {"path": "b", "licence": "CC BY-NC 4.0"})
    report = fetch(recipe, tmp_path / "raw")
    assert [item.outcome.value for item in report.items] == ["fetched", "refused"]
    assert "'ask the author'" in str(report.items[1].detail)


def test_a_link_that_leads_out(tmp_path: Path, pin: Pin) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "raw/in").symlink_to(tmp_path / "out")
    assert outcome(fetch(pin({}), tmp_path / "raw"))[:2] == ("failed", "in_the_way")
    assert list((tmp_path / "out").iterdir()) == []


def test_tests_alone_use_http(
    tmp_path: Path, pin: Pin, line: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(file_download.LOOPBACK_VARIABLE)
    with pytest.raises(SourceError, match="which is not https"):
        fetch(pin({}), tmp_path / "raw")
    assert not line.asked and named(tmp_path / "raw") == []


def test_what_is_absent_is_named(tmp_path: Path, pin: Pin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(SourceError, match=r"need pooch: pip install 'uls-data\[fetch\]'"):
        fetch(pin({}), tmp_path / "raw")


def test_a_recipe_that_pins_nothing_says_how_to_get_it(tmp_path: Path) -> None:
    load_recipe.cache_clear()
    with pytest.raises(RecipeError, match=r"(?s)lits pins nothing.*\n  1\. "):
        fetch("lits", tmp_path)


def test_a_disk_that_takes_no_more(tmp_path: Path, pin: Pin) -> None:
    """A limit on the size of files: the write fails as on a full disk, and nothing gets a name."""
    recipe, raw = pin({}), tmp_path / "raw"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(DATA) // 2, before[1]))
    try:
        kind, reason, detail = outcome(fetch(recipe, raw))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (kind, reason, detail) == ("failed", "disk_full", "in/masks.zip: File too large")
    assert not named(raw)
    assert outcome(fetch(recipe, raw))[0] == "fetched" and named(raw) == ["in/masks.zip"]
