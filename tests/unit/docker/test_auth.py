"""Credentials for registries: the right ones, in the right form, and no secret in any message."""

import base64
import json
import os
from pathlib import Path

import pytest

from plancton.docker import auth as module
from plancton.docker.auth import LARGEST, NO_CREDENTIALS, AuthError, registry_auth, registry_of

SECRET = "s3cret:with colon"
ENTRY = {"auth": base64.b64encode(f"me:{SECRET}".encode()).decode()}
IMAGE = "registry.example.org:5000/group/worker:1"
REGISTRY = "registry.example.org:5000"


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        ("busybox", "docker.io"),
        ("library/busybox:1", "docker.io"),
        ("index.docker.io/library/busybox", "docker.io"),
        ("localhost/worker", "localhost"),
        ("registry:5000/worker@sha256:" + "0" * 64, "registry:5000"),
        ("quay.io/a/b/c:1", "quay.io"),
    ],
)
def test_registry_of(image: str, registry: str) -> None:
    """The first part of a name is the registry if it looks like a host."""
    assert registry_of(image) == registry


class Home:
    """A user's home, with Docker's config.json and helpers in PATH."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / ".docker/config.json"
        self.bin = directory / "bin"
        self.bin.mkdir()
        self.environ = {"HOME": str(directory), "PATH": f"{self.bin}:/usr/bin:/bin"}

    def write(self, content: object, mode: int = 0o600) -> Path:
        self.file.parent.mkdir(exist_ok=True)
        self.file.write_text(content if isinstance(content, str) else json.dumps(content))
        self.file.chmod(mode)
        return self.file

    def helper(self, name: str, script: str) -> None:
        program = self.bin / f"docker-credential-{name}"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    def ask(self, image: str = IMAGE, auth_file: str | None = None) -> dict[str, str] | None:
        header = registry_auth(image, auth_file, self.environ)
        return None if header is None else json.loads(base64.urlsafe_b64decode(header))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (ENTRY, {"username": "me", "password": SECRET}),
        ({"username": "me", "password": SECRET}, {"username": "me", "password": SECRET}),
        ({**ENTRY, "identitytoken": "abc"}, {"identitytoken": "abc"}),
        ({"registrytoken": "abc"}, {"registrytoken": "abc"}),
    ],
)
def test_forms(home: Home, entry: dict[str, str], expected: dict[str, str]) -> None:
    """Each form in Docker's file is sent in the form that the Engine wants."""
    home.write({"auths": {"elsewhere.example.org": ENTRY, REGISTRY: entry}, "HttpHeaders": {"a": "b"}})
    assert home.ask() == {**expected, "serveraddress": REGISTRY}


@pytest.mark.parametrize(
    "key", [REGISTRY, f"https://{REGISTRY}", f"https://{REGISTRY}/v2/", f"http://{REGISTRY}/"]
)
def test_keys(home: Home, key: str) -> None:
    """A registry is recognised by its host, however the file spells it."""
    home.write({"auths": {key: ENTRY}})
    assert home.ask() is not None


def test_hub(home: Home) -> None:
    """Images without a registry are Docker Hub's, which has a special name in the file."""
    home.write({"auths": {"https://index.docker.io/v1/": ENTRY}})
    assert home.ask("busybox") and not home.ask()


def test_none(home: Home) -> None:
    """No file, no entry or an empty entry means no credentials, without an error."""
    assert home.ask() is None
    home.write({"auths": {"other.example.org": ENTRY}})
    assert home.ask() is None
    entries: tuple[object, ...] = ({REGISTRY: {}}, {REGISTRY: None}, None)
    for nothing in entries:
        home.write({"auths": nothing, "credHelpers": None, "credsStore": None})
        assert home.ask() is None


