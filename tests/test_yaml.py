"""YAML from anywhere: what is bounded, what is refused, and that what ships is read as before."""

from __future__ import annotations

import datetime
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from uls_data import yaml_text as module
from uls_data.errata.overlay import ErrataError, load_overlay
from uls_data.errors import RecipeError, UlsDataError
from uls_data.network.plan import ModelError, load_plan, plan_names
from uls_data.recipe import load_recipe, recipe_names
from uls_data.resources import shipped
from uls_data.yaml_text import MAXIMUM_DEPTH, YamlError, load_yaml

ROOT = Path(__file__).parent.parent
LIMIT = 1 << 20
BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
REFUSED = [
    ("a: 1\nb: 2\na: 3", "line 3, column 1: duplicate field 'a'"),
    ("a: 1\n'a': 3", "line 2, column 1: duplicate field 'a'"),
    ("a:\n  - {b: 1, b: 1}", "line 2, column 12: duplicate field 'b'"),
    ("1: x\n0x1: y", "line 2, column 1: duplicate field 1"),
    (BOMB, "line 1, column 5: aliases (&, *) are not allowed"),
    ("a: &b 1", "line 1, column 4: aliases"),
    ("a: *b", "line 1, column 4: aliases"),
    ("a:\n  <<: {b: 1}", "line 2, column 3: merge keys (<<) are not allowed"),
    ("a: !!python/name:os.system x", "line 1, column 4: tags ('!!python/name:os.system')"),
    ("!!python/object/apply:os.system [ls]", "line 1, column 1: tags"),
    ("a: !!set {b}", "tags ('!!set')"),
    ("a: !mine 1", "tags ('!mine')"),
    ("? [1]\n: 2", "line 1, column 3: the name of a field is a word"),
    ("? {a: 1}\n: 2", "the name of a field is a word"),
    ("a: 1\n--- \nb: 2", "line 2, column 1: a second document"),
    ("a: [1, 2", "not valid YAML: line "),
    ("a: b: c", "line 1, column 5: mapping values are not allowed"),
    ("a: =", "line 1, column 4: '=' has no meaning here"),
    ("a: 2024-13-45", "line 1, column 4: '2024-13-45' is not a timestamp: month must be in"),
    ("a: " + "9" * 5000, "line 1, column 4: a number of 5000 characters"),
    ("a: 1" + ":1" * 100_000, "a number of 200001 characters"),
    ("a: x\nb\0: 1", "line 2, column 2: '\\x00' is not a character of a text"),
    ("a: \ud800", "line 1, column 4: a byte that is not UTF-8"),
    (b"a: x\nb: \xff", "line 2, column 4: a byte that is not UTF-8"),
    (b"\xff\xfea\0:\0", "line 1, column 1: a byte that is not UTF-8"),
    ("# " + "x" * LIMIT, "larger than 1 MiB"),
]
DEEP = {"brackets": "[", "braces": "{", "mappings": "{a: ", "dashes": "- ", "keys": "? "}


@pytest.fixture(params=["libyaml", "python"])
def load(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str | bytes], Any]:
    """With either parser: not every PyYAML brings libyaml."""
    if request.param == "python":
        monkeypatch.setattr(module, "_Loader", yaml.SafeLoader)
    elif not hasattr(yaml, "CSafeLoader"):
        pytest.skip("PyYAML without libyaml")
    return lambda text: load_yaml(text, "f.yaml", LIMIT)


@pytest.mark.parametrize(("text", "problem"), REFUSED)
def test_what_is_refused(
    load: Callable[[str | bytes], Any], text: str | bytes, problem: str
) -> None:
    with pytest.raises(YamlError) as caught:
        load(text)
    message = str(caught.value)
    assert message.startswith("f.yaml: ") and problem in message
    assert "\n" not in message and len(message) < 300


def test_how_deep(load: Callable[[str | bytes], Any]) -> None:
    value = load("[" * MAXIMUM_DEPTH + "]" * MAXIMUM_DEPTH)
    for _ in range(MAXIMUM_DEPTH - 1):
        (value,) = value
    assert value == []
    with pytest.raises(YamlError, match=f"column {MAXIMUM_DEPTH + 1}: nested deeper than"):
        load("[" * (MAXIMUM_DEPTH + 1) + "]" * (MAXIMUM_DEPTH + 1))
    indented = "".join(" " * n + "a:\n" for n in range(100))
    with pytest.raises(YamlError, match=f"line {MAXIMUM_DEPTH + 1}, .*: nested deeper than"):
        load(indented)


