"""Lets Home Assistant find the server by itself: DNS service discovery (RFC 6763) in the local net.

Done by the `zeroconf` package, which is an extra of ours.
"""

import asyncio
import contextlib
import importlib
import importlib.util
import ipaddress
import socket
from typing import Final

import structlog

from whisper_router.api.wyoming.address import TcpAddress
from whisper_router.errors import ConfigurationError

SERVICE: Final = "_wyoming._tcp.local."
MAX_NAME_BYTES: Final = 63  # of a DNS label (RFC 1035 2.3.4)
WITHDRAW_S: Final = 3.0

log = structlog.get_logger(__name__)


def require_zeroconf() -> None:
    """Raise ConfigurationError if the package is not installed."""
    if importlib.util.find_spec("zeroconf") is None:
        raise ConfigurationError(
            "wyoming.zeroconf needs the package zeroconf: install whisper-router[zeroconf]."
        )


async def announce(address: TcpAddress, name: str) -> None:
    """Announce the server until this is cancelled; then withdraw it.

    Without a network that can be used for it a warning is logged and nothing announced. `name`
    empty: this machine's. One that another server has gets a number.
    """
    # In a thread: to be imported it looks at the disk and runs a program.
    await asyncio.to_thread(importlib.import_module, "zeroconf.asyncio")
    from zeroconf import Error, InterfaceChoice, IPVersion  # noqa: PLC0415
    from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf  # noqa: PLC0415

    bound = ipaddress.ip_address(address.host)
    try:
        addresses = [address.host]
        if bound.is_unspecified:
            addresses = await asyncio.to_thread(_own_addresses)
        responder = AsyncZeroconf(
            interfaces=InterfaceChoice.All if bound.is_unspecified else addresses,
            ip_version=IPVersion.All if bound.version == 6 else IPVersion.V4Only,
        )
    except (OSError, RuntimeError) as error:
        log.warning("wyoming_not_announced", reason=str(error))
        return
    try:
        service = AsyncServiceInfo(
            SERVICE,
            f"{name or _own_name()}.{SERVICE}",
            parsed_addresses=addresses,
            port=address.port,
            server=f"{_own_name()}.local.",  # with the service's name in its place not all find it
        )
        await (await responder.async_register_service(service, allow_name_change=True))
        log.info("wyoming_announced", name=service.name, addresses=addresses, port=address.port)
        await asyncio.Event().wait()
    except (OSError, Error) as error:
        log.warning("wyoming_not_announced", reason=str(error) or type(error).__name__)
    finally:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WITHDRAW_S):
                await responder.async_close()


def _own_addresses() -> list[str]:
    """Return what others may reach this machine by. Blocking."""
    import ifaddr  # noqa: PLC0415 - comes with zeroconf

    every = (str(ip.ip) for adapter in ifaddr.get_adapters() for ip in adapter.ips if ip.is_IPv4)
    return [item for item in every if not item.startswith("127.")]


def _own_name() -> str:
    """Return a name that tells this machine from others."""
    name = f"whisper-router-{socket.gethostname().partition('.')[0]}"
    return name.encode()[:MAX_NAME_BYTES].decode(errors="ignore")
