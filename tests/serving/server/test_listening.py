"""Where the server listens, and what it says of that."""

import re
import socket

import grpc
import pytest
from servers import PATIENCE, of, require_embedded, running, states, wait_until

from model.errors import InputError
from serving.serve_flags import ANY_PORT
from serving.server import listening


def own_address():
    """An address of this machine at which others reach it; None if it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent
        except OSError:
            return None
        address = probe.getsockname()[0]
    return None if address.startswith("127.") else address


def has_listener(address, port):
    try:
        socket.create_connection((address, port), timeout=PATIENCE).close()
    except OSError:
        return False
    return True


def ports_in(log):
    grpc_port = re.search(r"gRPC ModelServer at \S+?:(\d+)[, ]", log)
    rest_port = re.search(r"REST API at:http://\S+?:(\d+)[, ]", log)
    return int(grpc_port[1]), int(rest_port[1])


@pytest.mark.slow
@pytest.mark.parametrize("host,open_to_others", [("", False), ("0.0.0.0", True)])
def test_only_this_machine_is_listened_to_unless_a_host_is_given(base_path, host, open_to_others):
    require_embedded()
    flags = ["--port=any", "--rest_api_port=any", f"--host={host}"]
    with running(*of(base_path), *flags, wait=False) as server:
        wait_until(lambda: "Running gRPC" in server.log)
        for port in ports_in(server.log):
            assert port > 0 and has_listener("127.0.0.1", port)
            if not host:
                assert all(has_listener(one, port) for one in listening.addresses_of(""))
            if address := own_address():
                assert has_listener(address, port) is open_to_others


@pytest.mark.slow
def test_a_unix_socket_is_enough_and_is_not_taken_from_its_owner(base_path, tmp_path):
    require_embedded()
    path = tmp_path / "grpc"
    flags = [*of(base_path), "--port=0", "--rest_api_port=0", f"--grpc_socket_path={path}"]
    with running(*flags, wait=False) as server:
        channel = grpc.insecure_channel(f"unix:{path}")
        wait_until(lambda: states(channel))
        assert f"Running gRPC ModelServer at UNIX socket {path} ..." in server.log
        assert "REST" not in server.log
        with pytest.raises(InputError, match="is in use; choose another --grpc_socket_path"):
            listening.check_socket_path(str(path))


def test_a_free_port_is_free_at_every_address():
    addresses = listening.addresses_of("")
    sockets = listening.bind(addresses, ANY_PORT, "--port")
    assert len({found.getsockname()[1] for found in sockets}) == 1
    sockets[0].listen()
    port = sockets[0].getsockname()[1]
    with pytest.raises(InputError, match=f"port {port} is in use; choose another with --port"):
        listening.bind(addresses, port, "--port")
    for found in sockets:
        found.close()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_small_pieces_are_sent_at_once(address):
    """A delayed acknowledgement would hold up the second piece of a stream by 40 ms."""
    (taken,) = listening.bind([address], ANY_PORT, "--port")
    with taken:
        taken.listen()
        with socket.create_connection(taken.getsockname()[:2], timeout=PATIENCE):
            accepted, _ = taken.accept()
            with accepted:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_addresses_of_others_are_named():
    with pytest.raises(InputError, match=r"192\.0\.2\.1 is no address of this machine"):
        listening.bind(["192.0.2.1"], ANY_PORT, "--port")


@pytest.mark.parametrize(
    "address,loopback,wildcard",
    [
        ("127.0.0.1", True, False),
        ("::1", True, False),
        ("0.0.0.0", False, True),
        ("::", False, True),
        ("192.0.2.1", False, False),
    ],
)
def test_kinds_of_addresses(address, loopback, wildcard):
    assert listening.is_loopback([address]) is loopback
    assert listening.is_wildcard([address]) is wildcard
