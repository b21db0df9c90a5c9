"""Models of half of x and something, as those by which tensorflow_model_server is tested."""

import tensorflow as tf
from servers import PATIENCE
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

VERSION = 123
DIRECTORY = "00000123"


def export_half_plus(addend, path):
    """A model of y = x / 2 + addend, of x2 and y3 besides, with a signature of each method."""
    graph = tf.Graph()
    with graph.as_default(), tf.compat.v1.Session(graph=graph) as session:
        half = tf.compat.v1.get_variable("half", initializer=0.5)
        serialized = tf.compat.v1.placeholder(tf.string, [None], "examples")
        feature = tf.io.FixedLenFeature([1], tf.float32)
        parsed = tf.io.parse_example(serialized, {"x": feature})["x"]
        x = tf.compat.v1.placeholder(tf.float32, [None], "x")
        y, of_examples = half * x + addend, half * parsed + addend
        session.run(tf.compat.v1.global_variables_initializer())
        make = tf.compat.v1.saved_model.signature_def_utils
        info = tf.compat.v1.saved_model.build_tensor_info
        serving = "tensorflow/serving/"
        signatures = {
            "serving_default": make.predict_signature_def({"x": x}, {"y": y}),
            "classify_x_to_y": make.build_signature_def(
                {"inputs": info(serialized)}, {"scores": info(of_examples)}, f"{serving}classify"
            ),
            "regress_x_to_y": make.build_signature_def(
                {"inputs": info(serialized)}, {"outputs": info(of_examples)}, f"{serving}regress"
            ),
        }
        builder = tf.compat.v1.saved_model.Builder(str(path / DIRECTORY))
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()
    return path


class HalfPlusTwo(tf.Module):
    """The same model as TensorFlow 2 makes it, whose signatures are all for Predict."""

    def __init__(self):
        self.half = tf.Variable(0.5)

    def _of_examples(self, serialized):
        feature = tf.io.FixedLenFeature([1], tf.float32)
        return self.half * tf.io.parse_example(serialized, {"x": feature})["x"] + 2

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
    def classify(self, inputs):
        return {"scores": self._of_examples(inputs)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
    def regress(self, inputs):
        return {"outputs": self._of_examples(inputs)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def predict(self, x):
        return {"y": self.half * x + 2}


def export_native(path):
    module = HalfPlusTwo()
    signatures = {
        "serving_default": module.predict,
        "classify_x_to_y": module.classify,
        "regress_x_to_y": module.regress,
    }
    tf.saved_model.save(module, str(path / DIRECTORY), signatures)
    return path


def prediction(channel, name="default", specify_output=True):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.inputs["x"].dtype = tf.float32.as_datatype_enum
    request.inputs["x"].float_val.append(2.0)
    request.inputs["x"].tensor_shape.dim.add().size = 1
    if specify_output:
        request.output_filter.append("y")
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    response = stub.Predict(request, timeout=PATIENCE)
    assert is_of(response.model_spec, name, "serving_default")
    assert list(response.outputs) == ["y"]
    (value,) = response.outputs["y"].float_val
    return value


def is_of(spec, name, signature):
    return (spec.name, spec.signature_name, spec.version.value) == (name, signature, VERSION)
