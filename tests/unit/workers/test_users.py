"""Which user a worker runs as."""

from pathlib import Path

import pytest

from plancton.config.load import parse
from plancton.docker.replies import Image, Info
from plancton.workers.users import (
    ANY,
    LABEL,
    OWN,
    has_own_users,
    takes_any_user,
    user_of,
    with_user,
)

ALL = "         0          0 4294967295\n"
EACH = {f"{uid}:{uid}" for uid in OWN}


def user(text: str, own: bool = True, taken: set[str] | None = None) -> str:
    return user_of(with_user(parse(f"worker: {text}", "FILE"), own, taken or set()).worker)


@pytest.mark.parametrize("labels", [None, {}, {LABEL: "1000"}, {"other": ANY}, [LABEL]])
def test_other_images(labels: object) -> None:
    """An image has to say that it takes any user; it can't say which."""
    assert not takes_any_user(Image("x", config={"Labels": labels}))
    assert not takes_any_user(None)
    assert takes_any_user(Image("x", config={"Labels": {LABEL: ANY}}))


def test_each_its_own() -> None:
    """No worker gets the user of another one, as long as there are enough."""
    taken = set[str]()
    for _ in OWN:
        taken.add(user("{}", taken=taken))
    assert taken == EACH
    assert user("{}", taken=taken) in EACH


def test_as_configured() -> None:
    """A configured user stays, whatever the image takes."""
    assert user("{user: '1000:100'}") == "1000:100"
    assert user("{user: '65534'}") == "65534:65534"


def test_nobody() -> None:
    """Otherwise it is nobody; so it is where it writes to the host, where files of other workers
    are."""
    assert user("{}", own=False) == "65534:65534"
    assert user("{mounts: ['/a:/b:rw']}") == "65534:65534"
    assert user("{mounts: ['/a:/b:z,rw']}") == "65534:65534"
    assert user("{mounts: ['/a:/b', '/c:/rw']}") in EACH


@pytest.mark.parametrize(
    ("uids", "gids", "options", "has"),
    [
        (ALL, ALL, [], True),
        (ALL, ALL, ["name=seccomp,profile=default", "name=userns"], False),
        (ALL, ALL, ["name=rootless"], False),
        ("0 100000 65536\n", "0 100000 65536\n", [], False),
        (ALL, "0 0 2100000255\n", [], False),
        ("0 0 1\n1 1 4294967294\n", ALL, [], True),
        ("", ALL, [], False),
    ],
)
def test_user_namespaces(tmp_path: Path, uids: str, gids: str, options: list[str], has: bool) -> None:
    """Where Docker or the host itself has only some thousand ids, workers can't have these."""
    (tmp_path / "self").mkdir()
    (tmp_path / "self/uid_map").write_text(uids)
    (tmp_path / "self/gid_map").write_text(gids)
    assert has_own_users(Info(security_options=options), tmp_path) == has


def test_unknown_namespace(tmp_path: Path) -> None:
    """Without /proc nothing is known, and a worker is nobody."""
    assert not has_own_users(Info(), tmp_path)
