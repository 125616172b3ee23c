"""From what is given to what is sent: for every model, and for those that nobody has described."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Code, Refusal
from shared.identifiers import canonical
from shared.input_check import MOST_IMAGES, MOST_NAMED, check_input
from shared.job import Kind, Makes
from shared.pricing import Price, Tariff, Unit
from shared.registry import FAMILIES, FINE_TUNED, MODELS, Model

DEV = MODELS["black-forest-labs/flux-dev"]
DEV_LORA = MODELS["black-forest-labs/flux-dev-lora"]
UNKNOWN = Model(name="acme/x", input=None, tariff=Tariff(Price(1, Unit.PREDICTION), "", ""), makes=Makes.ANYTHING)
LEAST: dict[str, Any] = {"prompt": "a fox", "input_images": "https://example.com/fox.zip"}
each_model = pytest.mark.parametrize("model", FAMILIES.values(), ids=lambda model: model.name)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def least(model: Model) -> dict[str, Any]:
    """Give the smallest input of a model."""
    assert model.input is not None
    return {name: value for name, value in LEAST.items() if name in model.input.model_fields}


def defaults(model: Model) -> dict[str, Any]:
    """Give all defaults of a model's type, as JSON has them."""
    assert model.input is not None
    known = model.input(**least(model)).model_dump()
    return {name: value for name, value in known.items() if value is not None}


@each_model
def test_an_input_means_the_same_with_its_defaults_spelled_out(model: Model) -> None:
    brief = check_input(model, least(model), drop_unknown=False)
    spelled = check_input(model, json.loads(json.dumps(defaults(model) | dict(model.defaults))), drop_unknown=False)
    assert canonical(brief.canonical) == canonical(spelled.canonical)
    assert brief.fields.items() <= spelled.fields.items()
    assert (brief.images, brief.effort) == (spelled.images, spelled.effort)


@each_model
def test_whole_numbers_mean_the_same_however_they_are_written(model: Model) -> None:
    assert model.input is not None
    numbers = {
        name: value for name, value in defaults(model).items() if isinstance(value, float) and value == int(value)
    }
    as_integers = {name: int(value) for name, value in numbers.items()}
    one, other = (check_input(model, {**least(model), **given}, drop_unknown=False) for given in (numbers, as_integers))
    assert canonical(one.canonical) == canonical(other.canonical)


@each_model
def test_null_is_not_given(model: Model) -> None:
    assert model.input is not None
    nulls = dict.fromkeys(model.input.model_fields) | {"no_such_field": None}
    assert check_input(model, {**nulls, **least(model)}, drop_unknown=False) == check_input(
        model, least(model), drop_unknown=False
    )


@each_model
@given(data=st.data())
def test_whatever_is_given_is_taken_or_refused_by_the_names_of_fields(model: Model, data: st.DataObject) -> None:
    assert model.input is not None
    names = st.sampled_from(sorted(model.input.model_fields)) | st.text(max_size=8)
    extra = data.draw(st.dictionaries(names, _json, max_size=4))
    refused: Refusal | None = None
    try:
        valid = check_input(model, {**least(model), **extra}, drop_unknown=True)
    except Refusal as refusal:
        refused = refusal
    if refused is None:
        assert valid.fields.keys() <= valid.canonical.keys()
        assert valid.images >= 1
        assert valid.effort >= 1
    else:
        assert refused.code is Code.INVALID_INPUT
        named = {one.field.split(".")[1] for one in refused.invalid_fields}
        assert named
        assert named <= model.input.model_fields.keys()


def test_secrets_are_kept_apart_from_what_is_shown_and_compared() -> None:
    valid = check_input(
        DEV_LORA, {**least(DEV_LORA), "hf_api_token": "t", "civitai_api_token": "u"}, drop_unknown=False
    )
    assert valid.secrets == {"hf_api_token": "t", "civitai_api_token": "u"}
    assert not valid.secrets.keys() & (valid.fields.keys() | valid.canonical.keys())


@each_model
def test_every_secret_of_a_model_is_one(model: Model) -> None:
    assert model.input is not None
    named = {name for name in model.input.model_fields if name.endswith(("_token", "_api_key"))}
    assert named == model.input.secret_fields()


def test_files_are_known_for_what_they_are() -> None:
    assert check_input(DEV, least(DEV), drop_unknown=False).files == frozenset({"image"})
    assert check_input(FINE_TUNED, least(FINE_TUNED), drop_unknown=False).files == frozenset({"image", "mask"})
    assert check_input(UNKNOWN, {}, drop_unknown=False).files is None


def test_many_unknown_fields_are_named_in_part() -> None:
    extra = {f"field{n}": n for n in range(MOST_NAMED + 5)}
    valid = check_input(DEV, {**least(DEV), **extra}, drop_unknown=True)
    assert len(valid.warnings) == MOST_NAMED + 1
    assert valid.warnings[-1] == "input: 5 more such fields were ignored"


def test_a_long_name_is_cut_in_warnings() -> None:
    (warning,) = check_input(DEV, {**least(DEV), "x" * 1_000: 1}, drop_unknown=True).warnings
    assert len(warning) < 250


@pytest.mark.parametrize(
    ("asked", "amount"), [(None, 1), (1, 1), (4, 4), (MOST_IMAGES + 1, MOST_IMAGES), (True, 1), ("4", 1), (2.0, 1)]
)
def test_the_number_of_images_of_an_unknown_model_is_believed_within_reason(asked: Any, amount: int) -> None:
    assert check_input(UNKNOWN, {"num_outputs": asked}, drop_unknown=False).images == amount


def test_a_trainers_effort_is_its_steps() -> None:
    trainer = MODELS["ostris/flux-dev-lora-trainer"]
    assert trainer.kind is Kind.TRAINING
    assert check_input(trainer, {**least(trainer), "steps": 7}, drop_unknown=False).effort == 7
    assert check_input(trainer, least(trainer), drop_unknown=False).effort == 1_000


@pytest.mark.parametrize(
    ("given_", "word", "prompt"),
    [({"prompt": "a fox"}, "TOK", "TOK a fox"), ({"prompt": "a fox"}, "", "a fox"), ({"prompt": 5}, "TOK", 5)],
)
def test_a_trigger_word_goes_into_the_prompt_of_an_unknown_model_too(given_: Any, word: str, prompt: Any) -> None:
    assert check_input(UNKNOWN, given_, drop_unknown=False, trigger_word=word).fields["prompt"] == prompt


def test_a_trigger_word_makes_no_prompt_where_there_is_none() -> None:
    assert check_input(UNKNOWN, {"text": "a"}, drop_unknown=False, trigger_word="TOK").fields == {"text": "a"}
