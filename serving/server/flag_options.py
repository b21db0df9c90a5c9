"""From the flags of `python -m serving serve` to the options of the server."""

from collections.abc import Callable, Mapping
from typing import Any

import click
import grpc
import tensorflow as tf

from model.errors import InputError
from serving.server import config_files
from serving.server.listen_options import ListenOptions
from serving.server.manager import LoadOptions
from serving.server.run import ReadConfig
from serving.server.servable import session_config


def arguments_of_serve(
    flags: Mapping[str, Any],
) -> tuple[ReadConfig, LoadOptions, ListenOptions, float, float]:
    """Returns the arguments of `run.serve`.

    Args:
      flags: Values of all flags, by name.

    Raises:
      InputError: If flags do not go together, or a file cannot be read.
    """
    if not flags["model_base_path"] and not flags["model_config_file"]:
        raise click.UsageError("give --model_base_path or --model_config_file")
    if flags["batching_parameters_file"]:
        config_files.read_batching(flags["batching_parameters_file"])
    monitoring_path = config_files.METRICS_PATH
    if flags["monitoring_config_file"]:
        monitoring_path = config_files.read_monitoring_path(flags["monitoring_config_file"])
    tags = tuple(tag.strip() for tag in flags["saved_model_tags"].split(",") if tag.strip())
    load_options = _from_flags(LoadOptions, flags, session=_session(flags), tags=tags)
    listen_options = _from_flags(
        ListenOptions, flags, credentials=_credentials(flags), monitoring_path=monitoring_path
    )
    return (
        _config_reader(flags),
        load_options,
        listen_options,
        flags["file_system_poll_wait_seconds"],
        flags["model_config_file_poll_wait_seconds"],
    )


def _config_reader(flags: Mapping[str, Any]) -> ReadConfig:
    path = flags["model_config_file"]
    if path:
        return lambda: config_files.read_models(path)
    return lambda: config_files.single_model(flags["model_name"], flags["model_base_path"])


def _credentials(flags: Mapping[str, Any]) -> grpc.ServerCredentials | None:
    if flags["ssl_config_file"] and flags["use_alts_credentials"]:
        raise InputError("--ssl_config_file and --use_alts_credentials exclude each other")
    if flags["ssl_config_file"]:
        return config_files.read_credentials(flags["ssl_config_file"])
    return grpc.alts_server_credentials() if flags["use_alts_credentials"] else None


def _session(flags: Mapping[str, Any]) -> tf.compat.v1.ConfigProto:
    threads = flags["tensorflow_session_parallelism"]
    config = session_config(
        flags["tensorflow_intra_op_parallelism"] or threads,
        flags["tensorflow_inter_op_parallelism"] or threads,
    )
    if flags["tensorflow_session_config_file"]:
        given = config_files.read_session_config(flags["tensorflow_session_config_file"])
        # What the flags leave open is as in the file, and only what that leaves open is our own.
        if flags["tensorflow_intra_op_parallelism"] or threads:
            given.intra_op_parallelism_threads = config.intra_op_parallelism_threads
        if flags["tensorflow_inter_op_parallelism"] or threads:
            given.inter_op_parallelism_threads = config.inter_op_parallelism_threads
        config.MergeFrom(given)
    if flags["per_process_gpu_memory_fraction"]:
        fraction = flags["per_process_gpu_memory_fraction"]
        config.gpu_options.per_process_gpu_memory_fraction = fraction
    return config


def _from_flags(options_class: Callable, flags: Mapping[str, Any], **others: Any) -> Any:
    """Returns a NamedTuple of the flags that are its fields, and of other fields."""
    fields = {name: flags[name] for name in options_class.__annotations__ if name in flags}
    return options_class(**fields, **others)
