"""Which name servers workers get from the host."""

from pathlib import Path

import pytest

from plancton.host.resolvers import name_servers, resolver_file


def host(root: Path, **files: str) -> Path:
    names = {"resolv": "etc/resolv.conf", "systemd": "run/systemd/resolve/resolv.conf"}
    names["daemon"] = "etc/docker/daemon.json"
    for name, text in files.items():
        path = root / names[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_servers(tmp_path: Path) -> None:
    """The host's name servers come first, its search list and options with them, Docker's last."""
    text = "# by hand\nsearch a.example b.example\noptions edns0\n"
    text += "nameserver 198.51.100.53\n nameserver 198.51.100.54 \n"
    assert resolver_file(host(tmp_path, resolv=text)).splitlines() == [
        "search a.example b.example",
        "options edns0",
        "nameserver 198.51.100.53",
        "nameserver 198.51.100.54",
        "nameserver 127.0.0.11",
    ]


def test_too_many(tmp_path: Path) -> None:
    """The C library asks three; the third is Docker's, which gets where a firewall lets no worker."""
    text = "".join(f"nameserver 198.51.100.{last}\n" for last in range(1, 6))
    assert resolver_file(host(tmp_path, resolv=text)).split()[1::2] == [
        "198.51.100.1", "198.51.100.2", "127.0.0.11",
    ]  # fmt: skip


def test_stub(tmp_path: Path) -> None:
    """Where the host asks systemd-resolved on a loopback address, workers ask what that asks."""
    root = host(
        tmp_path, resolv="nameserver 127.0.0.53\n", systemd="nameserver 198.51.100.9\nsearch example\n"
    )
    assert resolver_file(root).splitlines() == [
        "search example",
        "nameserver 198.51.100.9",
        "nameserver 127.0.0.11",
    ]


@pytest.mark.parametrize(
    "text",
    [
        *("", "nameserver", "nameserver 127.0.0.1", "nameserver 0.0.0.0", "nameserver fe80::1%eth0"),
        *("nameserver x", "nameserver 2001:db8::1", "domain example"),
    ],
)
def test_nothing_reachable(tmp_path: Path, text: str) -> None:
    """A name server on loopback or with IPv6 only is out of a worker's reach: Docker's is kept."""
    assert resolver_file(host(tmp_path, resolv=text)) == ""
    assert resolver_file(tmp_path / "none") == ""


def test_what_docker_was_told(tmp_path: Path) -> None:
    """Name servers that the administrator gave Docker for all containers replace the host's."""
    root = host(tmp_path, resolv="nameserver 198.51.100.1\n", daemon='{"dns": ["198.51.100.77"]}')
    assert resolver_file(root) == "nameserver 198.51.100.77\nnameserver 127.0.0.11\n"


@pytest.mark.parametrize(
    "text", ["", "[]", '{"dns": 3}', '{"dns": [1, null]}', "{", '{"dns": []}', "[" * 9999]
)
def test_odd_file_of_docker(tmp_path: Path, text: str) -> None:
    """A daemon.json that says nothing of name servers, or nothing at all, changes nothing."""
    root = host(tmp_path, resolv="nameserver 198.51.100.1\n", daemon=text)
    assert resolver_file(root) == "nameserver 198.51.100.1\nnameserver 127.0.0.11\n"


def test_all_that_are_asked(tmp_path: Path) -> None:
    """Those of resolv.conf, of systemd-resolved and of daemon.json, but none that only this host
    itself can ask."""
    root = host(
        tmp_path,
        resolv="nameserver 127.0.0.53\nnameserver fe80::1%eth0\nnameserver x\n",
        systemd="nameserver 198.51.100.9\nnameserver 2001:db8::1\n",
        daemon='{"dns": ["10.0.0.53", "0.0.0.0"]}',
    )
    assert name_servers(root) == {"198.51.100.9", "2001:db8::1", "10.0.0.53"}
    assert name_servers(tmp_path / "none") == set()
