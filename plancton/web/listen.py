"""The address that the page is served on."""

import errno
import re
import socket
from ipaddress import ip_address

from plancton.units import printable
from plancton.web.access import WebError

BACKLOG = 128
_LISTEN = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([^:\[\]\s]+)):([0-9]{1,5})")


def open_listener(listen: str) -> socket.socket:
    found = _LISTEN.fullmatch(listen)
    if found is None or int(found[3]) > 65535:
        raise WebError(
            f"--listen {printable(listen)}: is not an address and a port: 127.0.0.1:8642 or [::1]:8642"
        )
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            found[1] or found[2], int(found[3]), type=socket.SOCK_STREAM
        )[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise WebError(f"--listen {listen}: {getattr(error, 'strerror', None) or error}") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        remedy = "; give another one" if error.errno in (errno.EADDRINUSE, errno.EACCES) else ""
        raise WebError(f"--listen {listen}: {error.strerror}{remedy}") from None
    return listener


def is_local(listener: socket.socket) -> bool:
    """Whether only this host reaches it."""
    return ip_address(listener.getsockname()[0].partition("%")[0]).is_loopback


def address_of(listener: socket.socket) -> str:
    """What to type into a browser."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
