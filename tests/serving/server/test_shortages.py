"""Where files, connections or permissions run short, the server goes on with what it has."""

import contextlib
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile

import grpc
import pytest
import servers
from commands import PROJECT
from conftest import inputs
from servers import AVAILABLE, of, predict, require_embedded, rest, running, states, wait_until

from serving.client.launch import free_port
from serving.server.config_files import METRICS_PATH

DESCRIPTORS = 400


def failed_polls(server):
    page = servers.page(server, METRICS_PATH)
    (line,) = [line for line in page.splitlines() if ":failed_polls" in line and line[0] != "#"]
    return float(line.split()[-1])


@pytest.mark.slow
def test_polls_that_fail_do_not_end_the_server(base_path, tmp_path):
    require_embedded()
    versions, aside = tmp_path / "versions", tmp_path / "aside"
    versions.mkdir()
    shutil.copytree(base_path / "1", versions / "1")
    config = tmp_path / "models.config"
    text = 'model_config_list { config { name: "letters" model_platform: "tensorflow" '
    config.write_text(f'{text} base_path: "{versions}" }} }}')
    flags = ["--model_config_file_poll_wait_seconds=0.2", "--file_system_poll_wait_seconds=0.2"]
    with running(f"--model_config_file={config}", *flags) as server:
        # Nobody may read a link to itself, not even the superuser.
        versions.rename(aside)
        versions.symlink_to(versions)
        config.unlink()
        config.symlink_to(config)
        wait_until(lambda: failed_polls(server) >= 4)
        assert server.log.count(f"{versions} cannot be read") == 1  # not each time
        predict(server.channel, "generate", inputs(["a"]))
        versions.unlink()
        aside.rename(versions)
        limits = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (16, limits[1]))
        shutil.copytree(versions / "1", tmp_path / ".2")
        (tmp_path / ".2").rename(versions / "2")
        # TensorFlow aborts where a thread that runs its first graph cannot open
        # /dev/urandom, so nothing but the status is asked for over the connection that is open.
        wait_until(lambda: "Too many open files" in server.log)
        for _ in range(10):
            assert states(server.channel) == {1: AVAILABLE}
        assert server.process.poll() is None
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, limits)
        wait_until(lambda: states(server.channel).get(2) == AVAILABLE)
        predict(server.channel, "generate", inputs(["a"]))
        assert "Traceback" not in server.log


@contextlib.contextmanager
def with_few_descriptors(*flags):
    """A server that may open few files, and its log."""
    command = [sys.executable, "-m", "serving", "serve", *flags]
    limited = f"ulimit -n {DESCRIPTORS}; exec " + " ".join(f"'{word}'" for word in command)
    with tempfile.NamedTemporaryFile() as log:
        process = subprocess.Popen(["bash", "-c", limited], cwd=PROJECT, stdout=log, stderr=log)
        try:
            yield process, log.name
        finally:
            process.kill()
            process.wait()


@pytest.mark.slow
def test_idle_connections_leave_descriptors_for_files(base_path, tmp_path):
    require_embedded()
    shutil.copytree(base_path / "1", tmp_path / "1")
    port, rest_port = free_port(), free_port()
    flags = [*of(tmp_path), f"--port={port}", f"--rest_api_port={rest_port}"]
    with with_few_descriptors(*flags) as (process, log), contextlib.ExitStack() as stack:
        channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        server = servers.Server("127.0.0.1", port, rest_port, channel, None, log)
        wait_until(lambda: AVAILABLE in states(channel).values())
        for _ in range(DESCRIPTORS):
            for one in (port, rest_port):
                with contextlib.suppress(OSError):
                    stack.enter_context(socket.create_connection(("127.0.0.1", one)))
        shutil.copytree(base_path / "1", tmp_path / ".2")
        (tmp_path / ".2").rename(tmp_path / "2")
        wait_until(lambda: states(channel).get(2) == AVAILABLE)
        assert rest(server, "/v1/models/letters")[0] == 200
        assert process.poll() is None and "Too many open files" not in server.log
        assert len(os.listdir(f"/proc/{process.pid}/fd")) < DESCRIPTORS