@pytest.mark.parametrize("reader", ["recipe", "plan", "overlay"])
def test_fifty_thousand_levels(tmp_path: Path, reader: str) -> None:
    """In a process of its own: PyYAML's loader would end this one with a segmentation fault."""
    for name, opened in DEEP.items():
        (tmp_path / f"{name}.yaml").write_text(opened * 50_000)
    code = (
        "import sys\n"
        "from uls_data.errors import UlsDataError\n"
        "from uls_data.recipe import load_recipe as recipe\n"
        "from uls_data.network.plan import load_plan as plan\n"
        "from uls_data.errata.overlay import load_overlay as overlay\n"
        "for name in sys.argv[2:]:\n"
        "    try:\n"
        "        globals()[sys.argv[1]](name)\n"
        "    except UlsDataError as error:\n"
        "        print(error)\n"
    )
    files = [str(tmp_path / f"{name}.yaml") for name in DEEP]
    command = [sys.executable, "-c", code, reader, *files]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    said = ended.stdout.splitlines()
    assert len(said) == len(DEEP)
    assert all("nested deeper than 32 levels" in line or "is a word" in line for line in said)


@pytest.mark.parametrize("opened", DEEP.values(), ids=DEEP)
def test_depth_costs_no_time(opened: str) -> None:
    began = time.process_time()
    with pytest.raises(YamlError):
        load_yaml(opened * 200_000, "f.yaml", LIMIT)
    assert time.process_time() - began < 2


# PyYAML writes a next line (U+0085) within quotes as a line of its own, and reads a blank.
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x85"), max_size=30)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False)
    | st.dates(min_value=datetime.date(1000, 1, 1))
    | TEXTS
)
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=20
)


@given(DOCUMENTS)
def test_what_yaml_writes_is_read_back(value: Any) -> None:
    class NoAliases(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    text = yaml.dump(value, Dumper=NoAliases, allow_unicode=True)
    assert load_yaml(text, "f.yaml", LIMIT) == value == yaml.safe_load(text)


@given(st.text(st.sampled_from("ab01:-[]{},?&*!|>'\"%@#<=~. \n\t\0\x85\ud800"), max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        value = load_yaml(text, "f.yaml", LIMIT)
    except YamlError as error:
        assert "\n" not in str(error)
    else:
        assert repr(value) == repr(yaml.safe_load(text))


@pytest.mark.parametrize("empty", ["", "# nothing\n", "---\n", "~"])
def test_nothing(empty: str) -> None:
    assert load_yaml(empty, "f.yaml", LIMIT) is None


def test_what_ships_is_read_as_before() -> None:
    files = [
        *shipped("recipes").rglob("*.yaml"),
        *(ROOT / "uls_data" / "network" / "plans").glob("*.yaml"),
        *(ROOT / "manifests").rglob("errata/*.yaml"),
    ]
    assert len(files) > 15
    for path in files:
        text = path.read_bytes()
        assert load_yaml(text, str(path), LIMIT) == yaml.safe_load(text)
    assert all(load_recipe(name) for name in recipe_names())
    assert all(load_plan(name) for name in plan_names())
    assert all(load_overlay(path) for path in files if path.parent.name == "errata")


@pytest.mark.parametrize(
    ("read", "error"),
    [
        (lambda path: load_recipe(str(path)), RecipeError),
        (load_plan, ModelError),
        (load_overlay, ErrataError),
    ],
)
def test_each_reader_says_where(
    tmp_path: Path, read: Callable[[Path], Any], error: type[UlsDataError]
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: a\nname: b\n")
    said = r"mine\.yaml: not valid YAML: line 2, column 1: duplicate field"
    with pytest.raises(error, match=said):
        read(path)
    path.write_bytes(b"# " + b"x" * (1 << 23))
    with pytest.raises(error, match=r"mine\.yaml: larger than"):
        read(path)
