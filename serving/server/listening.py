"""Addresses that the server listens on; each is taken before a model is loaded."""

import contextlib
import ipaddress
import os
import resource
import socket
from collections.abc import Sequence

from model.errors import InputError
from serving.serve_flags import ANY_PORT

_LOOPBACK = ("127.0.0.1", "::1")
_WILDCARDS = ("0.0.0.0", "::")
_MAX_SOCKET_PATH = 107  # bytes, by the definition of sockaddr_un
_ATTEMPTS = 20


def max_descriptors() -> int:
    """Returns how many file descriptors the process may have, 2^20 where there is no limit."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if descriptors == resource.RLIM_INFINITY else descriptors


def addresses_of(host: str, flag: str = "--host") -> list[str]:
    """Returns the numeric addresses of a host.

    Args:
      host: Name or address; empty for this machine alone, over IPv4 and, where there is, IPv6.
      flag: Flag that gives the host, for the message. Default "--host".

    Raises:
      InputError: If there is no such host.
    """
    if not host:
        return [address for address in _LOOPBACK if _exists(address)]
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise InputError(
            f"{flag} {host} is no address of this machine; give one, or 0.0.0.0 for all"
        ) from error
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


def is_loopback(addresses: Sequence[str]) -> bool:
    """Returns whether only this machine reaches addresses."""
    return all(ipaddress.ip_address(address).is_loopback for address in addresses)


def is_wildcard(addresses: Sequence[str]) -> bool:
    """Returns whether addresses stand for all of this machine's."""
    return any(address in _WILDCARDS for address in addresses)


def shown(address: str, port: int) -> str:
    """Returns an address and a port as a URL has them."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def bind(addresses: Sequence[str], port: int, flag: str) -> list[socket.socket]:
    """Takes a port at some addresses; nothing is accepted before the sockets listen.

    Args:
      addresses: Numeric addresses.
      port: The port; `ANY_PORT` for one that is free at all of them.
      flag: Flag that gives the port, for the message.

    Raises:
      InputError: If the port cannot be taken.
    """
    for attempt in range(_ATTEMPTS):
        with contextlib.ExitStack() as stack:
            number = max(port, 0)
            sockets: list[socket.socket] = []
            try:
                for address in addresses:
                    sockets.append(stack.enter_context(_socket(address)))
                    sockets[-1].bind((address, number))
                    number = sockets[-1].getsockname()[1]
            except OSError as error:
                if port == ANY_PORT and attempt < _ATTEMPTS - 1:
                    continue  # the port of the first address is taken at another
                raise InputError(_problem(error, addresses, port, flag)) from error
            stack.pop_all()
            return sockets
    raise AssertionError("the last attempt returns or raises")


def _socket(address: str) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Accepted sockets inherit it. Without, a small piece of a stream waits for the acknowledgement
    # of the one before, which clients delay by 40 ms.
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if address == "::":  # IPv4 as well, as gRPC has it
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    return made


def _exists(address: str) -> bool:
    """Returns whether this machine has an address."""
    try:
        with _socket(address) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def _problem(error: OSError, addresses: Sequence[str], port: int, flag: str) -> str:
    if isinstance(error, PermissionError):
        return f"port {port} needs privileges; choose one from 1024 with {flag}"
    if not all(map(_exists, addresses)):
        return f"{', '.join(addresses)} is no address of this machine; give one with --host"
    return f"port {port} is in use; choose another with {flag}"


def check_socket_path(path: str) -> None:
    """Checks that a UNIX socket can be made at a path, on which nobody else listens.

    Args:
      path: Path of the socket.

    Raises:
      InputError: If it cannot.
    """
    if len(os.fsencode(path)) > _MAX_SOCKET_PATH:
        raise InputError(
            f"{path} is longer than the {_MAX_SOCKET_PATH} bytes of a UNIX socket's path; choose a "
            "shorter --grpc_socket_path"
        )
    if not os.path.isdir(os.path.dirname(path) or "."):
        raise InputError(f"there is no directory for {path}; choose another --grpc_socket_path")
    with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
        probe.connect(path)
        raise InputError(f"unix:{path} is in use; choose another --grpc_socket_path")
