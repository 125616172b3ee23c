"""Files among the inputs, without the functions around: what is looked for, and what goes where."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Code, Refusal
from shared.file_inputs import LONGEST_PATH, SMALL_DATA, FileInputs, TakenInput
from shared.identifiers import new_job_id
from shared.job import Job, JobId
from shared.uploads import Uploads
from tests.support.world import ALICE, ORIGIN, START, job

JOB_ID = new_job_id(START)
LARGE = "data:text/plain," + "x" * SMALL_DATA


class Untouched:
    """Neither a table nor a bucket is needed: whoever asks is wrong."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


class Signer:
    """A bucket that signs, and says what."""

    def presign(self, key: str, *, seconds: int) -> str:
        return f"https://bucket/{key}?{seconds}"


def file_inputs(files: object) -> FileInputs:
    nothing: Any = Untouched()
    bucket: Any = files
    uploads = Uploads(nothing, "jobs", files=lambda: bucket, now=lambda: START)
    return FileInputs(
        jobs=nothing, files=lambda: bucket, uploads=uploads, links=None, origins=[ORIGIN], now=lambda: START
    )


def take(fields: dict[str, Any], *names: str) -> TakenInput:
    known = frozenset(names) if names else None
    return file_inputs(Untouched()).take(fields, file_fields=known, job_id=JobId(JOB_ID), tenant=ALICE)


def sent(taken: TakenInput) -> Any:
    one: Job = job(input=taken.fields, stored_inputs=taken.stored)
    return file_inputs(Signer()).sent(one)


@pytest.mark.parametrize(
    "path",
    [
        "/files/" + "a" * 5_000 + "/0.webp",
        "/files/x/0.webp",
        "/files/../0.webp",
        "/files/" + "z" * 26 + "/0.webp",
        "/files/",
    ],
)
def test_what_can_be_no_job_is_not_even_looked_for(path: str) -> None:
    with pytest.raises(Refusal) as refused:
        take({"image": ORIGIN + path}, "image")
    assert refused.value.code is Code.INVALID_INPUT


_names = st.text(st.sampled_from("ab/~.0"), min_size=1, max_size=4)
_values = st.recursive(
    st.sampled_from(["words", LARGE, LARGE + "y"]) | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(_names, _values, max_size=4))
def test_each_file_comes_back_as_a_link_to_itself_and_all_else_as_it_was(fields: dict[str, Any]) -> None:
    taken = take(fields)
    uploads = {key: content for key, (_, content) in taken.uploads.items()}

    def expected(value: Any) -> Any:
        match value:
            case dict():
                return {name: expected(one) for name, one in value.items()}
            case list():
                return [expected(one) for one in value]
            case str() if value.startswith("data:"):
                return value.partition(",")[2].encode()
        return value

    def found(value: Any) -> Any:
        match value:
            case dict():
                return {name: found(one) for name, one in value.items()}
            case list():
                return [found(one) for one in value]
            case str() if value.startswith("https://bucket/"):
                return uploads[value.removeprefix("https://bucket/").partition("?")[0]]
        return value

    assert found(sent(taken)) == expected(fields)
    assert set(taken.altered) == {name for name, value in fields.items() if LARGE in str(value)}
    assert LARGE not in str(taken.fields)


@pytest.mark.parametrize("extra", [0, 1])
def test_a_path_is_as_long_as_it_may_be(extra: int) -> None:
    fields = {"a" * (LONGEST_PATH - 2 + extra): ["x"]}
    if extra:
        with pytest.raises(Refusal, match="nested too deeply"):
            take(fields)
    else:
        assert take(fields).fields == fields


def test_nothing_is_signed_for_a_job_without_files() -> None:
    assert file_inputs(Untouched()).sent(job()) == job().input
