"""The images: what their files say is true, and what the smoke scripts do works without an engine.

No engine is needed here; `docker/smoke-*.sh IMAGE` run the images themselves.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from uls_data import build
from uls_data.network.plan import parse_plan
from uls_data.scoring.job import IMAGES, MASKS, SPACINGS, writing
from uls_data.voi import VOI_SHAPE

ROOT = Path(__file__).parent.parent
DOCKER = ROOT / "docker"
PAGE = (ROOT / "docs" / "containers.md").read_text(encoding="utf-8")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SCRIPTS = sorted(DOCKER.glob("*.sh"))


def instructions(name: str = "Dockerfile") -> list[tuple[str, str]]:
    """Instructions of a Dockerfile and their arguments, comments left out, lines joined."""
    text = re.sub(r"^#.*\n", "", (DOCKER / name).read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines if line.strip()]


def stages() -> dict[str, list[tuple[str, str]]]:
    """Instructions of each stage; a stage begins with those of the stage that it continues."""
    found: dict[str, list[tuple[str, str]]] = {}
    for word, rest in instructions():
        if word == "FROM":
            start, name = rest.split(" AS ")
            found[name] = list(found.get(start, []))
        elif found:
            found[name].append((word, rest))
    return found


def copied() -> list[str]:
    return [
        source
        for word, rest in instructions()
        if word == "COPY" and "--from=" not in rest
        for source in [part for part in rest.split() if not part.startswith("--")][:-1]
    ]


def test_the_base_is_one_python_that_the_package_runs_on() -> None:
    (base,) = [rest for word, rest in instructions()[:1] if word == "ARG"]
    version = re.fullmatch(r"BASE=python:(\d+\.\d+\.\d+)-slim-[a-z]+", base)
    assert version is not None
    assert version[1].startswith(PYPROJECT["project"]["requires-python"].removeprefix(">="))
    starts = [rest.split(" AS ")[0] for word, rest in instructions() if word == "FROM"]
    assert set(starts) == {"${BASE}", "runtime"}


def test_the_context_is_what_is_copied() -> None:
    lines = (DOCKER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    taken = sorted(line[1:] for line in lines if line.startswith("!"))
    assert lines[1] == "*"
    assert taken == sorted(source.removeprefix("./") for source in copied())
    assert all((ROOT / name).exists() for name in taken)


def test_what_the_wheel_is_made_of_is_copied() -> None:
    project, wheel = PYPROJECT["project"], PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    hook = PYPROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    needed = {"pyproject.toml", "constraints.txt", *project["license-files"]}
    needed |= {fragment["path"] for fragment in hook["fragments"]}
    needed |= {*wheel["packages"], *wheel["force-include"]}
    assert needed <= set(copied())


def test_every_package_of_the_images_is_pinned() -> None:
    pins = {
        canonicalize_name(line.split("==")[0]): line.strip().split("==")[1]
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line and not line.startswith("#")
    }
    project = PYPROJECT["project"]
    names = [*project["dependencies"], *project["optional-dependencies"]["network"]]
    names += PYPROJECT["build-system"]["requires"]
    waiting, seen = [Requirement(name) for name in names], set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        assert name in pins, f"{name} is not in constraints.txt"
        assert requirement.specifier.contains(pins[name], prereleases=True), requirement
        if name in seen:
            continue
        seen.add(name)
        extras = ["", *requirement.extras]
        for text in metadata.requires(name) or []:
            wanted = Requirement(text)
            if wanted.name.startswith(("nvidia-", "cuda-", "triton")):
                continue  # torch's CUDA build asks for these, each by its exact version
            if wanted.marker is None or any(wanted.marker.evaluate({"extra": e}) for e in extras):
                waiting.append(wanted)
    assert {"torch", "numpy", "hatchling"} <= seen


def test_constraints_hold_for_every_pip_and_none_stays() -> None:
    found = stages()["packages"]
    told = [f"{word} {rest}" for word, rest in found]
    constrained = [text.startswith("ENV PIP_CONSTRAINT=/source/constraints.txt") for text in told]
    installs = [number for number, text in enumerate(told) if " install" in text]
    assert installs and min(installs) > constrained.index(True)
    for number in installs:
        pips = re.findall(r"-m pip (\S+ \S+) install", told[number])
        assert set(pips) == {"--python /opt/uls-data/bin/python"}
    assert any("venv --without-pip /opt/uls-data" in rest for _, rest in found)


@pytest.mark.parametrize("name", ["factory", "algorithm"])
def test_images_run_as_nobody_and_make_nothing_themselves(name: str) -> None:
    found = stages()[name]
    words = [word for word, _ in found]
    assert "RUN" not in words and "ADD" not in words and "VOLUME" not in words
    user = [rest for word, rest in found if word == "USER"]
    assert all(re.fullmatch(r"[1-9]\d+:[1-9]\d+", rest) for rest in user) and len(user) == 1
    for word, rest in found:
        if word in ("ENTRYPOINT", "CMD"):
            assert rest.startswith("["), f"{word}: a shell in between takes the signals"
    assert words.count("ENTRYPOINT") == 1


def test_nothing_is_fetched_but_by_pip() -> None:
    for path in DOCKER.iterdir():
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"https?://|\b(apt|apt-get|curl|wget|git clone)\b|:latest", text), path


def test_the_page_names_every_file_target_and_argument() -> None:
    words = [path.name for path in DOCKER.iterdir() if path.name != "__pycache__"]
    words += [f"--target {name}" for name in ("factory", "algorithm")]
    for name in ("Dockerfile", "Dockerfile.model"):
        words += [rest.split("=")[0] for word, rest in instructions(name) if word == "ARG"]
    assert [word for word in words if word not in PAGE] == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_parse_and_can_be_run(script: Path) -> None:
    assert os.access(script, os.X_OK)
    assert script.read_text(encoding="utf-8").startswith("#!/bin/sh\n")
    subprocess.run(["sh", "-n", script], check=True)
    if script.name.startswith("smoke"):
        text = script.read_text(encoding="utf-8")
        for option in ("--network none", "--read-only", "--cap-drop ALL", "--user 12345:12345"):
            assert text.count('"$engine" run') == text.count(option) == 1


# --- The algorithm's own script, and the smoke, without an engine -------------


def algorithm(folder: Path, path: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run `algorithm.sh` on FOLDER/input, as the image's entry point does on /input."""
    places = {
        "ULS_INPUT": folder / "input",
        "ULS_OUTPUT": folder / "answer",
        "ULS_MODEL": folder / "model",
    }
    return subprocess.run(
        [DOCKER / "algorithm.sh", *options],
        env={**os.environ, "PATH": path, **{key: str(value) for key, value in places.items()}},
        text=True,
        capture_output=True,
    )


