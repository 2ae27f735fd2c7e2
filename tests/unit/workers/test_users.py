"""Which user a worker runs as."""

from pathlib import Path

import pytest

from plancton.config.load import parse
from plancton.config.schema import Worker
from plancton.docker.replies import Image, Info
from plancton.workers.users import (
    ANY,
    FOREIGN,
    LABEL,
    has_own_users,
    shared_users,
    takes_users,
    user_of,
    with_user,
)

ALL = "         0          0 4294967295\n"
OWN = Worker().users
EACH = {f"{uid}:{uid}" for uid in OWN}


def user(text: str, own: bool = True, taken: set[str] | None = None) -> str:
    return user_of(with_user(parse(f"worker: {text}", "FILE"), own, taken or set()).worker)


@pytest.mark.parametrize("labels", [None, {}, {LABEL: "1000"}, {"other": ANY}, [LABEL]])
def test_other_images(labels: object) -> None:
    """An image has to say which users it takes."""
    assert not takes_users(Image("x", config={"Labels": labels}), OWN)
    assert not takes_users(None, OWN)


@pytest.mark.parametrize(
    ("label", "takes"),
    [
        (ANY, True),
        ("2100000000-2100000255", True),
        ("2099999999-2100000256", True),
        ("2100000000-2100000254", False),
        ("2100000001-2100000255", False),
        ("1-2-3", False),
        ("2100000000", False),
    ],
)
def test_image_with_users(label: str, takes: bool) -> None:
    """An image takes any user, or those of a range, all of which it must have."""
    assert takes_users(Image("x", config={"Labels": {LABEL: label}}), OWN) == takes


def test_each_its_own() -> None:
    """No worker gets the user of another one, as long as there are enough."""
    taken = set[str]()
    for _ in OWN:
        taken.add(user("{}", taken=taken))
    assert taken == EACH
    assert user("{}", taken=taken) in EACH


def test_range() -> None:
    """The range is as configured."""
    assert {user("{user_range: 70000-70001}") for _ in range(64)} == {"70000:70000", "70001:70001"}
    assert user("{user_range: 70000-70001}", taken={"70000:70000"}) == "70001:70001"
    assert user("{user_range: 70000-70000}", taken={"70000:70000"}) == "70000:70000"


@pytest.mark.parametrize(
    ("file", "text", "users", "whose"),
    [
        ("passwd", "root:x:0:0::/:/bin/sh\nann:x:70003:100::/:/bin/sh\n", "70000-70003", "ann in ETC/passwd"),
        ("passwd", "ann:x:70004:100::/:/bin/sh\n", "70000-70003", ""),
        ("group", "staff:x:70000:ann\n", "70000-70003", "staff in ETC/group"),
        ("subuid", "ann:100000:65536\n", "165535-165536", "ann in ETC/subuid"),
        ("subgid", "ann:100000:65536\n", "99000-100000", "ann in ETC/subgid"),
        ("subuid", "ann:100000:65536\n", "165536-165540", ""),
        ("subuid", "ann:100000:0\nann\nann:x:y\n:::\nann:-5:1\n", "70000-70003", ""),
        ("passwd", f"ann:x:{'7' * 5000}:1::/:\n\xff\xff\n", "70000-70003", ""),
        ("passwd", "", "2147352576-2147352579", "systemd's foreign users"),
        ("passwd", "", "2147418112-2147418115", ""),
    ],
)  # fmt: skip
def test_ids_of_the_host(tmp_path: Path, file: str, text: str, users: str, whose: str) -> None:
    """A worker's user that somebody of the host has is warned of, whether it is theirs or given to
    them for their containers."""
    (tmp_path / file).write_text(text, encoding="latin-1")
    said = shared_users(parse(f"worker: {{user_range: {users}}}", "FILE").worker, tmp_path)
    assert said.startswith("worker.user_range: ") if whose else not said
    assert whose.replace("ETC", str(tmp_path)) in said
    assert not shared_users(parse(f"worker: {{user: '5', user_range: {users}}}", "FILE").worker, tmp_path)


def test_default_range() -> None:
    """What useradd, nspawn and systemd give out is not in the default range."""
    for theirs in (range(100_000, 600_100_001), range(524_288, 1_879_048_192), FOREIGN):
        assert theirs.stop <= OWN.start or OWN.stop <= theirs.start


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
    assert has_own_users(Info(security_options=options), OWN, tmp_path) == has


def test_unknown_namespace(tmp_path: Path) -> None:
    """Without /proc nothing is known, and a worker is nobody."""
    assert not has_own_users(Info(), OWN, tmp_path)
