"""The object store: datasets and reports by key, in a local folder or an S3 bucket, through one interface (obstore)."""

import hashlib
import hmac
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError
from obstore.store import LocalStore, S3Store

from storage.secret_files import secret_of
from storage.settings import Settings
from storage.times import utc_now

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta
    from obstore.store import RetryConfig

# Long enough for a server to restart. After that callers hear that the store is unavailable, and try again.
RETRY_CONFIG: "RetryConfig" = {
    "max_retries": 3,
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=1), "base": 2},
    "retry_timeout": timedelta(seconds=10),
}
CHUNK_BYTES = 1024 * 1024
FILES_PATH = "/api/v1/files/"
# How long links to files that clients get are valid.
LINK_VALIDITY = timedelta(hours=1)


class ObjectStoreUnavailable(Exception):
    """The object store does not answer. The same call may succeed later."""


class AlreadyThere(Exception):
    """There already is an object under this key."""


class LinkRefused(Exception):
    """A signed link is forged, changed, or expired."""


@dataclass(frozen=True)
class StoredObject:
    """An object's key, size in bytes and time of change. `tag` differs if the content differs."""

    key: str
    size: int
    last_modified: datetime
    tag: str | None


class ObjectStore(ABC):
    """Objects by key. `put` replaces an object atomically: readers see the old one or the new one.

    Every method raises `ObjectStoreUnavailable` if the store does not answer, and `KeyError` if it has no such key.
    """

    address: str

    def __init__(self, store: LocalStore | S3Store) -> None:
        self._store = store

    def put(self, key: str, data: bytes | Path) -> None:
        """Store bytes, or the content of a file."""
        with _translating_errors(key):
            obstore.put(self._store, key, data)

    def create(self, key: str, data: bytes) -> None:
        """Store an object under a new key; the store itself makes sure that only one writer succeeds.

        Raises:
            AlreadyThere: there is an object under this key.

        """
        with _translating_errors(key):
            obstore.put(self._store, key, data, mode="create")

    def get(self, key: str) -> bytes:
        with _translating_errors(key):
            return bytes(obstore.get(self._store, key).bytes())

    def stream(self, stored: StoredObject, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes from `start` up to `end`, in chunks, of exactly this object even if it is replaced meanwhile.

        Raises:
            ObjectStoreUnavailable: the object was replaced before the call; `head` finds the new one.

        """
        options: GetOptions = {"if_match": stored.tag}
        if (start, end) != (0, None):
            options["range"] = (start, stored.size if end is None else end)
        with _translating_errors(stored.key):
            answer = obstore.get(self._store, stored.key, options=options)

        def chunks() -> Iterator[bytes]:
            with _translating_errors(stored.key):
                yield from map(bytes, answer.stream(CHUNK_BYTES))

        return chunks()

    def head(self, key: str) -> StoredObject:
        with _translating_errors(key):
            meta = obstore.head(self._store, key)
        return _stored(meta)

    def delete(self, key: str) -> None:
        """Delete the object, if there is one."""
        with suppress(KeyError), _translating_errors(key):
            obstore.delete(self._store, key)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """The objects below the folder `prefix`."""
        with _translating_errors(prefix):
            for page in obstore.list(self._store, prefix):
                yield from map(_stored, page)

    def check(self) -> None:
        """Return if the store answers."""
        with _translating_errors("health"):
            next(iter(obstore.list(self._store, "health", chunk_size=1)), None)

    @abstractmethod
    def download_url(self, key: str, valid: timedelta) -> str:
        """A link that lets anyone who has it download this object until it expires.

        For a local folder it is a path of the API.
        """


class LocalObjects(ObjectStore):
    """Objects as files below a folder. The API serves the links."""

    def __init__(self, folder: Path, secret_file: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.address = str(folder)
        self._secret_file = secret_file
        super().__init__(LocalStore(folder))

    def download_url(self, key: str, valid: timedelta) -> str:
        expires = int((utc_now() + valid).timestamp())
        return f"{FILES_PATH}{quote(key)}?expires={expires}&signature={self._signature(key, expires)}"

    def verify(self, key: str, expires: int, signature: str) -> None:
        """Return if this store issued the link and it has not expired.

        Raises:
            LinkRefused: the signature is wrong, or the link has expired.

        """
        if not hmac.compare_digest(self._signature(key, expires).encode(), signature.encode("utf-8", "replace")):
            raise LinkRefused("the link's signature is wrong; ask for a new one")
        if expires < utc_now().timestamp():
            raise LinkRefused("the link has expired; ask for a new one")

    def _signature(self, key: str, expires: int) -> str:
        return hmac.new(secret_of(self._secret_file), f"{key}\n{expires}".encode(), hashlib.sha256).hexdigest()


class S3Objects(ObjectStore):
    """Objects in a bucket. Credentials come from the environment only (`AWS_*`)."""

    def __init__(
        self, bucket: str, endpoint: str | None, public_endpoint: str | None, *, virtual_host: bool = False
    ) -> None:
        self.bucket, self.endpoint = bucket, endpoint
        self.address = f"{endpoint or 's3:/'}/{bucket}"
        store = _bucket(bucket, endpoint, virtual_host=virtual_host)
        super().__init__(store)
        # Browsers may know the server by another host name, and signatures cover the host name.
        self._public = _bucket(bucket, public_endpoint, virtual_host=virtual_host) if public_endpoint else store

    def download_url(self, key: str, valid: timedelta) -> str:
        with _translating_errors(key):
            return obstore.sign(self._public, "GET", key, valid)


def open_object_store(settings: Settings) -> LocalObjects | S3Objects:
    """The object store that the settings name."""
    if settings.s3_bucket_name:
        return S3Objects(
            settings.s3_bucket_name,
            settings.s3_endpoint_url,
            settings.s3_public_endpoint_url,
            virtual_host=settings.s3_addressing == "virtual",
        )
    return LocalObjects(settings.energy_home / "objects", settings.energy_home / "link-secret")


def _bucket(bucket: str, endpoint: str | None, *, virtual_host: bool) -> S3Store:
    if endpoint is None:
        return S3Store(bucket, retry_config=RETRY_CONFIG)
    if virtual_host:
        # The library expects the bucket's own endpoint here.
        scheme, _, host = endpoint.partition("://")
        endpoint = f"{scheme}://{bucket}.{host}"
    return S3Store(
        bucket,
        endpoint=endpoint,
        virtual_hosted_style_request=virtual_host,
        client_options={"allow_http": endpoint.startswith("http://")},
        retry_config=RETRY_CONFIG,
    )


def _stored(meta: "ObjectMeta") -> StoredObject:
    return StoredObject(meta["path"], meta["size"], meta["last_modified"], meta["e_tag"])


@contextmanager
def _translating_errors(key: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotFoundError):
        raise KeyError(key) from None
    except (FileExistsError, AlreadyExistsError):
        raise AlreadyThere(key) from None
    except (BaseError, OSError) as error:
        raise ObjectStoreUnavailable(f"object store: {str(error).splitlines()[0]}") from error
