"""Runs at the start of the interpreter that `scripts/bundle` packs: OpenSSL knows where Debian has
the certificates that it trusts, and Fedora and its like have them elsewhere."""

import os

FEDORA = "/etc/pki/tls/cert.pem"
if os.path.exists(FEDORA):
    os.environ.setdefault("SSL_CERT_FILE", FEDORA)
