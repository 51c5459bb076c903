"""Settings read from environment variables: addresses, secrets, and what several rooms share.

Variables that one room alone reads stand in that room's `settings.py`. The README lists every variable. A host, a URL
or a bucket replaces the embedded service; a port alone only moves it.
"""

import os
import re
from collections.abc import Mapping
from datetime import date
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote, unquote, urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, AliasChoices, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from storage.addresses import http_url, postgres_url, topic_filter
from storage.times import known_zone
from storage.validation import sentence

# The login with which the platform works in its database (storage/roles.py).
APP_ROLE = "energy_app"
CHECKOUT = Path(__file__).resolve().parent.parent

# Old and new names of one variable. Both may be given only if they agree.
SYNONYMS = (("API_PORT", "PORT"), ("S3_BUCKET_NAME", "S3_BUCKET"), ("POSTGRES_HOST", "CHECKPOINT_DB_HOST"),
            ("POSTGRES_DB", "CHECKPOINT_DB_NAME"))  # fmt: skip
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class SettingsError(Exception):
    """A variable has a wrong value. The message names it, says why, and how to fix it."""


def _default_home() -> Path:
    """`.energy/` in the checkout, or `/var/lib/energy-platform` for root in a checkout that others cannot enter.

    PostgreSQL refuses to run as root, and the user it runs as instead must be able to reach its files.
    """
    if os.geteuid() == 0 and not can_be_entered(CHECKOUT):
        return Path("/var/lib/energy-platform")
    return CHECKOUT / ".energy"


def can_be_entered(folder: Path) -> bool:
    """Whether users other than the owner can reach the folder."""
    return all(part.stat().st_mode & 0o001 for part in (folder, *folder.parents))


Port = Annotated[int, Field(ge=1, le=65535)]
Count = Annotated[int, Field(ge=1)]
Zone = Annotated[str, AfterValidator(known_zone)]
HttpUrl = Annotated[str, AfterValidator(http_url)]


class EnvironmentSettings(BaseSettings):
    """Settings read from environment variables. Each room has a subclass for the variables that it alone reads.

    Read them with `load()`, whose error messages are written for operators.
    """

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    @classmethod
    def load(cls) -> Self:
        """The settings of this process.

        Raises:
            SettingsError: a variable has a wrong value, or two of them disagree; each is named.

        """
        loaded: Self = read_settings(cls, frozenset(os.environ.items()))
        return loaded


@lru_cache(maxsize=32)
def read_settings(kind: type[BaseSettings], _environment: frozenset[tuple[str, str]]) -> Any:
    """The settings for an environment. Reading them takes 16 ms, and an analysis asks for them several times."""
    try:
        _refuse_disagreement(os.environ)
        return kind()
    except ValidationError as error:
        raise SettingsError("\n".join(map(_describe_error, error.errors(include_url=False)))) from None


def check_settings() -> None:
    """Load the settings of every room that this process has imported.

    Raises:
        SettingsError: variables have wrong values; each is named.

    """
    errors = []
    for kind in EnvironmentSettings.__subclasses__():
        try:
            kind.load()
        except SettingsError as error:
            errors.append(str(error))
    if errors:
        raise SettingsError("\n".join(dict.fromkeys(errors)))