def write_stack(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing(path):
        pass


@pytest.mark.parametrize("count", [0, 1, 2])
def test_one_stack_is_handed_on_and_another_number_refused(tmp_path: Path, count: int) -> None:
    tool = tmp_path / "bin" / "uls-data"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n', encoding="utf-8")
    tool.chmod(0o755)
    stacks = [tmp_path / "input" / IMAGES / f"a job {n}.mha" for n in range(count)]
    for path in stacks:
        write_stack(path)
    done = algorithm(tmp_path, f"{tool.parent}:/usr/bin:/bin", "--tta", "--workers", "4")
    if count == 1:
        assert done.stdout.splitlines() == [
            *("predict", "--stack", str(stacks[0])),
            *("--spacings", str(tmp_path / "input" / SPACINGS)),
            *("--model", str(tmp_path / "model"), "--out", str(tmp_path / "answer")),
            *("--tta", "--workers", "4"),
        ]
    else:
        assert done.returncode == 2 and not done.stdout
        assert done.stderr.startswith("expected one .mha in ") and done.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def smoke() -> ModuleType:
    spec = importlib.util.spec_from_file_location("smoke", DOCKER / "smoke.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def job(smoke: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the smoke's raw archive, its build and its jobs."""
    folder = tmp_path_factory.mktemp("smoke")
    smoke.made(folder)
    raw = folder / "raw" / "own"
    report = build(str(raw / "own.yaml"), raw, folder / "vois", workers=0)
    assert report.failed == 1
    smoke.job(folder)
    return folder


def test_the_smoke_notices_what_is_wrong(smoke: ModuleType, job: Path, tmp_path: Path) -> None:
    shutil.copytree(job / "vois", tmp_path / "vois")
    shutil.copytree(job / "vois", tmp_path / "again")
    assert "18 files equal" in smoke.builds(tmp_path)
    image = next((tmp_path / "again").rglob("*.nii.gz"))
    image.write_bytes(image.read_bytes()[:-1] + b"?")
    with pytest.raises(AssertionError, match="differ"):
        smoke.builds(tmp_path)

    truth = Path("job-001/ground-truth/job-001.mha")
    (tmp_path / truth).parent.mkdir(parents=True)
    answer = tmp_path / "answer" / MASKS / "job-001.mha"
    answer.parent.mkdir(parents=True)
    for path in (tmp_path / truth, answer):
        shutil.copy(job / truth, path)
    assert "Dice 1.00, 1.00, 1.00" in smoke.masks(tmp_path)
    with writing(answer, "uint8") as writer:
        for _ in range(3):
            writer.put(smoke.np.zeros(VOI_SHAPE, "uint8"))
    with pytest.raises(AssertionError, match=r"0\.0"):
        smoke.masks(tmp_path)


@pytest.mark.slow
def test_the_algorithm_answers_a_job(smoke: ModuleType, job: Path, tmp_path: Path) -> None:
    from uls_data.network.training import train

    parse_plan(smoke.PLAN, "smoke")
    train(
        job / "vois", tmp_path / "model", plan=job / "plan.yaml", device="cpu", workers=1, steps=30
    )
    (tmp_path / "input").symlink_to(job / "job-001" / "input")
    (tmp_path / "job-001").symlink_to(job / "job-001")
    tools = Path(sys.executable).parent
    done = algorithm(tmp_path, f"{tools}:{os.environ['PATH']}", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert "3 masks" in smoke.masks(tmp_path)
