"""The configuration files of tensorflow_model_server, in protobuf's text format."""

from typing import Any

import grpc
import tensorflow as tf
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message,
    message_factory,
    text_format,
)
from tensorflow_serving.config import model_server_config_pb2

from model.errors import InputError

_PACKAGE = "tensorflow.serving"


class ConfigFileError(InputError):
    """A configuration file does not hold what it should, as TensorFlow Serving says it."""

    exit_status = 255  # that of TensorFlow Serving


METRICS_PATH = "/monitoring/prometheus/metrics"
"""Path of the metrics over REST where a configuration names no other."""

# Messages that the API package of TensorFlow Serving lacks: the fields of each in order; the type
# of a repeated field is in a list.
_MESSAGES = {
    "SSLConfig": (("server_key", str), ("server_cert", str), ("custom_ca", str),
                  ("client_verify", bool)),
    "PrometheusConfig": (("enable", bool), ("path", str)),
    "MonitoringConfig": (("prometheus_config", "PrometheusConfig"),),
    "Int64Value": (("value", int),),
    "BoolValue": (("value", bool),),
    "StringValue": (("value", str),),
    "BatchingParameters": (
        ("max_batch_size", "Int64Value"), ("batch_timeout_micros", "Int64Value"),
        ("max_enqueued_batches", "Int64Value"), ("num_batch_threads", "Int64Value"),
        ("thread_pool_name", "StringValue"), ("allowed_batch_sizes", [int]),
        ("pad_variable_length_inputs", bool), ("max_execution_batch_size", "Int64Value"),
        ("enable_large_batch_splitting", "BoolValue"),
    ),
}  # fmt: skip


def _message_classes() -> dict[str, type[message.Message]]:
    """Returns classes for `_MESSAGES`, by name."""
    field_types = descriptor_pb2.FieldDescriptorProto
    scalars = {
        bool: field_types.TYPE_BOOL,
        int: field_types.TYPE_INT64,
        str: field_types.TYPE_STRING,
    }
    file = descriptor_pb2.FileDescriptorProto(
        name="server_configuration_files.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        descriptor = file.message_type.add(name=name)
        for number, (field_name, field_type) in enumerate(fields, 1):
            field = descriptor.field.add(
                name=field_name, number=number, label=field_types.LABEL_OPTIONAL
            )
            if isinstance(field_type, list):
                field.label, (field_type,) = field_types.LABEL_REPEATED, field_type
            if isinstance(field_type, str):
                field.type = field_types.TYPE_MESSAGE
                field.type_name = f".{_PACKAGE}.{field_type}"
            else:
                field.type = scalars[field_type]
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in _MESSAGES
    }


_CLASSES = _message_classes()


def single_model(name: str, base_path: str) -> model_server_config_pb2.ModelServerConfig:
    """Returns the configuration of a server with one model.

    Args:
      name: Name of the model.
      base_path: Directory with a directory per version.
    """
    config = model_server_config_pb2.ModelServerConfig()
    config.model_config_list.config.add(name=name, base_path=base_path, model_platform="tensorflow")
    return config


def read_models(path: str) -> model_server_config_pb2.ModelServerConfig:
    """Reads a file for `--model_config_file`, a ModelServerConfig.

    Args:
      path: Path of the file.

    Raises:
      InputError: If it cannot be read or parsed, or names no models.
    """
    config = _parse(path, model_server_config_pb2.ModelServerConfig(), "--model_config_file")
    if not config.model_config_list.config:
        raise InputError(f"{path} names no model in a model_config_list; add one")
    return config


def read_credentials(path: str) -> grpc.ServerCredentials:
    """Reads a file for `--ssl_config_file`, an SSLConfig with keys as PEM.

    Args:
      path: Path of the file.

    Raises:
      InputError: If it cannot be read or parsed, or lacks a key or an authority.
    """
    config = _parse(path, _CLASSES["SSLConfig"](), "--ssl_config_file")
    if not config.server_key or not config.server_cert:
        raise InputError(f"{path} lacks server_key or server_cert; give both as PEM")
    if config.client_verify and not config.custom_ca:
        raise InputError(
            f"{path} has client_verify without custom_ca; give the authority of the clients as PEM"
        )
    return grpc.ssl_server_credentials(
        [(config.server_key.encode(), config.server_cert.encode())],
        config.custom_ca.encode() or None,
        config.client_verify,
    )


def read_monitoring_path(path: str) -> str:
    """Reads a file for `--monitoring_config_file`, a MonitoringConfig.

    Args:
      path: Path of the file.

    Returns:
      The path of the metrics over REST; empty for none.

    Raises:
      InputError: If it cannot be read or parsed.
    """
    config = _parse(path, _CLASSES["MonitoringConfig"](), "--monitoring_config_file")
    prometheus = config.prometheus_config
    return (prometheus.path or METRICS_PATH) if prometheus.enable else ""


def read_batching(path: str) -> message.Message:
    """Reads a file for `--batching_parameters_file`, a BatchingParameters.

    Args:
      path: Path of the file.

    Raises:
      InputError: If it cannot be read or parsed.
    """
    return _parse(path, _CLASSES["BatchingParameters"](), "--batching_parameters_file")


def read_session_config(path: str) -> tf.compat.v1.ConfigProto:
    """Reads a file for `--tensorflow_session_config_file`, a ConfigProto.

    Args:
      path: Path of the file.

    Raises:
      InputError: If it cannot be read or parsed.
    """
    return _parse(path, tf.compat.v1.ConfigProto(), "--tensorflow_session_config_file")


def _parse(path: str, target: message.Message, flag: str) -> Any:
    """Parses a file that a flag names into a message, and returns that."""
    try:
        with tf.io.gfile.GFile(path) as file:
            return text_format.Parse(file.read(), target)
    except (tf.errors.OpError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read; give a file to {flag}") from error
    except text_format.ParseError as error:
        problem = str(error).splitlines()[0]
        expected = target.DESCRIPTOR.full_name
        raise ConfigFileError(
            f"Invalid protobuf file: '{path}' (Error parsing text-format {expected}: {problem})"
        ) from error
