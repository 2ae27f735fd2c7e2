"""What our libraries load if they find it, and a process that speaks to a unix socket has no use for.

It is a quarter of the memory and a third of the start. Each of these imports is optional where it
stands: requests/compat.py (_resolve_char_detection), urllib3/util/ssl_.py, http/client.py,
hashlib.py, shutil.py, zipfile.py and msgspec/_utils.py go on without.
"""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import ModuleType

OPTIONAL = ("bz2", "charset_normalizer", "chardet", "lzma", "ssl", "typing_extensions")
OPENSSL = "_hashlib"
"""OpenSSL's hashes; Python has its own, which some distributions (Fedora) build without."""
OWN_HASHES = ("_md5", "_sha1", "_sha2" if sys.version_info >= (3, 12) else "_sha256", "_sha3", "_blake2")


class _Decimals(ModuleType):
    """msgspec imports decimal to know its numbers when it meets them (src/msgspec/_core.c): our data
    has none."""

    class Decimal:
        pass


@contextmanager
def left_out() -> Iterator[None]:
    """What is imported meanwhile does without these; whoever asks for one later gets it."""
    names = [*OPTIONAL, *([OPENSSL] if all(map(find_spec, OWN_HASHES)) else [])]
    instead: dict[str, ModuleType | None] = {**dict.fromkeys(names), "decimal": _Decimals("decimal")}
    absent = [name for name in instead if name not in sys.modules]
    sys.modules.update({name: instead[name] for name in absent})  # type: ignore[misc]  # None: an ImportError
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Unable to find acceptable character detection")
            yield
    finally:
        for name in absent:
            del sys.modules[name]


UNUSED = ("certifi", "encodings.idna", "idna", "importlib.metadata", "zipfile")
"""requests and urllib3 import these always, and use them for TLS, names of hosts and archives only
(requests/{certs,models,packages,utils}.py, urllib3/http2/__init__.py)."""


class _Unused(ModuleType):
    """Has every name, each of a function that says the path of something: requests asks certifi when it
    loads, and some versions look whether it is there."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda: "/"


@contextmanager
def without_unused() -> Iterator[None]:
    """For the import of requests alone, as our own code may need these; and only without TLS: with it,
    some versions read the certificates when they load (requests/adapters.py)."""
    without_tls = "ssl" in sys.modules and sys.modules["ssl"] is None
    absent = [name for name in UNUSED if name not in sys.modules] if without_tls else []
    sys.modules.update({name: _Unused(name) for name in absent})
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
