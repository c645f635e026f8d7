"""Words that the rules look for: one YAML file per language, which a user can add to."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from uls_data.errors import UlsDataError
from uls_data.yaml_text import YamlError, load_yaml

_FOLDER = Path(__file__).parent / "lexicons"
LANGUAGES = ("en", "nl")
MAXIMUM_BYTES = 1 << 20

_PLAIN = {
    code: unicodedata.normalize("NFD", chr(code))[0]
    for code in range(0xC0, 0x250)
    if unicodedata.decomposition(chr(code)).count(" ") == 1
}


def folded(text: str) -> str:
    """Text without accents, as long as before: reports leave them out or not."""
    return text.translate(_PLAIN)


# A star is bounded and there are few, so that no phrase can make a search slow.
Phrase = Annotated[
    str,
    StringConstraints(strip_whitespace=True, to_lower=True, min_length=1, max_length=60),
    AfterValidator(folded),
]
Phrases = Annotated[tuple[Phrase, ...], Field(max_length=2000)]
Place = Literal[
    "bone", "colon", "kidney", "liver", "lung", "lymph_node", "pancreas", "abdomen",
    "mediastinum", "soft_tissue", "pelvis", "various", "unknown",
]  # fmt: skip
_MOST_STARS = 2
# Little words between a series and an image, in any language.
_PARTICLES = frozenset(
    [
        "and",
        "at",
        "de",
        "en",
        "from",
        "in",
        "no",
        "nr",
        "number",
        "numbers",
        "nummer",
        "of",
        "on",
        "op",
        "the",
        "uit",
        "van",
    ]
)


class LexiconError(UlsDataError):
    """A lexicon is missing or malformed."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Lexicon(_Part):
    """Words of one language; `uls_data/mining/lexicons/en.yaml` says what each list is for."""

    language: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")]
    common: Phrases = ()
    abbreviations: Phrases = ()
    units: dict[Literal["mm", "cm"], Phrases] = {}
    by: Phrases = ()
    range: Phrases = ()
    and_: Phrases = Field((), alias="and")
    axis: dict[Literal["long", "short", "craniocaudal", "other"], Phrases] = {}
    about: Phrases = ()
    mean: Phrases = ()
    at_most: Phrases = ()
    below: Phrases = ()
    above: Phrases = ()
    below_after: Phrases = ()
    above_after: Phrases = ()
    months: Phrases = ()
    series: Phrases = ()
    image: Phrases = ()
    series_letter: Phrases = ()
    image_letter: Phrases = ()
    planes: Phrases = ()
    numbered: Phrases = ()
    every: Phrases = ()
    refers_back: Phrases = ()
    measures: Phrases = ()
    advice: Phrases = ()
    texture: Phrases = ()
    shared: Phrases = ()
    thickened: Phrases = ()
    whole: Phrases = ()
    contact: Phrases = ()
    lesion: Phrases = ()
    location: dict[Place | Literal["node_place"], Phrases] = {}
    level_of: Phrases = ()
    beside: Phrases = ()
    not_lesion: dict[
        Literal["organ", "part", "distance", "technique", "device", "guideline", "sum"], Phrases
    ] = {}
    distance_before: Phrases = ()
    distance_after: Phrases = ()
    distance_weak_before: Phrases = ()
    distance_weak_after: Phrases = ()
    change_before: Phrases = ()
    change_after: Phrases = ()
    size_word: Phrases = ()
    preposition: Phrases = ()
    previous_before: Phrases = ()
    previous_right_before: Phrases = ()
    previous_seen: Phrases = ()
    previous_after: Phrases = ()
    now: Phrases = ()
    change_from: Phrases = ()
    change_to: Phrases = ()
    changed: Phrases = ()
    negation: Phrases = ()
    not_negation: Phrases = ()
    negation_end: Phrases = ()
    gone: Phrases = ()
    not_gone: Phrases = ()
    target: Phrases = ()
    non_target: Phrases = ()
    headings: dict[
        Literal[
            "technique", "history", "comparison", "findings", "impression", "target", "non_target",
            "other",
        ],
        Phrases,
    ] = {}  # fmt: skip
    regions: dict[Place, Phrases] = {}
    baseline: Phrases = ()
    follow_up: Phrases = ()
    columns: dict[
        Literal[
            "lesion", "location", "size", "long", "short", "previous", "series", "image",
            "reference", "kind",
        ],
        Phrases,
    ] = {}  # fmt: skip


