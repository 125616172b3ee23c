"""Settings: the template gives each function all it requires, and what is missing is named."""

from typing import Any

import pytest

from shared import settings
from shared.pricing import micro_usd, usd
from shared.settings import FilesSettings, MissingSetting, SubmitSettings
from tests.support.template import Function, Template, read_template

TEMPLATE = Template({"PublicUrl": "https://One.example,http://127.0.0.1:8080"}, {})
SETTINGS = {name.removesuffix("Settings"): kind for name, kind in vars(settings).items() if name.endswith("Settings")}
FUNCTIONS = [pytest.param(one, id=one.name) for one in TEMPLATE.functions()]


def settings_of(function: Function) -> Any:
    return SETTINGS.get(function.name.removesuffix("Function")) or settings.StartSettings


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_template_gives_a_function_what_it_requires_and_nothing_else(function: Function) -> None:
    kind = settings_of(function)
    kind.load(function.environment)
    common = set(read_template()["Globals"]["Function"]["Environment"]["Variables"])
    assert set(function.environment) - common == {name.upper() for name in kind.fields()}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_each_missing_variable_is_named(function: Function) -> None:
    kind = settings_of(function)
    for field in kind.fields():
        name = field.upper()
        for environ in (
            {key: value for key, value in function.environment.items() if key != name},
            {**function.environment, name: ""},
        ):
            with pytest.raises(MissingSetting, match=name):
                kind.load(environ)


def test_a_number_that_is_none_is_named() -> None:
    environ = TEMPLATE.function("FilesFunction").environment
    with pytest.raises(MissingSetting, match="FILE_LINK_DAYS"):
        FilesSettings.load({**environ, "FILE_LINK_DAYS": "seven"})


def test_what_is_loaded_stays_as_it_is() -> None:
    loaded = FilesSettings.load(TEMPLATE.function("FilesFunction").environment)
    with pytest.raises(AttributeError, match="bucket"):
        loaded.bucket = "another"
    assert loaded.bucket == TEMPLATE.function("FilesFunction").environment["BUCKET"]


def test_limits_and_lists_are_read() -> None:
    environ = {
        **TEMPLATE.function("SubmitFunction").environment,
        "ALLOWED_MODELS": "a/*, b/c",
        "DAILY_BUDGET_USD": "0.5",
    }
    loaded = SubmitSettings.load(environ)
    assert loaded.allowed == ("a/*", "b/c")
    assert loaded.origins == ("https://one.example", "http://127.0.0.1:8080")
    assert (loaded.limits.rate_per_minute, loaded.limits.daily_budget) == (50, 500_000)


@pytest.mark.parametrize(("text", "found"), [("none", None), ("acme/fox", "acme/fox")])
def test_none_stands_for_what_is_not_there(text: str, found: str | None) -> None:
    environ = TEMPLATE.function("SubmitFunction").environment
    loaded = SubmitSettings.load({**environ, "LORA_MODEL_ID": text, "REPLICATE_USERNAME": text})
    assert (loaded.lora, loaded.username) == (found, found)


def test_what_is_not_configured_is_none() -> None:
    loaded = SubmitSettings.load(TEMPLATE.function("SubmitFunction").environment)
    assert (loaded.lora, loaded.username, loaded.fallback_price_usd, loaded.model_config) == (None, None, "none", "{}")
    assert (loaded.max_batch, loaded.allowed[0]) == (100, "black-forest-labs/*")


@pytest.mark.parametrize(
    ("text", "micro"),
    [
        ("0", 0),
        ("25", 25_000_000),
        ("0.5", 500_000),
        (".5", 500_000),
        ("1.", 1_000_000),
        ("0.000001", 1),
        (" 2 ", 2_000_000),
    ],
)
def test_an_amount_is_read_to_the_micro(text: str, micro: int) -> None:
    assert micro_usd(text) == micro


@pytest.mark.parametrize(
    ("micro", "text"),
    [(0, "0"), (1, "0.000001"), (500_000, "0.5"), (25_000_000, "25"), (-1_500_000, "-1.5"), (10**9, "1000")],
)
def test_an_amount_is_written_without_superfluous_zeros(micro: int, text: str) -> None:
    assert usd(micro) == text
