"""The stack's configuration, read once from a mapping. No other module reads the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from finch_connect.domain import settings
from finch_connect.domain.errors import ConfigurationError
from finch_connect.domain.flow import ConnectMode
from finch_connect.domain.link_claims import LinkRules
from finch_connect.domain.names import Names

OPEN_LINK_STAGES = frozenset({"local", "dev"})

_BASE_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)(?::(?P<port>[1-9][0-9]{0,4}))?"
)
_LOOPBACK = frozenset({"localhost", "127.0.0.1"})
_MAX_PORT = 65535
_BASE_URL_FORM = "https://, then a host in lower case; no path, no query, no slash at the end"


@dataclass(frozen=True, slots=True)
class Config:
    """The values of the template's parameters. Secrets are not among them: they are read from Secrets Manager, by ARN.

    Lifetimes are whole seconds. URLs have no trailing slash. `public_url` is None if API Gateway's own address is used.
    `kms_key_id` is None for the AWS managed key. `request_budget` is the most seconds that all calls of a request may
    take together, `call_timeout` the most that one attempt of an AWS call may take.
    """

    stage: str
    table_name: str
    bus_name: str
    dead_letter_queue_url: str
    link_key_secret_arn: str
    client_credentials_secret_arn: str
    finch_client_id: str
    finch_api_url: str
    finch_connect_url: str
    finch_api_version: str
    connect_mode: ConnectMode
    stateless_callbacks: bool
    open_links: bool
    allowed_products: tuple[str, ...]
    allowed_client_types: frozenset[str]
    allowed_return_urls: tuple[str, ...]
    link_max_lifetime: int
    state_lifetime: int
    request_budget: float
    call_timeout: float
    public_url: str | None
    kms_key_id: str | None

    @property
    def link_rules(self) -> LinkRules:
        """Return what this configuration adds to the rules of a link's claims."""
        return LinkRules(
            max_lifetime=self.link_max_lifetime,
            allowed_products=self.allowed_products,
            allowed_return_urls=self.allowed_return_urls,
            customer_name_required=self.connect_mode is ConnectMode.SESSION,
        )

    @property
    def names(self) -> Names:
        """Return the names of this stack's secrets and parameters."""
        return Names(self.stage)


def from_environment() -> Config:
    """Read the function's environment. Raises ConfigurationError, which names all that is wrong and what would work."""
    return read(os.environ)


def read(environment: Mapping[str, str]) -> Config:
    """Read a mapping of environment variables. Unknown ones are ignored.

    Raises:
        ConfigurationError: its reason names every variable that is missing, malformed or can never work, with what
            would work.
    """
    reader = _Reader(environment)
    config = Config(
        stage=reader.text("STAGE", _matches(r"[a-z][a-z0-9-]{0,15}"), "a lower-case word of at most 16 characters"),
        table_name=reader.text("TABLE_NAME"),
        bus_name=reader.text("BUS_NAME"),
        dead_letter_queue_url=reader.text("DEAD_LETTER_QUEUE_URL"),
        link_key_secret_arn=reader.text("LINK_KEY_SECRET_ARN"),
        client_credentials_secret_arn=reader.text("CLIENT_CREDENTIALS_SECRET_ARN"),
        finch_client_id=reader.text("FINCH_CLIENT_ID"),
        finch_api_url=reader.text("FINCH_API_URL", _is_base_url, _BASE_URL_FORM),
        finch_connect_url=reader.text("FINCH_CONNECT_URL", _is_base_url, _BASE_URL_FORM),
        finch_api_version=reader.text("FINCH_API_VERSION", _matches(r"\d{4}-\d{2}-\d{2}"), "a date: YYYY-MM-DD"),
        connect_mode=ConnectMode(
            reader.text("CONNECT_MODE", _matches("static|session"), "static or session") or "static"
        ),
        stateless_callbacks=reader.text("STATELESS_CALLBACKS", _matches("on|off"), "on or off") == "on",
        open_links=reader.text("LINK_POLICY", _matches("signed|open"), "signed or open") == "open",
        allowed_products=reader.words("ALLOWED_PRODUCTS", settings.products_problem),
        allowed_client_types=frozenset(reader.words("ALLOWED_CLIENT_TYPES", settings.client_types_problem)),
        allowed_return_urls=reader.words("ALLOWED_RETURN_URLS", settings.return_urls_problem, required=False),
        link_max_lifetime=reader.seconds("LINK_MAX_LIFETIME_SECONDS", settings.LINK_LIFETIMES),
        state_lifetime=reader.seconds("STATE_LIFETIME_SECONDS", settings.STATE_LIFETIMES),
        request_budget=reader.duration("REQUEST_BUDGET_SECONDS"),
        call_timeout=reader.duration("CALL_TIMEOUT_SECONDS"),
        public_url=reader.optional("PUBLIC_URL", _is_base_url, _BASE_URL_FORM) or None,
        kms_key_id=reader.optional("KMS_KEY_ID") or None,
    )
    if config.open_links and config.stage not in OPEN_LINK_STAGES:
        reader.refuse("LINK_POLICY", "open links are for the stages local and dev only")
    if config.request_budget and config.call_timeout:
        reader.refuse("REQUEST_BUDGET_SECONDS", settings.budget_problem(config.request_budget, config.call_timeout))
    if reader.wrong:
        raise ConfigurationError("missing or malformed: " + ", ".join(reader.wrong.values()))
    return config


class _Reader:
    """Reads variables, and collects the names of all that are wrong, each with what would work."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.wrong: dict[str, str] = {}

    def refuse(self, name: str, instead: str | None) -> None:
        """Note that a variable is wrong, if there is something that would work `instead`."""
        if instead is not None:
            self.wrong[name] = f"{name} ({instead})" if instead else name

    def optional(self, name: str, fits: Callable[[str], bool] | None = None, instead: str = "") -> str:
        text = self._environment.get(name, "").strip()
        if text and fits is not None and not fits(text):
            self.refuse(name, instead)
            return ""
        return text

    def text(self, name: str, fits: Callable[[str], bool] | None = None, instead: str = "") -> str:
        text = self.optional(name, fits, instead)
        if not text and name not in self.wrong:
            self.refuse(name, "")
        return text

    def words(
        self, name: str, problem: Callable[[tuple[str, ...]], str | None], *, required: bool = True
    ) -> tuple[str, ...]:
        words = tuple((self.text(name) if required else self.optional(name)).split())
        self.refuse(name, problem(words) if words else None)
        return words

    def seconds(self, name: str, bounds: range) -> int:
        is_number = _matches(r"[1-9]\d{0,8}")
        text = self.text(name, lambda text: is_number(text) and int(text) in bounds, f"{bounds[0]} to {bounds[-1]}")
        return int(text) if text else 0

    def duration(self, name: str) -> float:
        form = "seconds as a number, at most 999"
        text = self.text(name, _matches(r"(?!0+(\.0+)?$)\d{1,3}(\.\d{1,3})?"), form)
        return float(text) if text else 0.0


def _matches(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern)
    return lambda text: compiled.fullmatch(text) is not None


def _is_base_url(text: str) -> bool:
    """Return whether the text is an https URL (http on this machine only), without path, query or trailing slash."""
    match = _BASE_URL.fullmatch(text)
    if match is None or ".." in match["host"] or int(match["port"] or 1) > _MAX_PORT:
        return False
    return match["scheme"] == "https" or match["host"] in _LOOPBACK
