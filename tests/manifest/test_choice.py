"""Which masks count: corrections, verdicts and layers, alone and over whole tables."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uls_data.errors import ManifestError
from uls_data.manifest.choice import (
    COLUMNS,
    REPLACED,
    UNCHANGED,
    WITHDRAWN,
    Choice,
    best,
    counted,
    counting,
    is_ellipsoid,
    is_of,
    layer_of,
)
from uls_data.manifest.row import Row
from uls_data.manifest.schema import arrow_schema


def row(case: str, sample: int = 0, layer: str = "annotated", **changes: Any) -> Row:
    found: Row = dict.fromkeys(COLUMNS)
    found |= {"source": "own", "case_id": case, "lesion_index": 1, "sample_index": sample}
    found |= {"layer": layer, "status": "ok", "label_voxels_sha256": "a" * 64, "voi_id": case}
    return found | changes


def corrected(case: str, sample: int = 0, parent: str = "annotated", **changes: Any) -> Row:
    return row(case, sample, "corrected", parent_layer=parent, **changes)


def ended(case: str, reason: str, sample: int = 0, parent: str = "annotated") -> Row:
    changes = {"status": "skipped", "reason": reason, "label_voxels_sha256": None}
    return corrected(case, sample, parent, **changes)


def why(rows: list[Row]) -> list[str | None]:
    choice = Choice(rows)
    return [choice.why_not(one) for one in rows]


def test_a_drop_on_one_click_withdraws_the_lesion() -> None:
    rows = [row("a"), row("a", 1), row("a", 1, "jury"), row("b"), ended("a", "erratum_drop", 1)]
    assert why(rows)[:4] == [WITHDRAWN, WITHDRAWN, WITHDRAWN, None]
    assert counted(rows) == [rows[3]]


def test_another_click_takes_its_voi_alone() -> None:
    rows = [row("a"), row("a", 1), ended("a", "erratum_reclick", 1)]
    assert why(rows)[:2] == [None, WITHDRAWN]


def test_a_corrected_mask_stands_for_its_parent_alone() -> None:
    new = corrected("a", label_voxels_sha256="b" * 64)
    rows = [row("a"), row("a", 1), row("a", 0, "reader-1"), new]
    assert why(rows) == [REPLACED, None, None, None]
    assert layer_of(new) == "annotated"
    assert is_of(new, ["annotated"]) and is_of(new, ["corrected"]) and not is_of(new, ["jury"])
    assert counted([new]) == [new]  # its parent need not be there


@pytest.mark.parametrize("name", ["lesion_type", "supervision", "source_lesion_id"])
def test_a_verdict_that_changes_nothing_adds_nothing(name: str) -> None:
    assert why([row("a"), corrected("a")]) == [None, UNCHANGED]
    assert why([row("a"), corrected("a", **{name: "other"})]) == [REPLACED, None]


def test_order_of_preference() -> None:
    layers = ["quadrilateral", "ellipse", "quarter_ellipses", "grabcut", "jury"]
    layers += ["pseudo3d-r1", "pseudo3d-r2", "pseudo3d-r10", "annotated"]
    for worse, better in pairwise(layers):
        assert best([row("a", layer=better), row("a", layer=worse)])["layer"] == better
        assert best([row("a", layer=worse), corrected("a", parent=better)])["layer"] == "corrected"
    assert best([row("a", layer="reader-2")])["layer"] == "reader-2"
    assert best([row("a", layer="reader-2"), row("a", layer="jury")])["layer"] == "jury"
    with pytest.raises(ManifestError, match="a has the layers reader-1, reader-2: say --layer"):
        best([row("a", layer="reader-1"), row("a", layer="reader-2")])


def test_an_ellipsoid_comes_last() -> None:
    solid = row("a", layer="ellipsoid")
    for layer in ("quadrilateral", "one-of-their-own", "reader-1"):
        assert best([solid, row("a", layer=layer)])["layer"] == layer
    # A reader's own ellipsoid is one, too; what a model made of its VOI is not.
    readers = [row("a", layer=f"reader-{n}", parent_layer="ellipsoid") for n in (1, 2)]
    assert best([*readers, solid]) is solid
    assert [is_ellipsoid(one) for one in (solid, *readers)] == [True] * 3
    assert not is_ellipsoid(row("a", layer="pseudo3d-r1", parent_layer="ellipsoid"))
    assert is_ellipsoid(corrected("a", parent="ellipsoid"))


_ROWS = st.lists(
    st.one_of(
        st.builds(
            row,
            st.sampled_from("abc"),
            st.integers(0, 1),
            st.sampled_from(["annotated", "jury", "pseudo3d-r1"]),
            status=st.sampled_from(["ok", "skipped"]),
        ),
        st.builds(
            corrected,
            st.sampled_from("abc"),
            st.integers(0, 1),
            st.sampled_from(["annotated", "jury"]),
            label_voxels_sha256=st.sampled_from(["a" * 64, "b" * 64]),
        ),
        st.builds(
            ended,
            st.sampled_from("abc"),
            st.sampled_from(["erratum_drop", "erratum_reclick"]),
            st.integers(0, 1),
        ),
    ),
    max_size=12,
)


@given(rows=_ROWS)
def test_manifests_and_rows_agree(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row]
) -> None:
    names = [field for field in arrow_schema() if field.name in COLUMNS]
    schema = pa.schema(names, metadata=arrow_schema().metadata)
    path = tmp_path_factory.mktemp("rows") / "m.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)  # two may have one key
    choice = Choice(rows)
    assert counting(path).tolist() == [choice.counts(one) for one in rows]


@given(rows=_ROWS)
def test_no_lesion_is_half_withdrawn_and_no_mask_counts_twice(rows: list[Row]) -> None:
    left = counted(rows)
    dropped = {one["case_id"] for one in rows if one["reason"] == "erratum_drop"}
    assert not dropped & {one["case_id"] for one in left}
    choice = Choice(rows)
    keys = {(one["case_id"], one["sample_index"], layer_of(one)) for one in left}
    for one in rows:
        key = one["case_id"], one["sample_index"], layer_of(one)
        if one["status"] == "ok" and choice.why_not(one) in (REPLACED, UNCHANGED):
            assert key in keys
