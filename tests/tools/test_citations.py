"""References of a recipe as BibTeX: one entry each; a citation that cannot be read is refused."""

from __future__ import annotations

import pytest

from tools.citations import bibtex, readme
from uls_data.recipe import load_recipe


def test_one_entry_per_reference() -> None:
    text = bibtex(load_recipe("eay131").recipe)
    assert text.count("@misc{") == 2
    assert "  author        = {Jordan, P. and Rozenfeld, M.},\n" in text
    assert "  doi           = {10.7937/C5KE-YX42}\n" in text


def test_a_citation_without_an_identifier_is_refused() -> None:
    recipe = load_recipe("eay131").recipe.model_copy(update={"citation": "Somebody (2020), A set"})
    with pytest.raises(ValueError, match="eay131"):
        bibtex(recipe)


def test_terms_and_held_out_patients_are_named() -> None:
    page = readme(load_recipe("kits23").recipe)
    assert "CC-BY-NC-SA-4.0; VOIs may be passed on." in page
    assert "Held out: 30 patients." in page
    assert "not known" in readme(load_recipe("mswal").recipe)