def test_docker_config(home: Home, tmp_path: Path) -> None:
    """DOCKER_CONFIG moves the user's file; image.auth_file takes precedence, and may be none."""
    other = tmp_path / "other"
    other.mkdir()
    path = home.write({"auths": {REGISTRY: ENTRY}}).rename(other / "config.json")
    home.environ["DOCKER_CONFIG"] = str(other)
    assert home.ask()
    home.environ["DOCKER_CONFIG"] = "/nonexistent"
    assert home.ask() is None and home.ask(auth_file=str(path))
    assert home.ask(auth_file=NO_CREDENTIALS) is None


def test_helpers(home: Home) -> None:
    """A helper is asked by the registry's name; a registry's own helper precedes the general
    store."""
    answer = """read server; printf '{"ServerURL":"%s","Username":"%s","Secret":"s"}' "$server" NAME"""
    for name in ("own", "all"):
        home.helper(name, answer.replace("NAME", name))
    home.write({"credHelpers": {REGISTRY: "own"}, "credsStore": "all"})
    assert home.ask() == {"username": "own", "password": "s", "serveraddress": REGISTRY}
    assert (home.ask("quay.io/x") or {})["username"] == "all"
    home.helper("all", """printf '{"Username":"<token>","Secret":"t"}'""")
    assert home.ask("quay.io/x") == {"identitytoken": "t", "serveraddress": "quay.io"}


def test_helper_that_has_none(home: Home) -> None:
    """If a helper has nothing for this registry, the file's entry counts."""
    home.helper("all", "echo credentials not found in native keychain; exit 1")
    home.write({"credsStore": "all", "auths": {REGISTRY: ENTRY}})
    assert (home.ask() or {})["username"] == "me"


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        ("{", 0o600, "is not what `docker login` writes"),
        ({"auths": []}, 0o600, "is not what `docker login` writes"),
        ({"auths": {REGISTRY: ENTRY}}, 0o644, "others can read the password in it; chmod 600 "),
        ({"auths": {REGISTRY: {"auth": "?"}}}, 0o600, f"is damaged: `docker login {REGISTRY}` again"),
        ({"auths": {REGISTRY: {"auth": "bm9jb2xvbg=="}}}, 0o600, "is damaged"),  # no colon
        ({"credsStore": "gone"}, 0o600, "docker-credential-gone, which "),
        ({"credsStore": "../evil"}, 0o600, "credential helper"),
        ({"credsStore": "9" * 5000}, 0o600, "credential helper"),
        ({"credsStore": "broken"}, 0o600, "failed with exit code 3"),
        ({"credsStore": "silly"}, 0o600, "credentials"),
        ({"credsStore": "empty"}, 0o600, "credentials"),
        ('{"x":' + "[" * 100_000, 0o600, "is not what `docker login` writes"),
        ("{}" + " " * LARGEST, 0o600, "is longer than 1024 KiB"),
    ],
)
def test_trouble(home: Home, content: object, mode: int, said: str) -> None:
    """One line names the file or the helper and the remedy, without a secret."""
    home.helper("broken", f"echo '{SECRET}'; exit 3")
    home.helper("silly", f"echo '{SECRET}'")
    home.helper("empty", "echo '{}'")
    path = home.write(content, mode)
    with pytest.raises(AuthError) as raised:
        home.ask()
    text = str(raised.value)
    assert said in text and str(path) in text and "s3cret" not in text and ENTRY["auth"] not in text, text


def test_helper_that_hangs(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A helper that hangs is not waited for forever."""
    monkeypatch.setattr(module, "TIMEOUT", 0.3)
    home.helper("slow", "exec sleep 30")
    home.write({"credsStore": "slow"})
    with pytest.raises(AuthError, match="gave no answer within"):
        home.ask()


@pytest.mark.parametrize("path", ["/nonexistent/auth.json", "/dev/null", os.devnull + "/x"])
def test_auth_file_that_can_not_be_used(home: Home, path: str) -> None:
    """A file that the configuration names must exist."""
    with pytest.raises(AuthError, match=path):
        home.ask(auth_file=path)
