"""Credentials for registries, from where `docker login` keeps them.

The file is Docker's config.json (docs.docker.com/reference/cli/docker/login, "Credential stores");
helpers are programs called docker-credential-NAME (github.com/docker/docker-credential-helpers).
What is found goes into one header of one request, and nowhere else: no log, no status, no argument.
"""

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct, field

from plancton.errors import PlanctonError
from plancton.files import Unsuitable, from_json, read_regular
from plancton.units import quoted

HUB, HUB_KEY = "docker.io", "https://index.docker.io/v1/"
"""The registry of images without one in their name, and what `docker login` calls it."""
LARGEST = 1024 * 1024
TIMEOUT = 20.0
"""Seconds that a helper may take."""
NOT_FOUND = "credentials not found"
"""What a helper says if it has none for this registry (their credentials/error.go)."""
NO_CREDENTIALS = ""
"""In place of a file: not even the user's own is asked."""
IDENTITY = "<token>"
"""The user's name where the secret is an identity token."""
T = TypeVar("T")


class AuthError(PlanctonError):
    """Credentials that can't be used: the file or helper and the remedy, but no secret."""


class _Entry(Struct, frozen=True):
    auth: str = ""
    username: str = ""
    password: str = ""
    identitytoken: str = ""
    registrytoken: str = ""


class _File(Struct, frozen=True, rename="camel"):
    auths: dict[str, _Entry | None] | None = None  # Docker's own programs write null for none
    cred_helpers: dict[str, str] | None = None
    creds_store: str | None = None


class _Helped(Struct, frozen=True):
    username: str = field(name="Username", default="")
    secret: str = field(name="Secret", default="")


def registry_auth(image: str, auth_file: str | None, environ: Mapping[str, str]) -> str | None:
    """What X-Registry-Auth is for this image; None where nothing is kept for its registry.

    ``auth_file`` is a file of config.json's form instead of the user's own (empty: none at all).
    """
    if auth_file == NO_CREDENTIALS:
        return None
    path = Path(auth_file) if auth_file else _own_file(environ)
    registry = registry_of(image)
    file, private = _read(path, must_exist=auth_file is not None)
    for helper in filter(None, (_for(registry, file.cred_helpers or {}), file.creds_store)):
        found = _ask(helper, registry, path, environ)
        if found is not None:
            return _header(registry, found)
    entry = _for(registry, file.auths or {})
    if entry is None or entry == _Entry():  # an empty one says that a helper has it
        return None
    if not private:
        raise AuthError(f"{path}: others can read the password in it; chmod 600 {quoted(path)}")
    return _header(registry, _decoded(entry, registry, path))


def registry_of(image: str) -> str:
    """The registry that an image's name begins with, as in Docker's distribution/reference."""
    first, slash, _ = image.partition("/")
    if not slash or first == _host(HUB_KEY):
        return HUB
    return first if first == "localhost" or re.search(r"[.:]", first) else HUB


def _own_file(environ: Mapping[str, str]) -> Path:
    directory = environ.get("DOCKER_CONFIG")
    return Path(directory or Path(environ.get("HOME") or "/", ".docker"), "config.json")


def _read(path: Path, must_exist: bool) -> tuple[_File, bool]:
    """What the file says, and whether nobody else can read it."""
    try:
        data, found = read_regular(path, LARGEST)
        return from_json(data, _File), not found.st_mode & 0o077
    except Unsuitable as error:
        raise AuthError(f"{path}: {error.strerror}") from None
    except OSError as error:
        if not must_exist and isinstance(error, FileNotFoundError | NotADirectoryError):
            return _File(), True
        raise AuthError(
            f"{path}: {error.strerror}; the user that runs Plancton must be able to read it"
        ) from None
    except ValueError:
        raise AuthError(f"{path}: is not what `docker login` writes: log in again, or remove it") from None


def _for(registry: str, entries: Mapping[str, T]) -> T | None:
    """The entry of this registry: keys are host names, or URLs of older times."""
    for key, entry in entries.items():
        if _host(key) == _host(HUB_KEY if registry == HUB else registry):
            return entry
    return None


def _host(key: str) -> str:
    return re.sub(r"^https?://", "", key).partition("/")[0]


def _decoded(entry: _Entry, registry: str, path: Path) -> dict[str, str]:
    if entry.identitytoken:
        return {"identitytoken": entry.identitytoken}
    if entry.registrytoken:
        return {"registrytoken": entry.registrytoken}
    user, password = entry.username, entry.password
    if entry.auth:
        try:
            user, colon, password = base64.b64decode(entry.auth, validate=True).decode().partition(":")
        except ValueError:
            user = colon = ""
        user, password = user if colon else "", password.rstrip("\0")
    if not user:
        raise AuthError(
            f"{path}: what it has for {registry} is damaged: `docker login {quoted(registry)}` again"
        )
    return {"username": user, "password": password}


def _ask(helper: str, registry: str, path: Path, environ: Mapping[str, str]) -> dict[str, str] | None:
    """What a helper keeps for the registry; None when that is nothing."""
    if re.fullmatch(r"[\w.-]{1,200}", helper, re.ASCII) is None:
        raise AuthError(f"{path}: names no credential helper: its form is docker-credential-NAME")
    import subprocess  # seldom needed: not worth its memory in a supervisor

    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [program, "get"],
            input=(HUB_KEY if registry == HUB else registry).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=TIMEOUT,
            check=False,
            env=dict(environ),
            cwd="/",
        )
    except FileNotFoundError:
        raise AuthError(f"{program}, which {path} names, is not installed (in PATH)") from None
    except OSError as error:
        raise AuthError(f"{program}, which {path} names, can't be run: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise AuthError(f"{program}, which {path} names, gave no answer within {TIMEOUT:g} s") from None
    if done.returncode != 0:
        if done.stdout.decode(errors="replace").strip().startswith(NOT_FOUND):
            return None
        raise AuthError(f"{program}, which {path} names, failed with exit code {done.returncode}")
    try:
        found = from_json(done.stdout, _Helped)
    except ValueError:
        found = _Helped()
    if not (found.username and found.secret):
        raise AuthError(f"{program}, which {path} names, did not answer with credentials")
    if found.username == IDENTITY:
        return {"identitytoken": found.secret}
    return {"username": found.username, "password": found.secret}


def _header(registry: str, credentials: dict[str, str]) -> str:
    address = HUB_KEY if registry == HUB else registry
    whole = msgspec.json.encode({**credentials, "serveraddress": address})
    return base64.urlsafe_b64encode(whole).decode()
