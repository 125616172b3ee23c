"""Settings: what each function reads from its environment, all of it required, checked at the first request."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, Self

from shared.accounts import Limits
from shared.pricing import micro_usd
from shared.schedule import POLL_S, POLL_WITHOUT_WEBHOOKS_S

if TYPE_CHECKING:
    from collections.abc import Mapping


class MissingSetting(Exception):
    """The function's environment lacks a variable, or holds something else in it."""


class _Settings:
    # No dataclass: a function needs one of these classes, and at a cold start it would pay for making all of them.

    @classmethod
    def fields(cls) -> Mapping[str, str]:
        """Give the names of the fields, and of their types."""
        annotated = [vars(one).get("__annotations__", {}) for one in reversed(cls.__mro__)]
        return {name: kind for names in annotated for name, kind in names.items()}

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Self:
        """Read the variables that are named like the fields, in capitals.

        Raises:
            MissingSetting: one is not there, or is not of the field's type.
        """
        loaded = cls()
        for field, kind in cls.fields().items():
            name = field.upper()
            text = environ.get(name)
            if not text:
                raise MissingSetting(name)
            try:
                vars(loaded)[field] = int(text) if kind == "int" else text
            except ValueError as error:
                raise MissingSetting(name) from error
        return loaded

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{name} is settled")


class _WithLimits(_Settings):
    rate_per_minute: int
    max_in_flight: int
    daily_budget_usd: str

    @property
    def limits(self) -> Limits:
        """The limits of a tenant that has none of its own."""
        return Limits(self.rate_per_minute, self.max_in_flight, micro_usd(self.daily_budget_usd))


class LinkSettings(_Settings):
    """What links to files need."""

    link_key_parameter: str
    file_link_days: int
    file_retention_days: int


class _WithOrigins(_Settings):
    public_urls: str

    @property
    def origins(self) -> tuple[str, ...]:
        """Where callers reach us; the first is where Replicate does."""
        return tuple(url.strip().rstrip("/").lower() for url in self.public_urls.split(","))


class StartSettings(_WithOrigins):
    """The environment of what looks after jobs with Replicate; `reconcile` needs no more."""

    jobs_table: str
    accounts_table: str
    archive_queue_url: str
    dispatch_queue_url: str
    replicate_api_url: str
    replicate_token_parameter: str
    replicate_rate_per_minute: int
    max_queued_hours: int
    webhooks: str

    @property
    def poll_s(self) -> int:
        """The seconds of silence after which a running prediction is asked about."""
        return POLL_S if self.has_webhooks else POLL_WITHOUT_WEBHOOKS_S

    @property
    def has_webhooks(self) -> bool:
        """Whether Replicate can reach us."""
        return self.webhooks == "on"


class ModelSettings(_Settings):
    """What finding a model needs."""

    jobs_table: str
    accounts_table: str
    replicate_api_url: str
    replicate_token_parameter: str
    allowed_models: str
    model_config: str
    lora_model_id: str
    fallback_price_usd: str

    @property
    def allowed(self) -> tuple[str, ...]:
        """The patterns of the models that may be called."""
        return tuple(pattern.strip() for pattern in self.allowed_models.split(","))

    @property
    def lora(self) -> str | None:
        """The operator's own LoRA, if there is one."""
        return _unless_none(self.lora_model_id)


class DispatchSettings(StartSettings):
    """The environment of `dispatch`, and what else starting a prediction needs."""

    callback_key_parameter: str
    bucket: str
    input_key_id: str
    replicate_username: str

    @property
    def username(self) -> str | None:
        """The account that models are made under, if that is known."""
        return _unless_none(self.replicate_username)


class SubmitSettings(_WithLimits, LinkSettings, ModelSettings, DispatchSettings):
    """The environment of `submit`."""

    default_model: str
    webhook_hosts: str
    max_batch: int
    max_wait_seconds: int


class CancelSettings(_WithLimits, LinkSettings, StartSettings):
    """The environment of `cancel`."""


class WebhookSettings(_Settings):
    """The environment of `webhook`."""

    jobs_table: str
    archive_queue_url: str
    notify_queue_url: str
    webhook_secret_parameter: str
    callback_key_parameter: str


class ArchiveSettings(_Settings):
    """The environment of `archive`."""

    jobs_table: str
    accounts_table: str
    bucket: str
    archive_queue_url: str
    replicate_api_url: str
    replicate_token_parameter: str
    output_hosts: str
    max_output_megabytes: int


class NotifySettings(_WithOrigins, LinkSettings):
    """The environment of `notify`."""

    jobs_table: str
    accounts_table: str
    notify_queue_url: str
    webhook_hosts: str


class StatusSettings(_WithLimits, _WithOrigins, LinkSettings):
    """The environment of `status`."""

    jobs_table: str
    accounts_table: str
    max_wait_seconds: int


class CatalogSettings(_WithLimits, _WithOrigins, ModelSettings):
    """The environment of `catalog`."""


class FilesSettings(_WithLimits, _WithOrigins, LinkSettings):
    """The environment of `files`."""

    jobs_table: str
    accounts_table: str
    bucket: str


class ConsoleSettings(_Settings):
    """The environment of `console`."""

    file_hosts: str

    @property
    def hosts(self) -> tuple[str, ...]:
        """Where links to files lead."""
        return tuple(self.file_hosts.split(","))


def _unless_none(text: str) -> str | None:
    # CloudFormation has no empty variable, and a required one cannot be forgotten.
    return None if text == "none" else text
