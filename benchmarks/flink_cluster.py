"""Runs a Flink cluster on this machine: one JobManager, TaskManagers, and Python workers.

`make test-flink` installs Flink in `libraries/` and Beam's job server in `job-server/`.
"""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import requests
import yaml

PROJECT = pathlib.Path(__file__).resolve().parent.parent
SLOTS = 2  # of each TaskManager, so that a job of two survives the loss of one
JOB_MANAGER = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
TASK_MANAGER = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
# Flink reflects on these packages; its default configuration opens them, too.
OPENED = ("java.lang", "java.net", "java.io", "java.nio", "java.text", "java.time", "java.util",
          "java.util.concurrent", "java.lang.reflect", "sun.nio.ch")  # fmt: skip


class FlinkCluster:
    """A running cluster.

    Attributes:
      task_managers: Processes of the TaskManagers.
      workers: Process that runs Python for them.
    """

    def __init__(self, installed: pathlib.Path, directory: pathlib.Path):
        """Starts a JobManager and the workers.

        Args:
          installed: Folder that `make test-flink` installed.
          directory: Folder for configuration and logs.
        """
        (self._flink,) = installed.glob("libraries/pyflink")
        self._job_server = installed / "job-server" / "job-server.jar"
        self._directory = directory
        self._rest, rpc, self._worker_port = _free_ports(3)
        configuration = {
            "jobmanager.rpc.address": "localhost",
            "jobmanager.rpc.port": rpc,
            "jobmanager.memory.process.size": "1g",
            "taskmanager.memory.process.size": "1200m",
            "taskmanager.numberOfTaskSlots": SLOTS,
            "taskmanager.host": "localhost",
            "rest.port": self._rest,
            "heartbeat.interval": 1000,
            "heartbeat.timeout": 5000,
            "restart-strategy.type": "fixed-delay",
            "restart-strategy.fixed-delay.attempts": 20,
            "restart-strategy.fixed-delay.delay": "1 s",
            "io.tmp.dirs": str(directory),
        }
        (directory / "config.yaml").write_text(yaml.safe_dump(configuration))
        self._job_manager = self._java("job-manager", JOB_MANAGER, ["-Xmx512m"], [])
        self.task_managers: list[subprocess.Popen] = []
        self.start_workers()

    def start_task_manager(self) -> None:
        """Adds a TaskManager, with the memory options of Flink's own scripts."""
        utilities = "org.apache.flink.runtime.util.bash.BashJavaUtils"
        command = ["java", "-cp", f"{self._flink}/lib/*:{self._flink}/bin/bash-java-utils.jar"]
        command += [utilities, "GET_TM_RESOURCE_PARAMS", "--configDir", str(self._directory)]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        prefix = "BASH_JAVA_UTILS_EXEC_RESULT:"
        jvm, dynamic = (
            line.removeprefix(prefix).split()
            for line in printed.splitlines()
            if line.startswith(prefix)
        )
        number = len(self.task_managers)
        dynamic += ["-D", f"taskmanager.resource-id=task-manager-{number}"]
        name = f"task-manager-{number}"
        self.task_managers.append(self._java(name, TASK_MANAGER, jvm, dynamic))

    def start_workers(self) -> None:
        """Starts the process that runs Python, initially and after it has ended."""
        module = "apache_beam.runners.worker.worker_pool_main"
        command = [sys.executable, "-m", module, "--service_port", str(self._worker_port)]
        # The pool starts the `python` on the PATH, which a virtual environment that is not
        # activated does not provide.
        path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
        environment = {**os.environ, "PYTHONPATH": str(PROJECT), "PATH": path}
        self.workers = self._process("workers", command, environment)

    def wait_for_slots(self, number: int) -> None:
        """Waits until the cluster has a number of slots."""
        for _ in range(240):
            with contextlib.suppress(requests.RequestException):
                answer = requests.get(f"http://localhost:{self._rest}/overview", timeout=5)
                # It answers 503 until its leader is elected.
                answer.raise_for_status()
                if answer.json()["slots-total"] == number:
                    return
            time.sleep(0.25)
        raise TimeoutError(f"the cluster has no {number} slots; see the logs in {self._directory}")

    @property
    def beam_options(self) -> list[str]:
        """Options with which Beam runs a pipeline on this cluster."""
        return [
            "--runner=FlinkRunner",
            f"--flink_master=localhost:{self._rest}",
            "--flink_version=1.19",
            f"--flink_job_server_jar={self._job_server}",
            f"--parallelism={SLOTS}",
            "--environment_type=EXTERNAL",
            f"--environment_config=localhost:{self._worker_port}",
        ]

    def stop(self) -> None:
        """Kills all processes."""
        for process in (*self.task_managers, self._job_manager, self.workers):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _java(self, name: str, main: str, jvm: list[str], arguments: list[str]) -> subprocess.Popen:
        opened = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENED]
        command = ["java", *opened, *jvm, "-cp", f"{self._flink}/lib/*", main]
        command += ["--configDir", str(self._directory), *arguments]
        return self._process(name, command, None)

    def _process(
        self, name: str, command: list[str], environment: dict[str, str] | None
    ) -> subprocess.Popen:
        with open(self._directory / f"{name}.log", "ab") as log:
            return subprocess.Popen(
                command, stdout=log, stderr=log, env=environment, start_new_session=True
            )


@contextlib.contextmanager
def flink_cluster(installed: pathlib.Path, directory: pathlib.Path) -> Iterator[FlinkCluster]:
    """Runs a cluster of two TaskManagers while the context lasts.

    Args:
      installed: Folder that `make test-flink` installed.
      directory: Folder for configuration and logs.
    """
    cluster = FlinkCluster(installed, directory)
    try:
        for _ in range(2):
            cluster.start_task_manager()
        cluster.wait_for_slots(2 * SLOTS)
        yield cluster
    finally:
        cluster.stop()


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for probe in sockets:
            probe.bind(("localhost", 0))
        return [probe.getsockname()[1] for probe in sockets]
