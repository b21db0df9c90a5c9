"""The configuration of the models: replaced as a whole, or not at all."""

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from model.errors import InputError
from serving.server.manager import LoadOptions, Manager


def config_of(*entries):
    content = "".join(f"config {{ {entry} }}" for entry in entries)
    return text_format.Parse(
        f"model_config_list {{ {content} }}", model_server_config_pb2.ModelServerConfig()
    )


def model(name, path, policy=""):
    return f'name: "{name}" base_path: "{path}" {policy}'


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (model("letters", "/none"), "two models are called letters"),
        (model("other", "/none", 'model_platform: "caffe"'), "only 'tensorflow' can be served"),
    ],
)
def test_an_invalid_configuration_changes_nothing(tmp_path, wrong, problem):
    manager = Manager(config_of(model("letters", tmp_path)), LoadOptions(), print)
    first = model("letters", tmp_path, "model_version_policy { all {} }")
    before = str(manager.model("letters").config)
    with pytest.raises(InputError, match=problem):
        manager.reload(config_of(first, wrong))
    assert str(manager.model("letters").config) == before
    manager.reload(config_of(first))
    assert manager.model("letters").config.model_version_policy.HasField("all")