class Settings(EnvironmentSettings):
    """The platform's settings. Secrets never appear in a `repr`."""

    energy_home: Path = Field(default_factory=_default_home)
    log_level: str = Field("INFO", pattern=r"^(?i:debug|info|warning|error|critical)$")
    site_timezone: Zone = "UTC"

    # Ports and who may connect
    api_host: str = "127.0.0.1"
    api_port: Port = Field(8000, validation_alias=AliasChoices("API_PORT", "PORT"))
    api_public_url: HttpUrl | None = None
    dagster_port: Port = 3000
    ingest_metrics_port: Port = 9101
    allow_anonymous: bool = False
    energy_admin_key: Annotated[SecretStr, Field(min_length=16)] | None = None

    # Relational store: one URL, or the parts of one
    given_database_url: Annotated[str, AfterValidator(postgres_url)] | None = Field(
        None, validation_alias="DATABASE_URL", repr=False
    )
    postgres_host: str | None = Field(None, validation_alias=AliasChoices("POSTGRES_HOST", "CHECKPOINT_DB_HOST"))
    given_postgres_port: Port | None = Field(None, validation_alias="POSTGRES_PORT")
    postgres_db: str = Field(
        "energy_platform", validation_alias=AliasChoices("POSTGRES_DB", "CHECKPOINT_DB_NAME"), min_length=1
    )
    postgres_user: str = Field("energy", min_length=1)
    postgres_password: SecretStr | None = None
    postgres_app_password: SecretStr | None = None  # for migrations alone, which make the platform's login

    # Telemetry store
    influxdb_url: HttpUrl | None = None
    influxdb_token: SecretStr | None = None
    influxdb_org: str = "energy"
    influxdb_bucket: str = Field("telemetry", min_length=1)

    # Broker
    mqtt_broker_host: str | None = None
    mqtt_broker_port: Port = 1883
    mqtt_username: str | None = None
    mqtt_password: SecretStr | None = None
    mqtt_topic: Annotated[str, AfterValidator(topic_filter)] = "devices/+/telemetry"
    mqtt_tls_ca: Path | None = None
    # Several ingesters side by side share a group, and each has its own client id.
    mqtt_shared_group: str | None = Field(None, pattern=r"^[A-Za-z0-9_-]{1,50}$")
    mqtt_client_id: str = Field("energy-ingest", pattern=r"^[A-Za-z0-9_.-]{1,65}$")

    # Object store
    s3_endpoint_url: HttpUrl | None = None
    s3_public_endpoint_url: HttpUrl | None = None
    s3_addressing: Literal["path", "virtual"] = "path"  # with S3_ENDPOINT_URL: …/bucket/key, or bucket.…/key
    s3_bucket_name: str | None = Field(
        None,
        validation_alias=AliasChoices("S3_BUCKET_NAME", "S3_BUCKET"),
        pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$",
    )

    # Datasets and telemetry
    dataset_start_date: date | None = None  # the month of the oldest reading: `storage.dataset_start`
    max_metrics_per_device: Annotated[int, Field(ge=8, le=1000)] = 256
    export_batch_size: Count = 1000
    telemetry_retention_days: Annotated[int, Field(ge=0)] = 0  # 0 keeps things forever, here and below
    dataset_retention_days: Annotated[int, Field(ge=0)] = 0
    run_retention_days: Annotated[int, Field(ge=0)] = 14

    # Jobs
    max_concurrent_jobs: Count = 3
    job_timeout_seconds: Count = 3600
    report_timeout_seconds: Count = 300
    dagster_url: HttpUrl | None = None
    celery_broker_url: str | None = Field(None, pattern=r"^(rediss?|amqps?|pyamqp)://")

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.given_database_url:
            url = urlsplit(self.given_database_url)
            given_parts = {f.removeprefix("given_") for f in self.model_fields_set}
            for name, given, of_url in (
                ("POSTGRES_HOST", self.postgres_host, url.hostname),
                ("POSTGRES_PORT", self.given_postgres_port, url.port or 5432),
                ("POSTGRES_DB", self.postgres_db, url.path[1:]),
                ("POSTGRES_USER", self.postgres_user, url.username),
            ):
                if name.lower() in given_parts and given != of_url:
                    raise ValueError(f"DATABASE_URL and {name} disagree ({of_url!r} and {given!r}); give one of them")
        if self.influxdb_url and not self.influxdb_token:
            raise ValueError("INFLUXDB_TOKEN is missing; INFLUXDB_URL needs one that may read and write the bucket")
        if self.s3_endpoint_url and not self.s3_bucket_name:
            raise ValueError("S3_BUCKET_NAME is missing; S3_ENDPOINT_URL needs the bucket's name")
        if self.dataset_start_date and self.dataset_start_date > date.today():  # noqa: DTZ011 - a day of slack at either end does no harm
            raise ValueError("DATASET_START_DATE lies in the future; it is the first day with datasets")
        return self

    # Which services run on this machine, and where
    @property
    def embeds_postgres(self) -> bool:
        return self.given_database_url is None and self.postgres_host is None

    @property
    def embeds_broker(self) -> bool:
        return self.mqtt_broker_host is None

    @property
    def postgres_port(self) -> int:
        return self.given_postgres_port or (5433 if self.embeds_postgres else 5432)

    @property
    def broker_host(self) -> str:
        return self.mqtt_broker_host or "127.0.0.1"

    @property
    def api_address(self) -> str:
        """Where people reach the API and its pages, without a slash at its end."""
        return (self.api_public_url or f"http://127.0.0.1:{self.api_port}").rstrip("/")

    @property
    def dagster_home(self) -> Path:
        return self.energy_home / "dagster"

    @property
    def dagster_address(self) -> str:
        """Where Dagster's webserver answers."""
        return self.dagster_url or f"http://127.0.0.1:{self.dagster_port}"

    @property
    def postgres_password_file(self) -> Path:
        return self.energy_home / "postgres-password"

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.site_timezone)

    @property
    def app_password_file(self) -> Path:
        return self.energy_home / "postgres-app-password"

    @cached_property
    def database_url(self) -> str:
        """`postgresql://…` of the relational store.

        Raises:
            SettingsError: it is the embedded database, and no platform has run in this home yet.

        """
        if self.embeds_postgres and self.app_password_file.exists():
            return self._database_url(APP_ROLE, self.app_password_file.read_text())
        return self.owner_database_url

    @property
    def owner_database_url(self) -> str:
        """`database_url` with the login of the database's owner, for migrations."""
        if self.given_database_url:
            return self.given_database_url
        password = self.postgres_password.get_secret_value() if self.postgres_password else None
        if self.embeds_postgres:
            try:
                password = self.postgres_password_file.read_text().strip()
            except OSError:
                raise SettingsError(
                    f"no platform has been started in {self.energy_home};"
                    " run `energy up`, or set DATABASE_URL or ENERGY_HOME"
                ) from None
        return self._database_url(self.postgres_user, password)

    def _database_url(self, user: str, password: str | None) -> str:
        login = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
        host = self.postgres_host or "127.0.0.1"
        return f"postgresql://{login}@{host}:{self.postgres_port}/{quote(self.postgres_db)}"

    def database_url_for(self, driver: str, *, as_owner: bool = False) -> str:
        """`database_url` for SQLAlchemy, with the name of a driver."""
        url = self.owner_database_url if as_owner else self.database_url
        return url.replace("postgresql://", f"postgresql+{driver}://", 1)

    @property
    def database_address(self) -> str:
        """The relational store's address without its password, for messages."""
        url = urlsplit(self.database_url)
        return f"{unquote(url.username or '')}@{url.hostname}:{url.port or 5432}{url.path}"


def _refuse_disagreement(environment: Mapping[str, str]) -> None:
    for one, other in SYNONYMS:
        values = {environment.get(one), environment.get(other)} - {None, ""}
        if len(values) > 1:
            raise SettingsError(f"{one} and {other} are the same thing and disagree ({environment[one]!r} and"
                                f" {environment[other]!r}); give one of them")  # fmt: skip


def _describe_error(error: Mapping[str, Any]) -> str:
    """One line that names the variable and its value, unless the value is a secret."""
    if not error["loc"]:
        return sentence(error)
    name = str(error["loc"][0]).upper()
    value = "…" if re.search("PASSWORD|TOKEN|KEY|DATABASE_URL|CELERY", name) else error.get("input")
    return f"{name}={value}: {sentence({**error, 'input': value})}"
