"""What tests of the handlers share: certificates, and an environment in which nothing is set."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from workerpool.kinds.settings import VARIABLES


@dataclass(frozen=True)
class Certificates:
    """Contexts of servers whose certificate is for localhost, 127.0.0.1 and hook.example, and the file to trust."""

    trusted: ssl.SSLContext
    untrusted: ssl.SSLContext
    authority: Path


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Made afresh for each run."""
    authority, stranger = trustme.CA(), trustme.CA()
    contexts = []
    for issuer in (authority, stranger):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issuer.issue_cert("localhost", "127.0.0.1", "hook.example").configure_cert(context)
        contexts.append(context)
    path = tmp_path_factory.mktemp("certificates") / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    return Certificates(*contexts, path)


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES, "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def trusting(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> Certificates:
    """The test's certificates, trusted as an administrator would have them trusted."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    return certificates
