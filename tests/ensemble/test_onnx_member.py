"""Models in ONNX files: small ones, made here, run by onnxruntime where it is installed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from makers.certified import ball

from uls_data.ensemble import OnnxMember, Subject
from uls_data.errors import UlsDataError
from uls_data.measure.lines import Lines
from uls_data.voi import VOI_SHAPE

LINES = Lines((120, 128, 136, 128), (128, 120, 128, 136))
ROW: dict[str, Any] = {
    "source": "s",
    "case_id": "a",
    "lesion_index": 1,
    "voi_id": "a_1",
    **{f"spacing_{axis}_mm": mm for axis, mm in zip("xyz", (0.8, 0.9, 2.0), strict=True)},
    **{f"pad_{side}_{axis}_vox": 0 for side in ("before", "after") for axis in "xyz"},
}
WHOLE = [1, 1, "z", "y", "x"]
SAME = [("Identity", ["image"], ["out"])]


def subject(**changes: Any) -> Subject:
    hu = np.full(VOI_SHAPE, -100, np.int16)
    hu[ball(8, 1.0) == 1] = 60
    return Subject(**{"row": ROW, "image": hu, "lines": LINES, "key_slice": 64, **changes})


def save(path: Path, nodes: list[Any], inputs: dict[str, Any], shape: list[Any]) -> Path:
    onnx = pytest.importorskip(
        "onnx", reason="needs onnx, to make a model: pip install -e '.[consumers]'"
    )
    pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'uls-data[onnx]'")
    helper, kind = onnx.helper, onnx.TensorProto
    types = {"key_slice": kind.INT64}
    graph = helper.make_graph(
        [helper.make_node(*one[:3], **(one[3] if len(one) > 3 else {})) for one in nodes],
        "g",
        [
            helper.make_tensor_value_info(name, types.get(name, kind.FLOAT), its)
            for name, its in inputs.items()
        ],
        [helper.make_tensor_value_info("out", kind.FLOAT, shape)],
    )
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def test_a_threshold_of_the_image_finds_what_is_bright(tmp_path: Path) -> None:
    member = OnnxMember(save(tmp_path / "bright.onnx", SAME, {"image": WHOLE}, WHOLE))
    assert member.name == "bright" and "onnxruntime" in member.needs
    found = member.mask(subject())
    assert found is not None and np.array_equal(found, ball(8, 1.0) == 1)
    cut = member.mask(subject(row={**ROW, "pad_after_z_vox": 63}))
    assert cut is not None and cut.any() and not cut[:, :, 65:].any()


def test_a_model_of_fixed_size_sees_that_much_about_the_click(tmp_path: Path) -> None:
    size = [1, 1, 8, 20, 12]
    model = save(tmp_path / "m.onnx", SAME, {"image": size}, size)
    found = OnnxMember(model, name="small").mask(subject())
    inside = np.zeros(VOI_SHAPE, bool)
    inside[122:134, 118:138, 60:68] = True
    assert found is not None and np.array_equal(found, (ball(8, 1.0) == 1) & inside)
    larger = [1, 1, 200, 300, 300]
    nodes = [("Neg", ["image"], ["out"])]
    found = OnnxMember(save(tmp_path / "l.onnx", nodes, {"image": larger}, larger)).mask(subject())
    # Beyond the VOI it sees -1024 HU, and what it says about that is not ours.
    assert found is not None and np.array_equal(found, ball(8, 1.0) == 0)


@pytest.mark.parametrize(
    ("prompt", "shape", "total"),
    [
        ("key_slice", [1], 4.0),
        ("box", [1, 4], 2 + 2 + 18 + 18),
        ("lines", [1, 4, 2], 2 + 10 + 18 + 10 + 10 + 2 + 10 + 18),
        ("spacing_mm", [1, 3], 0.8 + 0.9 + 2.0),
    ],
)
def test_prompts_are_in_the_image_s_indices(
    tmp_path: Path, prompt: str, shape: list[int], total: float
) -> None:
    """Says lesion everywhere if the prompt sums up to what it should, else nowhere."""
    size = [1, 1, 8, 20, 20]
    onnx = pytest.importorskip(
        "onnx", reason="needs onnx, to make a model: pip install -e '.[consumers]'"
    )
    known = {"want": float(total), "near": 1e-3, "nothing": 0.0}
    nodes = [
        ("Constant", [], [name], {"value": onnx.helper.make_tensor(name, 1, [1], [value])})
        for name, value in known.items()
    ]
    nodes += [
        ("Cast", [prompt], ["float"], {"to": 1}),
        ("ReduceSum", ["float"], ["sum"], {"keepdims": 0}),
        ("Sub", ["sum", "want"], ["off"]),
        ("Abs", ["off"], ["size"]),
        ("Sub", ["near", "size"], ["met"]),
        ("Mul", ["image", "nothing"], ["zero"]),
        ("Add", ["zero", "met"], ["out"]),
    ]
    member = OnnxMember(save(tmp_path / "m.onnx", nodes, {"image": size, prompt: shape}, size))
    found = member.mask(subject())
    assert found is not None and found.sum() == 8 * 20 * 20
    without = member.mask(subject(lines=None, key_slice=None))
    assert (without is None) == (prompt != "spacing_mm")


def test_what_is_no_such_model(tmp_path: Path) -> None:
    size = [1, 1, 8, 8, 8]
    model = save(tmp_path / "m.onnx", [("Identity", ["pixels"], ["out"])], {"pixels": size}, size)
    with pytest.raises(UlsDataError, match="inputs pixels; expected image"):
        OnnxMember(model).mask(subject())
    nodes = [("Flatten", ["image"], ["out"])]
    model = save(tmp_path / "f.onnx", nodes, {"image": size}, [1, 512])
    with pytest.raises(UlsDataError, match="expected an output of"):
        OnnxMember(model).mask(subject())
    (tmp_path / "t.onnx").write_text("no model")
    with pytest.raises(UlsDataError, match="not a readable ONNX model"):
        OnnxMember(tmp_path / "t.onnx").mask(subject())


def test_without_onnxruntime_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UlsDataError, match=r"pip install 'uls-data\[onnx\]'"):
        OnnxMember(tmp_path / "m.onnx").mask(subject())
