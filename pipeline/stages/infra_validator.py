"""InfraValidator: checks that a server can load the exported model and answer with it.

INFRA_BLESSED     names the server
"""

import dataclasses
import io
import math
import os
import wave
from typing import TYPE_CHECKING

from common import code_version, files
from common.files import write_text
from model.errors import InputError
from pipeline.stages import transform
from pipeline.stages.context import RunContext
from pipeline.store import manifest
from pipeline.store.artifacts import Artifact, Outcome, Store, copy_tree
from pipeline.store.manifest import CacheKey, Fingerprinted
from pipeline.training.exports import saved_models
from serving import tensorflow_model_server

if TYPE_CHECKING:
    from serving.client.client import Client

NAME = "InfraValidator"
INFRA_BLESSED = "INFRA_BLESSED"
SIGNATURES = {
    "generate", "score", "embed", "inspect", "classify", "regress", "complete", "serving_default"
}  # fmt: skip
TRANSLATION_SIGNATURES = {"translate", "score_translations", "serving_default"}
RECOGNITION_SIGNATURES = {"recognize", "spectrogram", "serving_default"}
LENGTH = 20
SENTENCE = "test"
"""Sentence to translate, of one word, as a model may allow no more."""


@dataclasses.dataclass(frozen=True)
class Properties(manifest.Properties):
    """The properties of an InfraValidator artifact.

    Attributes:
      server: Server that loaded the model.
    """

    server: str


class InfraError(InputError):
    """The served model answers incorrectly."""

    def __init__(self, problem: str):
        """Says what is wrong.

        Args:
          problem: The wrong answer.
        """
        super().__init__(
            f"{problem}; the model is not pushed: train again, and report it if that does not "
            "help, as no export should do so"
        )


def plan(context: RunContext, model: Fingerprinted) -> CacheKey:
    """Returns the cache key that `execute` will use."""
    return _cache_key(model, _server())


def execute(context: RunContext, model: Artifact) -> Artifact:
    """Runs the stage in a context."""
    return run(context.store, model)


def _cache_key(model: Fingerprinted, server: str) -> CacheKey:
    # The server is a process of its own, so that nothing here imports its code.
    parameters = {"server": server, "server_code": code_version.source_digest("serving.__main__")}
    return CacheKey.of(NAME, __name__, {"model": model}, parameters)


def _server() -> str:
    """Returns the name of the server that is used: TensorFlow Serving's if it is on the PATH."""
    return tensorflow_model_server.NAME if tensorflow_model_server.path() else "embedded server"


def run(store: Store, model: Artifact) -> Artifact:
    """Starts a server on each export, and requests its metadata and answers over gRPC.

    Args:
      store: Store of the artifacts.
      model: Artifact of Trainer, TranslationTrainer or RecognitionTrainer.

    Returns:
      The artifact with `INFRA_BLESSED`.

    Raises:
      ServerError: If the server does not start.
      ClientError: If it refuses a request.
      InfraError: If an answer is wrong.
    """
    server = _server()
    examples = store.find(model.manifest.inputs["examples"])
    transforms = examples is not None and examples.manifest.stage == transform.NAME

    def write(directory: str) -> Outcome:
        for saved_model in saved_models(model).values():
            base_path = os.path.join(directory, "versions")
            copy_tree(saved_model, os.path.join(base_path, "1"))
            _smoke_test(base_path, transforms)
            files.rmtree(base_path)
        write_text(os.path.join(directory, INFRA_BLESSED), server + "\n")
        return Outcome(Properties(server), f"answers over gRPC from the {server}")

    return store.produce(_cache_key(model, server), write)


def _smoke_test(base_path: str, transforms: bool) -> None:
    """Requests every kind of answer once; raises an InfraError if one is wrong.

    Args:
      base_path: Directory of the version.
      transforms: Whether the model transforms texts that it reads. Those that it writes may then
        be others when they are read: part of a character at the end, or composed ones.
    """
    from serving.client.launch import running_server

    with running_server("candidate", base_path) as client:
        signatures = set(client.metadata().signature_def)
        if "translate" in signatures:
            _require(signatures, TRANSLATION_SIGNATURES)
            _smoke_test_translation(client)
            return
        if "recognize" in signatures:
            _require(signatures, RECOGNITION_SIGNATURES)
            _smoke_test_recognition(client)
            return
        _require(signatures, SIGNATURES)
        (text,) = client.generate([""], LENGTH)
        whole = text.text.decode("utf-8", "ignore").encode() if transforms else text.text
        scores = client.score([whole] if whole else [])
    if transforms:
        if not all(math.isfinite(score.bits_per_character) for score in scores):
            raise InfraError(f"the text {whole!r} has a score that is no number")
        return
    (score,) = scores
    total = -float(text.log_probabilities.sum()) / math.log(2)
    if not math.isclose(total, score.bits_per_character * LENGTH, rel_tol=1e-3, abs_tol=1e-3):
        raise InfraError(
            f"the text was generated at {total:.3f} bits, but scores "
            f"{score.bits_per_character * LENGTH:.3f}"
        )


def _require(signatures: set[str], wanted: set[str]) -> None:
    """Raises an InfraError if a signature is missing."""
    if not signatures >= wanted:
        raise InfraError(f"the served model lacks {', '.join(sorted(wanted - signatures))}")


def _smoke_test_translation(client: "Client") -> None:
    """Requests a translation and its score; raises an InfraError if they do not agree.

    Words that the vocabulary lacks are translated like any other.
    """
    from serving.client import translation

    (found,) = translation.translate(client, [SENTENCE])
    if not math.isfinite(found.score) or found.score > 0:
        raise InfraError(f"the translation {found.text!r} has the score {found.score}")
    if found.text:
        (log_probability,) = translation.score(client, [SENTENCE], [found.text])
        # Scores are log-probabilities that are divided by a power of at most the length.
        if not log_probability - 1e-3 <= found.score:
            raise InfraError(
                f"the translation {found.text!r} was found with the score {found.score:.3f}, but "
                f"has the log-probability {log_probability:.3f}"
            )


def _smoke_test_recognition(client: "Client") -> None:
    """Requests what is said in noise; raises an InfraError if parts of the answer disagree."""
    from serving.client import recognition

    wanted = recognition.audio_format(client)
    (found,) = recognition.recognize(client, [_noise(wanted.sample_rate)])
    if not math.isfinite(found.log_probability) or found.log_probability > 1e-3:
        raise InfraError(f"the text {found.text!r} has the ln p {found.log_probability}")
    if len(found.times) != len(found.text) or list(found.times) != sorted(found.times):
        raise InfraError(f"the text {found.text!r} has the times {found.times}")


def _noise(sample_rate: int) -> bytes:
    """Returns a WAV file of a second of noise."""
    import numpy as np

    samples = np.random.default_rng(0).integers(-(1 << 12), 1 << 12, sample_rate)
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return content.getvalue()
