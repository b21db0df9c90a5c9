"""The flags of the server are those of tensorflow_model_server, and more."""

import importlib.metadata
import re
import shutil

import pytest
from commands import run_module
from servers import AVAILABLE, of, require_embedded, running, states, wait_until

import model
from model.errors import InputError
from serving import serve_flags
from serving.__main__ import serve
from serving.server import config_files, flag_options

STOCK = set(
    re.findall(
        r"\w+",
        """
port grpc_socket_path rest_api_port rest_api_num_threads rest_api_timeout_in_ms
rest_api_enable_cors_support enable_batching allow_version_labels_for_unavailable_models
batching_parameters_file enable_per_model_batching_parameters model_config_file
model_config_file_poll_wait_seconds model_name model_base_path num_load_threads num_unload_threads
max_num_load_retries load_retry_interval_micros file_system_poll_wait_seconds
flush_filesystem_caches tensorflow_session_parallelism tensorflow_session_config_file
tensorflow_intra_op_parallelism tensorflow_inter_op_parallelism use_alts_credentials
ssl_config_file platform_config_file per_process_gpu_memory_fraction saved_model_tags
grpc_channel_arguments grpc_max_threads enable_model_warmup num_request_iterations_for_warmup
version monitoring_config_file remove_unused_fields_from_bundle_metagraph prefer_tflite_model
num_tflite_pools num_tflite_interpreters_per_pool enable_signature_method_name_check
xla_cpu_compilation_enabled xla_gpu_compilation_enabled enable_profiler
thread_pool_factory_config_file mixed_precision skip_initialize_tpu
enable_grpc_healthcheck_service enable_serialization_as_tensor_content
""",
    )
)


def values_of(*arguments):
    """The values of all flags after some arguments."""
    return serve.make_context("serve", list(arguments)).params


def test_every_flag_of_the_stock_server_is_known():
    known = {option.name for option in serve.params}
    assert known == {*STOCK, *serve_flags.OWN}
    assert set(serve_flags.WITHOUT_EFFECT) < STOCK


def test_flags_without_effect_say_so_in_a_line_each():
    flags = ["--num_load_threads=4", "--flush_filesystem_caches=false", "--enable_profiler"]
    finished = run_module("serving", "serve", *flags, "--model_base_path=/none")
    *lines, error = finished.stderr.splitlines()
    assert sorted(line.split()[0] for line in lines) == sorted(f.split("=")[0] for f in flags)
    assert all("has no effect: " in line for line in lines)
    assert finished.returncode == 2 and error.startswith("error: /none holds no model version")


def test_the_version_is_printed():
    finished = run_module("serving", "serve", "--version")
    library = importlib.metadata.version("tensorflow")
    assert finished.returncode == 0 and not finished.stderr
    assert finished.stdout == (
        f"Grid LSTM model server: {model.__version__}\nTensorFlow Library: {library}\n"
    )


@pytest.mark.parametrize(
    "flags,intra,inter",
    [
        ([], 3, -1),
        (["--tensorflow_session_parallelism=2"], 2, 2),
        (["--tensorflow_intra_op_parallelism=5"], 5, -1),
    ],
)
def test_sessions_are_as_the_file_and_then_the_flags_say(tmp_path, flags, intra, inter):
    file = tmp_path / "session.config"
    file.write_text("intra_op_parallelism_threads: 3 log_device_placement: true\n")
    flags = [*flags, f"--tensorflow_session_config_file={file}"]
    session = flag_options._session(
        values_of(*flags, "--per_process_gpu_memory_fraction=0.25", "--model_base_path=/none")
    )
    assert session.intra_op_parallelism_threads == intra
    assert session.inter_op_parallelism_threads == inter
    assert session.log_device_placement
    assert session.gpu_options.per_process_gpu_memory_fraction == 0.25
    file.write_text("nonsense")
    with pytest.raises(InputError, match=r"Error parsing text-format tensorflow\.ConfigProto"):
        config_files.read_session_config(str(file))


def test_tags_choose_the_graph(base_path, tmp_path):
    require_embedded()
    shutil.copytree(base_path / "1", tmp_path / "1")
    with running(*of(tmp_path), "--saved_model_tags=train", wait=False) as server:
        wait_until(lambda: states(server.channel))
        assert AVAILABLE not in states(server.channel).values()
        assert "cannot be loaded" in server.log
