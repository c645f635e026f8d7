"""Hostile recipes: YAML that is damaged, dangerous or merely absurd ends in RecipeError."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from makers.hostile.limits import at_most

import uls_data
from uls_data.errors import RecipeError, UlsDataError
from uls_data.recipe import load_recipe, recipe_template

CASES = int(os.environ.get("ULS_DATA_HOSTILE", "100"))
PER_BATCH = 40
TEMPLATE = recipe_template("mine")

_VALUES = (
    "", "null", "~", "true", "-1", "0", "1e400", ".nan", ".inf", "-.inf", "0x7f", "1:99", "0o17",
    "9" * 30, "9" * 5000, "0x" + "f" * 5000, "1." + "0" * 5000, "2024-01-01", "2024-13-45",
    "2024-01-01T25:61:61Z", "0000-00-00", "[]", "{}", "[[]]", "{a: {b: c}}", "[1, x, null]",
    "'", '"', '"\\x00"', '"\\ud800"', '"\\U0010ffff"', '"\\', "|", ">-", "&a x", "*a", "&a [*a]",
    "<<: {a: 1}", "? [1]", "? {a: 1}\n  : 2", "!!python/object:os.system x", "!!int x", "!!int ''",
    "!!float x", "!!bool maybe", "!!binary '***'", "!!timestamp x", "!!timestamp 2024-99-99",
    "!!set {a, b}", "!!omap [a: 1]", "!!pairs [a: 1]", "!!null x", "!!str", "!!map x", "!!seq x",
    "!!python/object/apply:os.system ['touch owned']", "!!python/name:os.system", "!x y", "%YAML",
    "!!python/object/new:type {args: [z, !!python/tuple [], {}]}", "a: b: c", "---", "...", "@",
    "(?P<case>x)", "(?i)(x)", "(", "[", "*", "(a+)+$", "(?P=case)", "{case}", "{ext}", "{other}",
    '"**/**/**/{case}{ext}"', '"/{case}"', '"../{case}{ext}"', '"{case}{case}{ext}"', "a/b", "..",
    '"{instance}{instance}{case}"', '"{case}\\n{lesion}"', '"{case}\\0{lesion}"', "x" * 100_000,
    "\u00e9", "\U0001f600", "\u202e", "files", "values", "archive_only", "weak_2d", "[0]", "[1, 1]",
    "{rule: values}", "{rule: files}", "{rule: components, values: [1], connectivity: 5}",
    "{rule: components, values: [99999999999999999999]}", "{measure: mask_voxels, at_least: .nan}",
    "{measure: mask_voxels, at_least: 1e999}", "{name: archive_only, case: '(', why: x}",
    "{name: volume_pairs, layouts: []}", "{name: volume_pairs, case: '(?P<case>.)', layouts: 1}",
)  # fmt: skip


def swap(rng: random.Random, lines: list[str]) -> None:
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]


def drop(rng: random.Random, lines: list[str]) -> None:
    del lines[rng.randrange(len(lines))]


def double(rng: random.Random, lines: list[str]) -> None:
    lines.insert(rng.randrange(len(lines)), rng.choice(lines))


def indent(rng: random.Random, lines: list[str]) -> None:
    at = rng.randrange(len(lines))
    lines[at] = rng.choice((" ", "\t", "   ", "- ", "? ", ": ")) + lines[at]


def other_value(rng: random.Random, lines: list[str]) -> None:
    fields = [n for n, line in enumerate(lines) if ":" in line and not line.startswith("#")]
    at = rng.choice(fields)
    lines[at] = lines[at].partition(":")[0] + ": " + rng.choice(_VALUES)


def other_key(rng: random.Random, lines: list[str]) -> None:
    fields = [n for n, line in enumerate(lines) if ":" in line and not line.startswith("#")]
    at = rng.choice(fields)
    lines[at] = rng.choice(_VALUES) + ":" + lines[at].partition(":")[2]


def deep(rng: random.Random, lines: list[str]) -> None:
    much = rng.choice((50, 500, 20_000))
    opened, closed = rng.choice((("[", "]"), ("{a: ", "}"), ("- ", ""), ("? ", "")))
    lines.append("notes: " + opened * much + closed * rng.choice((0, much)))


def wide(rng: random.Random, lines: list[str]) -> None:
    lines.append("notes: [" + "x, " * rng.choice((1000, 40_000)) + "]")


def bomb(rng: random.Random, lines: list[str]) -> None:
    lines.append("a0: &a0 [x, x]")
    lines += [f"a{n}: &a{n} [{f'*a{n - 1}, ' * 9}]" for n in range(1, 12)]


def documents(rng: random.Random, lines: list[str]) -> None:
    lines.insert(rng.randrange(len(lines)), rng.choice(("---", "...", "%YAML 9.9", "--- !!map")))


LINES: tuple[Callable[[random.Random, list[str]], None], ...] = (
    swap, drop, double, indent, other_value, other_value, other_value, other_key, deep, wide, bomb,
    documents,
)  # fmt: skip


def hostile_recipe(seed: int) -> bytes:
    """One damaged recipe, by its seed."""
    rng = random.Random(seed)
    lines = TEMPLATE.splitlines()
    for _ in range(rng.choice((1, 1, 2, 5))):
        rng.choice(LINES)(rng, lines)
    data = bytearray("\n".join(lines).encode("utf-8", "surrogatepass"))
    turn = rng.randrange(10)
    if turn == 0:
        for _ in range(rng.choice((1, 10))):
            data[rng.randrange(len(data))] = rng.randrange(256)
    elif turn == 1:
        data = data[: rng.randrange(len(data))]
    elif turn == 2:
        data = bytearray(rng.choice((b"\xff\xfe", b"\xef\xbb\xbf", b"\0\0\xfe\xff"))) + data
    elif turn == 3:
        data = bytearray(rng.randbytes(rng.choice((0, 1, 300, 5000))))
    return bytes(data)


def outcome_of(path: Path, raw: Path) -> str | None:
    """What is wrong with how a recipe is taken, or None."""
    try:
        load_recipe(str(path))
    except RecipeError as error:
        text = str(error)
        return None if str(path) in text and "Traceback" not in text else f"says {text[:80]!r}"
    except Exception as error:
        return f"load_recipe: {type(error).__name__}: {str(error)[:200]}"
    try:
        uls_data.build(path, raw, raw.parent / "out", dry_run=True)
    except UlsDataError:
        return None
    except Exception as error:
        return f"build of a recipe called valid: {type(error).__name__}: {str(error)[:200]}"
    return None


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    for name in ("images", "masks"):
        (tmp_path / "raw" / name).mkdir(parents=True)
        for case in ("a1", "b"):
            (tmp_path / "raw" / name / f"{case}.nii.gz").touch()
    return tmp_path / "raw"


@pytest.mark.parametrize("batch", range(-(-CASES // PER_BATCH)))
def test_damaged_recipes(tmp_path: Path, raw: Path, batch: int) -> None:
    problems = []
    with at_most(60, f"recipes {batch}"):
        for seed in range(batch * PER_BATCH, (batch + 1) * PER_BATCH):
            path = tmp_path / f"{seed}.yaml"
            path.write_bytes(hostile_recipe(seed))
            if (problem := outcome_of(path, raw)) is not None:
                problems.append(f"seed {seed}: {problem}")
    assert not problems, "\n".join(problems)
    assert not Path("owned").exists()


@pytest.mark.parametrize("field", ["source", "recipe_version", "title", "heldout_patients"])
def test_every_absurd_value(tmp_path: Path, raw: Path, field: str) -> None:
    lines = TEMPLATE.splitlines()
    (at,) = (n for n, line in enumerate(lines) if line.startswith(f"{field}:"))
    problems = []
    with at_most(60, field):
        for number, value in enumerate(_VALUES):
            path = tmp_path / f"{number}.yaml"
            text = "\n".join([*lines[:at], f"{field}: {value}", *lines[at + 1 :]])
            path.write_bytes(text.encode("utf-8", "surrogatepass"))
            if (problem := outcome_of(path, raw)) is not None:
                problems.append(f"{field}: {value[:40]}: {problem}")
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ('  patient: "(.*)"', '  case: "(?P<case>.+)"'),
        ('  patient: "(.*)"', '  case: "(?i)[a-z0-9]+"'),
        ('  patient: "(.*)"', '  case: "(?P<ext>.+)"'),
        ('  patient: "(.*)"', '  case: "(.)\\\\1*"'),
        ('  patient: "(.*)"', '  patient: "(?i)(.*)"'),
        ('  patient: "(.*)"', '  patient: "(x)?.*"'),
        ('  patient: "(.*)"', "  patient: 1"),
        ('  patient: "(.*)"', "  case: [a, b]"),
        ('"images/{case}{ext}"', '"{instance}{instance}/{case}{ext}"'),
        ('"images/{case}{ext}"', '"{annotation}{case}{annotation}{ext}"'),
    ],
)
def test_patterns_of_a_recipe(tmp_path: Path, raw: Path, line: str, instead: str) -> None:
    """A pattern is either refused when the recipe is read, or works when cases are found."""
    text = TEMPLATE.replace(line, instead)
    assert text != TEMPLATE
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    assert outcome_of(path, raw) is None


@pytest.mark.parametrize("what", ["pipe", "folder", "endless link", "device"])
def test_what_is_no_recipe_file(tmp_path: Path, what: str) -> None:
    path = tmp_path / "mine.yaml"
    if what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    else:
        path.symlink_to(path.name if what == "endless link" else "/dev/zero")
    with at_most(20, what), pytest.raises(RecipeError):
        load_recipe(str(path))
