"""Trigger words: in front of the prompt, unless the word stands in it as a word."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.trigger import with_trigger_word


@pytest.mark.parametrize(
    ("prompt", "word"),
    [
        ("TOK", "TOK"),
        ("TOK on a hill", "TOK"),
        ("a photo of TOK", "TOK"),
        ("a photo of TOK on a hill", "TOK"),
        ("TOK, smiling", "TOK"),
        ("smiling TOK.", "TOK"),
        ("a dog (TOK)", "TOK"),
        ('the "TOK" look', "TOK"),
        ("TOK's hat", "TOK"),
        ("a TOK-like hat", "TOK"),
        ("hat/TOK/scarf", "TOK"),
        ("a hat\nTOK\ta scarf", "TOK"),
        ("TOKEN, but also TOK", "TOK"),
        ("a sks-dog", "sks-dog"),
        ("a sks-dog, running", "sks-dog"),
        ("by T.O.K", "T.O.K"),
        ("by T.O.K.", "T.O.K"),
        ("by T.O.K., again", "T.O.K."),
        ("it is my dog!", "my dog"),
        ("xmy dog or my dog", "my dog"),
        ("aa a a", "a a"),
        ("in <s0><s1> style", "<s0><s1>"),
        ("what (x+y)* is", "(x+y)*"),
        ("die Größe zählt", "Größe"),
        ("夜の 東京 の空", "東京"),
        ("a photo of ÆON", "ÆON"),
        ("a photo of TOK", "  TOK\n"),
    ],
)
def test_a_prompt_that_holds_the_word_is_not_changed(prompt: str, word: str) -> None:
    assert with_trigger_word(prompt, word) == prompt


@pytest.mark.parametrize(
    ("prompt", "word"),
    [
        ("a photo", "TOK"),
        ("a photo of tok", "TOK"),
        ("a photo of Tok", "TOK"),
        ("a photo of a TOKEN", "TOK"),
        ("a photo of two TOKs", "TOK"),
        ("a photo of TOK2", "TOK"),
        ("a photo of TOK_style", "TOK"),
        ("a STOK photo", "TOK"),
        ("a 2TOK photo", "TOK"),
        ("a _TOK photo", "TOK"),
        ("a photo of T O K", "TOK"),
        ("a photo of TOKÉ", "TOK"),
        ("a photo of TOKE\u0301", "TOKE"),
        ("a sks dog", "sks-dog"),
        ("a sks-dogs", "sks-dog"),
        ("by TxOxK", "T.O.K"),
        ("my dogs and my  dog", "my dog"),
        ("die Größen", "Größe"),
        ("die größe", "Größe"),
        ("夜の東京の空", "東京"),
        ("(x+y)*z", "(x+y)*"),
        ("a photo", r"\d"),
    ],
)
def test_a_prompt_without_the_word_gets_it_in_front(prompt: str, word: str) -> None:
    assert with_trigger_word(prompt, word) == f"{word} {prompt}"


def test_the_word_is_put_there_without_the_space_around_it() -> None:
    assert with_trigger_word("a photo", " TOK ") == "TOK a photo"


@pytest.mark.parametrize("word", ["", " ", "\n\t", "\u00a0"])
def test_a_blank_word_changes_nothing(word: str) -> None:
    assert with_trigger_word("a photo", word) == "a photo"


WORDS = st.text("aAé_0-.(+ 東\u0301", max_size=5)
PROMPTS = st.text("aAé_0-.(+ 東\u0301,", max_size=30)


@given(PROMPTS, WORDS)
def test_the_word_is_there_afterwards_and_once_is_enough(prompt: str, word: str) -> None:
    found = with_trigger_word(prompt, word)
    assert found.endswith(prompt)
    assert with_trigger_word(found, word) == found
    assert not word.strip() or word.strip() in found


@given(PROMPTS, st.from_regex(r"[A-Z]{3}", fullmatch=True))
def test_a_plain_word_is_there_as_a_word(prompt: str, word: str) -> None:
    assert re.search(rf"\b{word}\b", with_trigger_word(prompt, word))
