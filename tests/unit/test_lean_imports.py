"""What the supervisor's libraries don't load, and what works all the same."""

import subprocess
import sys

CODE = """
import sys, warnings
warnings.simplefilter("error")
import plancton.daemon.__main__
{more}
"""


def said(more: str) -> str:
    done = subprocess.run(
        [sys.executable, "-P", "-c", CODE.format(more=more)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and not done.stderr, done
    return done.stdout.strip()


def test_hashes_are_right() -> None:
    """Python's own SHA-256 stands in for OpenSSL's: names of locks and configurations stay."""
    digest = said("import hashlib; print(hashlib.sha256(b'abc').hexdigest())")
    assert digest == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_who_asks_later_gets_it() -> None:
    """A library that is left out at the start can still be imported."""
    assert said("import ssl; print(ssl.SSLContext.__name__)") == "SSLContext"
    assert said(
        "import sys; print('decimal' in sys.modules); import decimal; print(decimal.Decimal('0.1') * 3)"
    ) == ("False\n0.3")


def test_a_python_without_its_own_hashes_keeps_openssls() -> None:
    """Fedora's Python has only OpenSSL's: hashlib would log an error for each that it misses."""
    found = said(
        "import plancton.lean_imports as lean\n"
        "lean.OWN_HASHES = ('_none',)\n"
        "with lean.left_out(): print('_hashlib' in sys.modules)"
    )
    assert found == "False", "it was None, so that hashlib would have missed it"


def test_what_few_hosts_need() -> None:
    """What only an owner's rules or root's supervisor need is not loaded at the start."""
    named = "'plancton.host.signals.readings', 'plancton.workers.reach_and_rates', 'plancton.host.bandwidth'"
    assert said(f"print([name for name in ({named}) if name in sys.modules])") == "[]"


def test_who_needs_it_gets_it() -> None:
    """What requests does without is not loaded, and works for our own code."""
    code = (
        "from plancton.lean_imports import UNUSED\n"
        "print([name for name in UNUSED if name in sys.modules])\n"
        "import idna, zipfile; from importlib.metadata import version\n"
        "print(idna.encode('bücher.de'), zipfile.is_zipfile('/dev/null'), version('idna') > '0')\n"
        "print('ü.de'.encode('idna'))"
    )
    assert said(code).split("\n") == ["[]", "b'xn--bcher-kva.de' False True", "b'xn--tda.de'"]


def test_with_tls_all_is_there() -> None:
    """A command that may speak TLS has the certificates that requests reads when it is loaded."""
    code = "import os, plancton.docker.transport, requests; print(os.path.isfile(requests.certs.where()))"
    done = subprocess.check_output([sys.executable, "-P", "-c", f"import ssl; {code}"], text=True, timeout=60)
    assert done == "True\n"
