"""`python -m tools.prose`: words and turns of phrase that do not read as plain English.

Looks through documents, comments, docstrings, messages and `--help`; prints file, line, what was
found and what to write instead. Sentences of README.md, of docs/index.md and of `--help` may have
at most `LONGEST` words. Exit code 1 where something was found. In a line that needs one of them,
say `prose: ignore`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from uls_data.cli import cli

ROOT = Path(__file__).parent.parent
LONGEST = 40
_WHOLE = "(?:VOI|second|case|lesion|core|minute|step|row|scan)"
_FINE_AFTER_NO = r"(?:longer|such|more|way|need|doubt|evidence|\w+er)\b"
# Pattern, and what to write instead. A blank also stands for a line break inside a comment or text.
RULES = {
    r"anew": "again; re-read, rewrite, remake",
    r"(?<!here\s)(?:is|are|was|were) no (?!" + _FINE_AFTER_NO + r")\w+": "is not a",
    r"(?:goes|went) on (?:to|with|from|where|in|for|until)": "continues",
    r"(?:stands?|stood) (?:here|there|beside|twice|in (?:the|its|their))": "is",
    r"at hand": "available",
    r"[Ww]hoever": "anyone who",
    r"parted by": "separated by",
    r"[Mm]end(?:s|ed)?": "fix",
    r"(?:hangs?|hung) on": "depends on",
    r"as when": "for example when",
    r"one's own": "your own",
    r"gave up|(?:is|are|was|were|then|and) given up": "stopped",
    r"of (?:ours|theirs|yours)": "our, their, your",
    r"for ever": "forever",
    r"each two": "each pair of",
    r"none any more": "no longer one",
    r"(?:ms|s|MB|GB|VOIs|images|cases|lesions|rows|masks) an? " + _WHOLE: "per",
    r"says it all|what it is of|holds of it|on this machine alone": "(plain words)",
    r"therein|thereof|thereby|lest|whence|hither|heretofore|withal": "(plain words)",
    r"[Gg]ive the same command again": "run the same command again",
    r"belongs? into": "belong to",
    r"in order to": "to",
    r"(?:utilis|utiliz)\w+": "use",
    r"prior to": "before",
}
_GAP = r"(?:[ \t]+|[ \t]*\n[ \t]*(?:#:?|//|\*)?[ \t]*|[ \t]*\"\n[ \t]*f?r?\")"
_ANY = re.compile(
    "|".join(rf"\b(?P<r{n}>{rule.replace(' ', _GAP)})(?!\w)" for n, rule in enumerate(RULES))
)
_ADVICE = list(RULES.values())
_TEXT = {".py", ".md", ".yaml", ".yml", ".js", ".html", ".css", ".toml", ".sh", ".cff"}
# Reports as people write them, lists of their words, and this list.
_SKIPPED = (
    "manifests/uls23/",
    "tests/golden/",
    "tests/mining/",
    "tests/makers/report",
    "uls_data/mining/lexicons/",
    "tools/prose.py",
    "tests/tools/test_prose.py",
)


def findings(text: str) -> Iterator[tuple[int, str, str]]:
    """Line (from 1), words and advice for each turn of phrase in a text that has a better one."""
    lines = text.split("\n")
    for match in _ANY.finditer(text):
        line = text.count("\n", 0, match.start())
        if "prose: ignore" not in lines[line]:
            assert match.lastgroup
            yield line + 1, " ".join(match.group().split()), _ADVICE[int(match.lastgroup[1:])]


def long_sentences(markdown: str, most: int = LONGEST) -> Iterator[tuple[int, str]]:
    """Words and beginning of each sentence of more than `most` words; no tables, no code."""
    prose = re.sub(r"^```.*?^```$", "", markdown, flags=re.MULTILINE | re.DOTALL)
    prose = re.sub(r"`[^`]*`", "X", re.sub(r"\]\([^)]*\)", "]", prose))
    prose = re.sub(r"^(?:\||#|!\[|\*Made-up).*$", "", prose, flags=re.MULTILINE)
    for paragraph in re.split(r"\n\s*\n|^\s*[-*] ", prose, flags=re.MULTILINE):
        for sentence in re.split(r"(?<=[.!?:;])\s+", " ".join(paragraph.split())):
            count = len(re.findall(r"\w[\w'.×/-]*", sentence))
            if count > most:
                yield count, sentence[:60]


def helps(command: click.Command, name: str) -> Iterator[tuple[str, str]]:
    """Every text that `--help` shows, with the command that shows it."""
    yield name, command.help or ""
    for parameter in command.params:
        yield f"{name} {parameter.name}", getattr(parameter, "help", None) or ""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            if found:
                yield from helps(found, f"{name} {below}")


def everything() -> Iterator[str]:
    """One line for each finding in the files that git knows, or would take, and in `--help`."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.suffix in _TEXT and path.is_file() and not name.startswith(_SKIPPED):
            for line, words, advice in findings(path.read_text(encoding="utf-8")):
                yield f"{name}:{line}: {words!r}: write {advice!r}"
    for name in ("README.md", "docs/index.md"):
        for count, start in long_sentences((ROOT / name).read_text(encoding="utf-8")):
            yield f"{name}: {count} words in one sentence: {start}..."
    for name, text in helps(cli, "uls-data"):
        for count, start in long_sentences(text):
            yield f"{name} --help: {count} words in one sentence: {start}..."


def main() -> int:
    """Print all findings; return the exit code."""
    found = list(everything())
    print("\n".join(found) or "prose: nothing found")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
