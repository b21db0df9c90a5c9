"""What is checked and added around every HTTP request: who asks by which name, and encodings.

A page on the web can send requests to a server on its visitor's machine. It gives itself away by
its origin, or, where its name has been made to point at the server, by that name.
"""

import gzip
import ipaddress
import json
import socket
import urllib.parse
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from werkzeug import http
from werkzeug.datastructures import Accept

from serving.server import listening
from serving.server.listen_options import ListenOptions

_COMPRESSED_BYTES = 1024
"""Size of an answer from which on it is worth compressing."""

_METHODS = "GET, HEAD, POST, OPTIONS"


def allowed_origins(named: str, cors: bool) -> str:
    """Returns the origins of pages that may send requests, separated by commas; "*" for any.

    Args:
      named: The origins that were named, if any.
      cors: Whether browsers show answers to pages of other origins; by default those of any.
    """
    return named or ("*" if cors else "")


class Checks(NamedTuple):
    """Which names and origins are allowed.

    Attributes:
      hosts: Names by which clients may call the server; "*" for any.
      any_address: Whether every numeric address is allowed as well.
      origins: Origins of pages that may send requests; "*" for any.
      cors: Whether answers allow browsers to show them to such pages.
      flags: Beginning of the names of the flags that allow more.
    """

    hosts: frozenset[str]
    any_address: bool
    origins: frozenset[str]
    cors: bool
    flags: str = "--rest_api_"

    @classmethod
    def of(cls, options: ListenOptions) -> "Checks":
        """Returns the checks that options ask for."""
        cors = options.rest_api_enable_cors_support
        checks = cls.at(
            options.rest_addresses,
            options.rest_api_host or options.host,
            options.rest_api_allowed_hosts,
            allowed_origins(options.rest_api_allowed_origins, cors),
        )
        return checks._replace(cors=cors)

    @classmethod
    def at(
        cls, addresses: Sequence[str], host: str, allowed_hosts: str, allowed_origins: str
    ) -> "Checks":
        """Returns the checks of a server at some addresses, without CORS.

        Args:
          addresses: Numeric addresses that it listens on.
          host: Name or address that was given for them; empty for none.
          allowed_hosts: Names by which clients may call it, separated by commas; "*" for any; empty
            for those of the addresses.
          allowed_origins: Origins of pages that may send requests, likewise.
        """
        hosts = _split(allowed_hosts)
        if not hosts:
            hosts = {*addresses, host} - {""}
            if listening.is_loopback(addresses) or listening.is_wildcard(addresses):
                hosts.add("localhost")
            if listening.is_wildcard(addresses):
                hosts |= {socket.gethostname(), socket.getfqdn()}
        return cls(
            hosts=frozenset(host.lower().strip("[]") for host in hosts),
            any_address=listening.is_wildcard(addresses),
            origins=frozenset(origin.lower() for origin in _split(allowed_origins)),
            cors=False,
        )

    def refusal(self, host: str | None, origin: str | None) -> str | None:
        """Returns the message with which a request is refused; None where it is allowed.

        Args:
          host: Header Host of the request; None for none.
          origin: Header Origin, likewise.
        """
        if host is not None and not self._allows_host(host):
            return (
                f"the server does not answer to {host[:100]}; start it with that name among "
                f"{self.flags}allowed_hosts"
            )
        if origin is not None and not self._allows_origin(origin, host):
            return (
                f"pages of {origin[:100]} may not ask this server; start it with that origin "
                f"among {self.flags}allowed_origins"
            )
        return None

    def __call__(self, application: Callable) -> Callable:
        """Returns a WSGI application that passes on what is allowed."""

        def checked(environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
            headers = [("X-Content-Type-Options", "nosniff")]
            host, origin = environ.get("HTTP_HOST"), environ.get("HTTP_ORIGIN")
            refusal = self.refusal(host, origin)
            if refusal is not None:
                return _refuse(start_response, headers, refusal)
            if self.cors and origin is not None:
                headers += [
                    ("Access-Control-Allow-Origin", "*" if "*" in self.origins else origin),
                    ("Access-Control-Allow-Methods", _METHODS),
                    ("Access-Control-Allow-Headers", "Content-Type, Content-Encoding"),
                    ("Vary", "Origin"),
                ]
            if environ["REQUEST_METHOD"] == "OPTIONS":
                start_response("204 No Content", [*headers, ("Allow", _METHODS)])
                return []
            return _encoded(application, environ, start_response, headers)

        return checked

    def _allows_host(self, host: str) -> bool:
        name = _host_name(host)
        if name is None:
            return False
        if "*" in self.hosts or name in self.hosts:
            return True
        return self.any_address and _is_address(name)

    def _allows_origin(self, origin: str, host: str | None) -> bool:
        origin = origin.lower()
        if "*" in self.origins or origin in self.origins:
            return True
        return host is not None and origin.partition("://")[2] == host.lower()


def _split(names: str) -> set[str]:
    return {name.strip() for name in names.split(",") if name.strip()}


def _host_name(host: str) -> str | None:
    """Returns the name in a Host header, without the port; None if it is none."""
    try:
        return urllib.parse.urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _refuse(
    start_response: Callable, headers: Sequence[tuple[str, str]], message: str
) -> list[bytes]:
    body = json.dumps({"error": message}).encode()
    start_response("403 Forbidden", [*headers, ("Content-Type", "application/json")])
    return [body]


def _encoded(
    application: Callable,
    environ: dict[str, Any],
    start_response: Callable,
    headers: Sequence[tuple[str, str]],
) -> Iterable[bytes]:
    """Calls an application, and compresses its answer where the client asks for that."""
    started: list[Any] = []
    chunks = application(environ, lambda *arguments: started.extend(arguments[:2]))
    try:
        body = b"".join(chunks)
    finally:
        getattr(chunks, "close", lambda: None)()
    status, own = started
    own = [*own, *headers]
    if len(body) >= _COMPRESSED_BYTES and _accepts_gzip(environ.get("HTTP_ACCEPT_ENCODING", "")):
        body = gzip.compress(body, compresslevel=1, mtime=0)
        own = [pair for pair in own if pair[0].lower() != "content-length"]
        own += [("Content-Encoding", "gzip"), ("Content-Length", str(len(body)))]
    start_response(status, [*own, ("Vary", "Accept-Encoding")])
    return [body]


def _accepts_gzip(header: str) -> bool:
    """Returns whether an Accept-Encoding header allows gzip, with more than q=0."""
    accepted = http.parse_accept_header(header, Accept)
    return accepted["gzip"] > 0
