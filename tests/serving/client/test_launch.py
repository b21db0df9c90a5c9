"""A server that is started for one client, and that nobody else reaches."""

import os
import pathlib
import stat

import pytest

from serving.client import launch

LISTENS = "0A"  # as the kernel names the state
LOOPBACK = {  # words of four bytes, the last byte first
    "0100007F",
    "0000000000000000FFFF00000100007F",  # 127.0.0.1 in IPv6
    "00000000000000000000000001000000",
}


def sockets_of(pid):
    """The numbers of the sockets that a process has open."""
    links = []
    for descriptor in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        links.append(os.readlink(descriptor))
    return {link[8:-1] for link in links if link.startswith("socket:[")}


def ports_of(pid):
    """The addresses that a process listens on over TCP."""
    found = []
    for name in ("tcp", "tcp6"):
        table = pathlib.Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]
        rows = [line.split() for line in table]
        found += [row[1] for row in rows if row[3] == LISTENS and row[9] in sockets_of(pid)]
    return found


@pytest.mark.slow
def test_a_server_for_one_client_has_no_port(base_path):
    started = launch.server_process(launch.EMBEDDED, "letters", str(base_path))
    with started as (client, process):
        assert client.available_versions() == [1]
        assert ports_of(process.pid) == []
        kind, _, path = client.address.server.partition(":")
        assert kind == "unix" and stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700
    assert not os.path.exists(path)


@pytest.mark.slow
def test_a_port_is_open_to_this_machine_alone(base_path):
    port = launch.free_port()
    started = launch.server_process(launch.EMBEDDED, "letters", str(base_path), port=port)
    with started as (_, process):
        listening = [address.split(":") for address in ports_of(process.pid)]
    assert listening and {int(number, 16) for _, number in listening} == {port}
    assert {address for address, _ in listening} <= LOOPBACK


def test_a_socket_is_put_where_its_path_is_short(monkeypatch, tmp_path):
    long = tmp_path / ("x" * launch.MAX_DIRECTORY_BYTES)
    long.mkdir()
    monkeypatch.setattr(launch.tempfile, "gettempdir", lambda: str(long))
    with launch._short_directory() as directory:
        assert len(directory) < launch.MAX_DIRECTORY_BYTES
