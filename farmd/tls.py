"""The server's TLS: files checked when the daemon starts, not when the first client fails."""

from __future__ import annotations

import ssl
from pathlib import Path

import grpc

from farmd.config import TlsConfig
from farmd.errors import StartRefused


def credentials(tls: TlsConfig) -> grpc.ServerCredentials:
    """Return the server's credentials; with a client CA, clients without its certificate are refused.

    Raises StartRefused with one sentence if a file is missing, unreadable, not PEM, encrypted, or no pair.
    """
    chain, key = _read("cert", tls.cert), _read("key", tls.key)
    _check_pair(tls.cert, tls.key)
    if tls.client_ca is None:
        return grpc.ssl_server_credentials([(key, chain)])
    clients = _read("client_ca", tls.client_ca)
    _check_ca(tls.client_ca)
    return grpc.ssl_server_credentials([(key, chain)], root_certificates=clients, require_client_auth=True)


def _read(name: str, path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StartRefused(
            f"The file of tls.{name}, {path}, cannot be read ({error.strerror}); check the path and its permissions."
        ) from None
    if b"-----BEGIN " not in content:
        raise StartRefused(
            f"The file of tls.{name}, {path}, is not PEM; convert it with 'openssl x509' or 'pkey'."
        )
    return content


def _check_pair(cert: Path, key: Path) -> None:
    def password() -> str:
        raise StartRefused(
            f"The key {key} is encrypted; give one without a passphrase, readable by farmd alone."
        )

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password)
    except (ssl.SSLError, OSError) as error:
        raise StartRefused(
            f"The certificate {cert} and the key {key} are no pair ({_reason(error)}); issue the certificate for this key."
        ) from None


def _check_ca(path: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(path)
    except (ssl.SSLError, OSError) as error:
        raise StartRefused(
            f"The file of tls.client_ca, {path}, holds no usable certificate ({_reason(error)}); give the CA's PEM file."
        ) from None


def _reason(error: OSError) -> str:
    return (getattr(error, "reason", None) or error.strerror or str(error)).replace("_", " ").lower()
