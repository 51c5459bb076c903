"""The object store: datasets and reports by key, in a local folder or an S3 bucket, through one interface (obstore)."""

import hashlib
import hmac
import os
import secrets
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

from storage.settings import Settings
from storage.times import utc_now

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta
    from obstore.store import RetryConfig

# A server that restarts is waited for; one that is away is said to be after some seconds, and the caller tries again.
RETRY_CONFIG: "RetryConfig" = {
    "max_retries": 3,
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=1), "base": 2},
    "retry_timeout": timedelta(seconds=10),
}
PIECE = 1024 * 1024
FILES_PATH = "/api/v1/files/"


class ObjectStoreUnavailable(Exception):
    """The object store does not answer; the same call may succeed later."""


class AlreadyThere(Exception):
    """An object that was to be created stands there already."""


class LinkRefused(Exception):
    """A signed link is forged, was changed, or has expired."""


@dataclass(frozen=True)
class StoredObject:
    """What is known of an object without reading it; `size` in bytes, `tag` another one when its content is another."""

    key: str
    size: int
    last_modified: datetime
    tag: str | None


class ObjectStore(ABC):
    """Whole objects by key. A put replaces atomically: readers see the old object or the new one.

    Every method raises `ObjectStoreUnavailable` when the store does not answer, and `KeyError` for a key it has not.
    """

    address: str

    def __init__(self, store: LocalStore | S3Store) -> None:
        self._store = store

    def put(self, key: str, data: bytes | Path) -> None:
        """Keep bytes, or what a file holds."""
        with _translated(key):
            obstore.put(self._store, key, data)

    def create(self, key: str, data: bytes) -> None:
        """Put an object where there is none, decided by the store itself.

        Raises:
            AlreadyThere: there is one.

        """
        with _translated(key):
            obstore.put(self._store, key, data, mode="create")

    def get(self, key: str) -> bytes:
        with _translated(key):
            return bytes(obstore.get(self._store, key).bytes())

    def stream(self, stored: StoredObject, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes from `start` up to `end` in pieces, of this very object even when it is replaced meanwhile.

        Raises:
            ObjectStoreUnavailable: it was replaced before; what is there now can be asked for.

        """
        options: GetOptions = {"if_match": stored.tag}
        if (start, end) != (0, None):
            options["range"] = (start, stored.size if end is None else end)
        with _translated(stored.key):
            found = obstore.get(self._store, stored.key, options=options)

        def pieces() -> Iterator[bytes]:
            with _translated(stored.key):
                yield from map(bytes, found.stream(PIECE))

        return pieces()

    def head(self, key: str) -> StoredObject:
        with _translated(key):
            meta = obstore.head(self._store, key)
        return _stored(meta)

    def delete(self, key: str) -> None:
        """Remove the object; that it is not there is no error."""
        with suppress(KeyError), _translated(key):
            obstore.delete(self._store, key)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Objects below a folder, `prefix` being its key."""
        with _translated(prefix):
            for page in obstore.list(self._store, prefix):
                yield from map(_stored, page)

    def check(self) -> None:
        """Return when the store answers."""
        with _translated("health"):
            next(iter(obstore.list(self._store, "health", chunk_size=1)), None)

    @abstractmethod
    def download_url(self, key: str, valid: timedelta) -> str:
        """A link with which its holder may download this object until it expires.

        Where the store is a folder it is a path of the API.
        """


class LocalObjects(ObjectStore):
    """Objects as files below a folder; the API serves the links."""

    def __init__(self, folder: Path, secret_file: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.address = str(folder)
        self._secret_file = secret_file
        super().__init__(LocalStore(folder))

    def download_url(self, key: str, valid: timedelta) -> str:
        expires = int((utc_now() + valid).timestamp())
        return f"{FILES_PATH}{quote(key)}?expires={expires}&signature={self._signature(key, expires)}"

    def verify(self, key: str, expires: int, signature: str) -> None:
        """Let a link pass that this store gave out and whose time is not over.

        Raises:
            LinkRefused: it is not.

        """
        if not hmac.compare_digest(self._signature(key, expires).encode(), signature.encode("utf-8", "replace")):
            raise LinkRefused("the link's signature is wrong; ask for a new one")
        if expires < utc_now().timestamp():
            raise LinkRefused("the link has expired; ask for a new one")

    def _signature(self, key: str, expires: int) -> str:
        return hmac.new(_secret(self._secret_file), f"{key}\n{expires}".encode(), hashlib.sha256).hexdigest()


class S3Objects(ObjectStore):
    """Objects in a bucket; credentials come from the environment (`AWS_*`) alone."""

    def __init__(
        self, bucket: str, endpoint: str | None, public_endpoint: str | None, *, virtual_host: bool = False
    ) -> None:
        self.bucket, self.endpoint = bucket, endpoint
        self.address = f"{endpoint or 's3:/'}/{bucket}"
        store = _bucket(bucket, endpoint, virtual_host=virtual_host)
        super().__init__(store)
        # Browsers may know the server by another name than we do, and a signature covers the name.
        self._public = _bucket(bucket, public_endpoint, virtual_host=virtual_host) if public_endpoint else store

    def download_url(self, key: str, valid: timedelta) -> str:
        with _translated(key):
            return obstore.sign(self._public, "GET", key, valid)


def open_object_store(settings: Settings) -> LocalObjects | S3Objects:
    """The store that the settings name."""
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
        # The library takes the endpoint as the bucket's own then.
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
def _translated(key: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotFoundError):
        raise KeyError(key) from None
    except (FileExistsError, AlreadyExistsError):
        raise AlreadyThere(key) from None
    except (BaseError, OSError) as error:
        raise ObjectStoreUnavailable(f"object store: {str(error).splitlines()[0]}") from error


def _secret(file: Path) -> bytes:
    """The signing secret, made by whichever process needs it first."""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        file.parent.mkdir(parents=True, exist_ok=True)
        made = file.with_name(f"{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
        made.touch(mode=0o600)
        made.write_bytes(secrets.token_bytes(32))
        with suppress(FileExistsError):  # another process was first: then its secret is the secret
            os.link(made, file)
        made.unlink()
        return file.read_bytes()
