"""Outputs: taken apart and put together again they are what they were, whatever they are."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.job import Makes, Shape
from shared.outputs import DEEPEST, LARGEST_TEXT, Outputs, outputs_of, put_in_place, trained_version

OWN, OTHER = "https://replicate.delivery/own/", "https://example.com/other/"

_files = st.sampled_from([f"{OWN}{n}" for n in range(4)] + ["data:image/png;base64,AAAA", "data:a/b,%20"])
_urls = _files | st.sampled_from([f"{OTHER}{n}" for n in range(3)] + ["http://x", "HTTPS://X/y", "data:,", "data:x,y"])
_scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8) | _urls
_names = st.sampled_from(["$file", "a", "b", "version", "weights", ""]) | st.text(max_size=3)
_outputs = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_names, inner, max_size=4), max_leaves=12
)
_makes = st.sampled_from(Makes)


def is_own(url: str) -> bool:
    return url.startswith(OWN)


def read(output: Any, makes: Makes = Makes.ANYTHING) -> Outputs:
    return outputs_of(output, makes, is_own)


def again(outputs: Outputs) -> Any:
    """Put an output together again, with the sources in the place of the files."""
    match outputs.shape, outputs.sources:
        case Shape.NESTED, sources:
            return put_in_place(outputs.text, dict(enumerate(sources)))
        case Shape.SINGLE, (source,):
            return source
        case Shape.LIST, sources if sources:
            return list(sources)
    return outputs.text


def strings(value: Any) -> list[str]:
    match value:
        case str():
            return [value]
        case list():
            return [one for inner in value for one in strings(inner)]
        case dict():
            return [one for inner in value.values() for one in strings(inner)]
    return []


def written(value: Any) -> str:
    """Write with the order of keys, and with true and 1 apart."""
    return json.dumps(value)


@given(output=_outputs | _files | st.lists(_urls), makes=_makes)
def test_what_is_taken_apart_can_be_put_together(output: Any, makes: Makes) -> None:
    assert written(again(read(output, makes))) == written(output)


@given(output=_outputs | st.lists(_urls))
def test_only_whole_urls_that_may_be_fetched_are_files_of_a_model_that_may_make_anything(output: Any) -> None:
    found = read(output)
    assert all(is_own(source) or source.startswith(("data:image/", "data:a/")) for source in found.sources)
    assert not any(is_own(left) for left in strings(found.text)), "and all of them are"


@given(output=_outputs, makes=_makes)
def test_inside_of_an_output_each_file_is_counted_once(output: Any, makes: Makes) -> None:
    found = read(output, makes)
    if found.shape is Shape.NESTED:
        assert len(set(found.sources)) == len(found.sources) > 0


@given(output=_outputs)
def test_a_file_that_is_missing_is_null(output: Any) -> None:
    found = read(output)
    if found.shape is Shape.NESTED:
        assert not any(is_own(left) for left in strings(put_in_place(found.text, {})))


@given(output=_outputs, levels=st.integers(0, 300), name=st.sampled_from([None, "$file", "a"]), makes=_makes)
def test_no_depth_is_too_much(output: Any, levels: int, name: str | None, makes: Makes) -> None:
    for _ in range(levels):
        output = [output] if name is None else {name: output}
    found = read(output, makes)
    assert written(again(found) if not found.is_too_deep else found.text) == written(output)
    if levels > DEEPEST:
        assert found.is_too_deep
        assert found.document({}) == written(output).encode()


@pytest.mark.parametrize(
    ("output", "makes", "shape"),
    [
        (f"{OWN}1", Makes.ANYTHING, Shape.SINGLE),
        ([f"{OWN}1"], Makes.ANYTHING, Shape.LIST),
        ([f"{OWN}1", f"{OWN}1"], Makes.ANYTHING, Shape.LIST),
        ([f"{OWN}1", f"{OTHER}1"], Makes.ANYTHING, Shape.NESTED),
        ([f"{OWN}1", f"{OTHER}1"], Makes.IMAGES, Shape.LIST),
        (f"{OTHER}1", Makes.IMAGE, Shape.SINGLE),
        ([f"{OWN}1", None], Makes.IMAGES, Shape.NESTED),
        ({"weights": f"{OTHER}1"}, Makes.MODEL, Shape.NESTED),
    ],
)
def test_the_shape_of_an_output_is_kept(output: Any, makes: Makes, shape: Shape) -> None:
    assert read(output, makes).shape is shape


@pytest.mark.parametrize("makes", Makes)
@pytest.mark.parametrize("text", ["", "https://", "ftp://x/y", f"{OWN} ", f" {OWN}", f"{OWN}\n", f"{OWN}a b", "data:"])
def test_what_is_not_all_a_url_is_text(makes: Makes, text: str) -> None:
    for output in (text, [text], {"a": text}):
        assert read(output, makes) == Outputs(text=output)


def test_only_what_the_job_cannot_hold_becomes_a_document() -> None:
    short, long = "x" * (LARGEST_TEXT - 2), "x" * (LARGEST_TEXT - 1)
    assert read(short).document({}) is None
    assert read(long).document({}) == json.dumps(long).encode()
    nested = read({"file": f"{OWN}1", "text": long})
    assert nested.document({0: "a/key"}) == json.dumps({"file": "a/key", "text": long}).encode()
    assert read([f"{OWN}1"]).document({0: "a/key"}) is None


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ({"version": "acme/fox:1", "weights": {"$file": 0}}, "acme/fox:1"),
        ({"version": ""}, None),
        ({"version": 5}, None),
        ({"weights": {"$file": 0}}, None),
        ({"$file": 0}, None),
        ("acme/fox:1", None),
        (None, None),
    ],
)
def test_a_training_names_its_version(text: Any, version: str | None) -> None:
    assert trained_version(text) == version
