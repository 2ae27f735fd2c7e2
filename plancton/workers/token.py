"""Reads the pool's token and packs it for a worker. It goes nowhere else, not even to a log."""

import base64
import binascii
import io
import json
import tarfile
import time

from plancton.config.condor_environment import TOKENS, WORK
from plancton.errors import PlanctonError
from plancton.files import Unsuitable, read_regular
from plancton.units import human_seconds, quoted

LARGEST = 16 * 1024
"""Bytes; a token has a few hundred."""
EXPIRES_SOON = 3 * 86_400.0
"""Seconds: one that expires sooner is mentioned."""


class TokenError(PlanctonError):
    """A token that can't be used: one line with the file and the remedy, never the token."""


def read_token(path: str, now: float) -> bytes:
    """The token in a file that only its owner can read; refused if expired ``now`` (Unix time)."""
    try:
        token = _read(path).strip()
    except Unsuitable as error:
        raise TokenError(f"token file {path}: {error.strerror}") from None
    except OSError as error:
        raise TokenError(
            f"token file {path}: {error.strerror}; the user that runs Plancton must be able to read it"
        ) from None
    expires = expiry(token)
    if expires is not None and expires <= now:
        ago = human_seconds(now - expires)
        raise TokenError(f"token file {path}: expired {ago} ago; ask the pool's administrator for a new one")
    return token + b"\n"


def _read(path: str) -> bytes:
    data, found = read_regular(path, LARGEST)
    if found.st_mode & 0o077:
        raise TokenError(f"token file {path}: others can read it; chmod 600 {quoted(path)}")
    if _claims(data) is None:
        raise TokenError(f"token file {path}: holds no token as condor_token_create prints it")
    return data


def expiry(token: bytes) -> float | None:
    """When a token expires (Unix time); None: never, or it does not say."""
    claims = _claims(token) or {}
    expires = claims.get("exp")
    return float(expires) if isinstance(expires, int | float) and abs(expires) < 1e15 else None


def _claims(token: bytes) -> dict[str, object] | None:
    """The middle part of a JSON Web Token (RFC 7519); None when this is not one."""
    parts = token.strip().split(b".")
    if len(token) > LARGEST or len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + b"=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return None
    return claims if isinstance(claims, dict) else None


def pack(token: bytes, user: str) -> bytes:
    """A tar for a worker's volume: token and working directory, both of ``user`` (UID[:GID])."""
    uid, _, gid = user.partition(":")
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name in (TOKENS, WORK):
            tar.addfile(_entry(name, tarfile.DIRTYPE, 0o700, int(uid), int(gid or uid)))
        entry = _entry(f"{TOKENS}/pool", tarfile.REGTYPE, 0o600, int(uid), int(gid or uid))
        entry.size = len(token)
        tar.addfile(entry, io.BytesIO(token))
    return data.getvalue()


def _entry(name: str, kind: bytes, mode: int, uid: int, gid: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.uid, entry.gid, entry.mtime = kind, mode, uid, gid, int(time.time())
    return entry