class Words:
    """A lexicon, and the patterns made of it when they are first asked for."""

    def __init__(self, lexicon: Lexicon) -> None:
        self.lexicon = lexicon
        self._patterns: dict[str, re.Pattern[str]] = {}

    @property
    def language(self) -> str:
        """Code of the language, such as `nl`."""
        return self.lexicon.language

    def pattern(self, name: str) -> re.Pattern[str]:
        """Pattern of whole words and phrases of a list, such as `lesion` or `location.lung`."""
        if name not in self._patterns:
            self._patterns[name] = re.compile(alternatives(self.phrases(name)))
        return self._patterns[name]

    def phrases(self, name: str) -> tuple[str, ...]:
        """Phrases of a list; of all lists of a group where `name` ends with a dot."""
        field, _, key = name.partition(".")
        value = getattr(self.lexicon, "and_" if field == "and" else field)
        if isinstance(value, Mapping):
            if key:
                return tuple(value.get(key, ()))
            return tuple(phrase for phrases in value.values() for phrase in phrases)
        return tuple(value)

    @cached_property
    def unit_mm(self) -> dict[str, float]:
        """Length in mm of each unit."""
        return {
            word: length
            for unit, length in (("mm", 1.0), ("cm", 10.0))
            for word in self.phrases(f"units.{unit}")
        }

    @cached_property
    def measure_words(self) -> frozenset[str]:
        """Words that a size or a reference is written with; the only ones that a table repeats."""
        lists = ("units.", "by", "range", "and", "axis.", "series", "image", "planes")
        more = ("series_letter", "image_letter", "size_word", "change_to")
        said = " ".join(phrase for name in (*lists, *more) for phrase in self.phrases(name))
        joined = {unit + by for unit in self.unit_mm for by in self.phrases("by")}  # "8mmx6mm"
        return frozenset(re.findall(r"[^\W\d_]+", said)) | joined | set("abcdef") | _PARTICLES

    @cached_property
    def all(self) -> re.Pattern[str]:
        """Pattern of words such as "all" and "each"."""
        return self.pattern("every")

    def keys(self, field: str) -> tuple[str, ...]:
        """Names of the lists of a group, in a fixed order."""
        return tuple(sorted(getattr(self.lexicon, field)))


@cache
def alternatives(phrases: tuple[str, ...], end: str = r"(?!\w)") -> str:
    """Regular expression of any of the phrases, the longest first; none matches nothing.

    Parameters
    ----------
    phrases : tuple of str
    end : str
        What must follow a word: that it has ended.
    """
    ordered = sorted(set(phrases), key=lambda phrase: (-len(phrase), phrase))
    words = "|".join(_expression(one, end) for one in ordered if _is_word(one))
    signs = "|".join(_expression(one, end) for one in ordered if not _is_word(one))
    parts = [rf"(?<!\w)(?:{words})"] if words else []
    return "(?:" + "|".join([*parts, *([signs] if signs else [])]) + ")" if ordered else "(?!)"


def _is_word(phrase: str) -> bool:
    return phrase[0].isalnum() or phrase[0] == "*"


def _expression(phrase: str, end: str) -> str:
    parts = [part for part in re.split(r"[\s-]+", phrase) if part] or [phrase]
    words = [r"\w{0,40}".join(re.escape(bit) for bit in part.split("*")) for part in parts]
    # A line may end inside a phrase, and a hyphen stand in it or not.
    ends = phrase[-1].isalnum() or phrase[-1] == "*"
    return r"[\s-]{1,4}".join(words) + (end if ends else "")


def lexicons(path: Path | None = None) -> list[Words]:
    """Words of every language: the shipped ones, with what a user's file adds.

    Parameters
    ----------
    path : Path, optional
        A YAML file of the same form. Its lists are added to those of its language; a new
        language may name only some lists, and has the units of English.

    Raises
    ------
    LexiconError
        The file is missing, not YAML, too large, or has an unknown list.
    """
    known = {code: _read(_FOLDER / f"{code}.yaml") for code in LANGUAGES}
    if path is not None:
        added = _read(path)
        before = known.get(added.language)
        if before is None:
            before = Lexicon.model_validate(
                {"language": added.language, "units": known["en"].units, "by": known["en"].by}
            )
        known[added.language] = _joined(before, added)
    return [Words(lexicon) for lexicon in known.values()]


def _joined(first: Lexicon, second: Lexicon) -> Lexicon:
    def both(one: Any, other: Any) -> Any:
        if isinstance(one, Mapping):
            return {key: (*one.get(key, ()), *other.get(key, ())) for key in {**one, **other}}
        return (*one, *other)

    fields = [name for name in Lexicon.model_fields if name != "language"]
    joined = {name: both(getattr(first, name), getattr(second, name)) for name in fields}
    return first.model_copy(update=joined)


def _read(path: Path) -> Lexicon:
    try:
        with path.open("rb") as file:
            data = file.read(MAXIMUM_BYTES + 1)
        content = load_yaml(data, path.name, MAXIMUM_BYTES)
    except OSError as error:
        raise LexiconError(f"{path}: {error.strerror or type(error).__name__}") from error
    except YamlError as error:
        raise LexiconError(str(error)) from error
    try:
        lexicon = Lexicon.model_validate(content)
    except ValidationError as error:
        raise LexiconError(f"{path.name}: {'; '.join(_problems(error))}") from error
    for name in Lexicon.model_fields:
        value = getattr(lexicon, name)
        lists = value.values() if isinstance(value, Mapping) else [value]
        for phrase in (word for words in lists if isinstance(words, tuple) for word in words):
            if phrase.count("*") > _MOST_STARS:
                raise LexiconError(
                    f"{path.name}: {name}: {phrase!r} holds more than {_MOST_STARS} stars"
                )
    return lexicon


def _problems(error: ValidationError) -> Iterator[str]:
    for problem in error.errors()[:5]:
        place = ".".join(str(part) for part in problem["loc"])
        more = " (quote words such as no and on)" if problem["type"] == "string_type" else ""
        yield f"{place or 'the file'}: {problem['msg']}{more}"
