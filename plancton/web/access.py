"""Whose requests the page answers. Pure, except for reading the token's file.

A foreign page that is open in the same browser can send requests here, too. It can't read the token,
so it can't ask for anything; it can't make its own name lead here (DNS rebinding), as requests for any
name but the host's own are refused; and browsers say where a request comes from, which must be here.
"""

import hmac
import re
import secrets
import socket
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from plancton.errors import PlanctonError
from plancton.files import read_regular
from plancton.units import printable, quoted

LARGEST_TOKEN = 4096
SHORTEST_TOKEN = 16
"""Characters: fewer can be guessed."""
_HOST = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[^:\[\]@/\s]{1,253})(?::[0-9]{1,5})?", re.IGNORECASE)


class WebError(PlanctonError):
    """The page can't be served, in one line."""


class Access:
    """What decides on each request. ``local``: the page is served on the loopback only. Without a
    ``token`` of the administrator's, the page gets a random one, and figures need none."""

    def __init__(self, local: bool, token: str | None) -> None:
        self._local = local
        self.asks = token is not None
        """Whether people have to type the token."""
        self.token = token or secrets.token_urlsafe(24)
        name = socket.gethostname().lower()
        self._names = {"localhost"} if local else {"localhost", name, name.partition(".")[0], _full_name()}

    def refusal(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, str] | None:
        """HTTP's code and the reason; None: it is answered."""
        host = headers.get("host", "").lower()
        if not self._answers_to(host):
            return 403, "this page answers to localhost, its address and its host's name only"
        if method not in ("GET", "HEAD", "POST"):
            return 405, "there is nothing but GET, HEAD and POST"
        if method != "POST" and (path == "/" or path.startswith("/static/")):  # tells nothing of this host
            return None
        if not _is_from_here(headers, host):
            return 403, "this request comes from another page"
        if (self.asks or method == "POST") and not self._has_token(headers.get("authorization", "")):
            return 401, "the token is missing or wrong"
        return None

    def _answers_to(self, host: str) -> bool:
        """An address can't be made to lead elsewhere, but a name can."""
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name = found[1].strip("[]").removesuffix(".")
        address = _address(name)
        return name in self._names or (address is not None and (address.is_loopback or not self._local))

    def _has_token(self, authorization: str) -> bool:
        given = authorization.removeprefix("Bearer ")
        return hmac.compare_digest(given.encode(errors="replace"), self.token.encode())


def _is_from_here(headers: Mapping[str, str], host: str) -> bool:
    """As far as the client says: browsers do, and what is no browser has nobody to protect."""
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if origin is not None and origin.lower() not in (f"http://{host}", f"https://{host}"):
        return False
    return site in (None, "same-origin", "none")


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _full_name() -> str:
    try:
        return socket.getfqdn().lower()
    except (OSError, UnicodeError):
        return "localhost"


def read_token(path: Path) -> str:
    """The administrator's token. Raises WebError: no such file, or one that does not keep it secret."""
    try:
        data, found = read_regular(path, LARGEST_TOKEN)
    except OSError as error:
        raise WebError(f"--token-file {printable(str(path))}: {error.strerror}") from None
    if found.st_mode & 0o077:
        raise WebError(f"--token-file {printable(str(path))}: others can read it: chmod 600 {quoted(path)}")
    try:
        token = data.decode("ascii").strip()
    except UnicodeDecodeError:
        token = ""
    if len(token) < SHORTEST_TOKEN or not token.isprintable() or " " in token:
        raise WebError(
            f"--token-file {printable(str(path))}: must hold one word of at least {SHORTEST_TOKEN} ASCII"
            f" characters: (umask 077; openssl rand -hex 24 >{quoted(path)})"
        )
    return token
