"""The `fetch` block of recipes: what it may say, and that it changes nothing that is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from uls_data.errors import RecipeError
from uls_data.recipe import load_recipe, recipe_template

FILE = {"url": "https://a.org/x.zip", "path": "x.zip", "size_bytes": 1, "sha256": "a" * 64}
IDC = {
    "series": "series.parquet",
    "index": "25.0.5",
    "collections": ["eay131"],
    "annotations_of": ["eay131_tumor_annotations"],
    "annotations": ["RTSTRUCT"],
}
BY_HAND = {"what": "the masks", "url": "https://a.org/ask", "why": "asks for an account"}


def recipe(folder: Path, fetch: Any) -> str:
    content = yaml.safe_load(recipe_template("mine"))
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({**content, "fetch": fetch}), encoding="utf-8")
    load_recipe.cache_clear()
    return str(path)


def test_fetch_is_no_part_of_what_a_build_makes(tmp_path: Path) -> None:
    hashes = set()
    for fetch in (None, {"files": [FILE]}, {"idc": IDC}, {"by_hand": [BY_HAND]}):
        loaded = load_recipe(recipe(tmp_path, fetch))
        assert (loaded.recipe.fetch is None) == (fetch is None)
        hashes.add(loaded.sha256)
    assert len(hashes) == 1
    idc = load_recipe(recipe(tmp_path, {"idc": IDC})).recipe.fetch
    assert idc is not None and idc.idc is not None and idc.idc.images == ("CT",)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8/x", "http://[::1]/x", "http://localhost/x"])
def test_http_on_this_machine_may_be_pinned(tmp_path: Path, url: str) -> None:
    assert load_recipe(recipe(tmp_path, {"files": [{**FILE, "url": url}]})).recipe.fetch


@pytest.mark.parametrize(
    ("fetch", "words"),
    [
        ({}, ["fetch", "names nothing"]),
        ({"file": [FILE]}, ["fetch.file", "Did you mean files?"]),
        *(
            ({"files": [{**FILE, "url": url}]}, ["fetch.files.0.url", "https://"])
            for url in ("http://a.org/x", "ftp://a.org/x", "file:///etc/passwd", "x", "https://")
        ),
        ({"files": [{**FILE, "url": "http://127.0.0.1.a.org/x"}]}, ["https://"]),
        ({"files": [{**FILE, "url": "https://[::1/x"}]}, ["not an address"]),
        ({"files": [{**FILE, "url": "https://me:pw@a.org/x"}]}, ["password", "by_hand"]),
        ({"files": [{**FILE, "url": "https://a.org/a b"}]}, ["%XX"]),
        *(
            ({"files": [{**FILE, "path": path}]}, ["fetch.files.0.path", "below the raw root"])
            for path in ("../x", "/x", "a/../x", ".x", "a//x", "a/", "a\\x", "", "a/ /x", "a\n")
        ),
        ({"files": [FILE, {**FILE, "path": "X.zip"}]}, ["two have the path"]),
        ({"files": [FILE, {**FILE, "path": "x.zip/y"}]}, ["a folder that is a file"]),
        ({"files": [{**FILE, "size_bytes": 0}]}, ["size_bytes", "found 0"]),
        ({"files": [{**FILE, "sha256": "A" * 64}]}, ["sha256"]),
        ({"idc": {**IDC, "series": "../series.parquet"}}, ["fetch.idc.series"]),
        ({"idc": {**IDC, "series": "/series.parquet"}}, ["fetch.idc.series"]),
        ({"idc": {**IDC, "index": "latest"}}, ["fetch.idc.index"]),
        ({"idc": {**IDC, "collections": []}}, ["fetch.idc.collections"]),
        ({"idc": {**IDC, "described": "("}}, ["fetch.idc.described", "regular expression"]),
        ({"by_hand": [{**BY_HAND, "why": ""}]}, ["fetch.by_hand.0.why"]),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_cannot_be_pinned(tmp_path: Path, fetch: Any, words: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe(tmp_path, fetch))
    for word in words:
        assert word in str(caught.value), str(caught.value)
