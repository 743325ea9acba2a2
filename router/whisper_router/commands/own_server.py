"""Where the server of the configuration is, for commands that talk to it from this machine."""

import ssl
from pathlib import Path

from whisper_router.errors import ConfigurationError
from whisper_router.settings import Settings

EVERYWHERE = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 addresses to listen on, not to call


def own_url(settings: Settings) -> str:
    """Return the base URL of a server with these settings.

    One that listens everywhere is called by loopback, whatever `localhost` may mean.
    """
    server = settings.server
    host = "127.0.0.1" if server.host in EVERYWHERE else server.host
    scheme = "http" if server.tls_cert is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{server.port}/v1"


def own_certificate(settings: Settings) -> Path | None:
    """Return the file of the certificate that such a server shows, if it has one."""
    certificate = settings.server.tls_cert
    return None if certificate is None else certificate.expanduser()


def trust_in(certificate: Path | None) -> ssl.SSLContext | bool:
    """Return what aiohttp is to believe; blocking. None: whom everybody believes.

    A certificate itself is known, whoever signed it, and whatever name it is for.

    Raises:
        ConfigurationError: there is none in that file.
    """
    if certificate is None:
        return True
    trust = ssl.create_default_context()
    trust.check_hostname = False
    trust.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        trust.load_verify_locations(certificate)
    except OSError as error:
        is_read = isinstance(error, ssl.SSLError)
        reason = "holds no certificate in PEM" if is_read else error.strerror
        raise ConfigurationError(f"server.tls_cert: {certificate}: {reason}") from error
    return trust
