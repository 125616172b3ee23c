"""Trigger words: what a LoRA has learned shows only when its word stands in the prompt."""

from __future__ import annotations

import re

_LETTER = r"[\w\u0300-\u036f]"  # with the accents that are characters of their own


def with_trigger_word(prompt: str, word: str) -> str:
    """Put the trigger word in front of the prompt, unless it stands there as a word of its own.

    In another case, or as a part of a longer word, it is another token to the text encoder, so it is missing; with
    punctuation around it, it is there. The word itself may hold punctuation and spaces; a blank one changes nothing.
    """
    word = word.strip()
    if not word or re.search(rf"(?<!{_LETTER}){re.escape(word)}(?!{_LETTER})", prompt):
        return prompt
    return f"{word} {prompt}"
