"""What a run prints at its end, answered by a server as for any client."""

import sys
from collections.abc import Callable
from typing import TypeVar

from common.files import read_text
from common.progress import console
from pipeline import orchestration
from pipeline.data.recordings import first_recordings
from pipeline.stages import graph, translation_evaluator
from pipeline.store.artifacts import Store
from serving.client import recognition, translation
from serving.client.client import Client
from serving.client.launch import running_server
from serving.protocol import SamplingParams

T = TypeVar("T")

SHOWN = 3
"""Number of translations or transcripts that are printed."""


def print_sample(served: orchestration.RunResult, prompt: str, length: int) -> None:
    """Serves the newest version, and prints a text that it generates over gRPC.

    Args:
      served: Model in the serving directory.
      prompt: Beginning of the text.
      length: Number of characters to generate.
    """
    (text,) = _answers(
        served, lambda client: client.generate([prompt], length, SamplingParams(temperature=0.8))
    )
    sys.stdout.flush()
    sys.stdout.buffer.write(prompt.encode("utf-8", "surrogateescape") + text.text + b"\n")
    sys.stdout.flush()


def print_translations(served: orchestration.RunResult, store: Store) -> None:
    """Serves the newest version, and prints how it translates some sentences of the eval split.

    Args:
      served: Model in the serving directory.
      store: Store with the evaluation of the model.
    """
    evaluation = store.latest(graph.TRANSLATION_EVALUATOR)
    rows = read_text(evaluation.file(translation_evaluator.TRANSLATIONS)).splitlines()
    sentences = [row.split("\t")[0] for row in rows[:SHOWN]]
    found = _answers(served, lambda client: translation.translate(client, sentences))
    for sentence, one in zip(sentences, found, strict=True):
        print(f"{sentence}\n  {one.text}")


def print_transcripts(served: orchestration.RunResult, store: Store) -> None:
    """Serves the newest version, and prints what it recognizes in recordings of the eval split.

    Args:
      served: Model in the serving directory.
      store: Store with the evaluation of the model.
    """
    examples = store.ancestor(store.latest(graph.RECOGNITION_EVALUATOR), "examples")
    recordings = list(first_recordings(examples.path, "eval", SHOWN))
    audio = [one.audio for one in recordings]
    found = _answers(served, lambda client: recognition.recognize(client, audio))
    for recording, one in zip(recordings, found, strict=True):
        print(f"{recording.shown}: {recording.transcript}\n  {one.text}")


def _answers(served: orchestration.RunResult, ask: Callable[[Client], list[T]]) -> list[T]:
    """Serves the newest version, asks it, and prints a heading of the answers."""
    with running_server(served.model_name, served.base_path) as client:
        (version,) = client.available_versions()
        answers = ask(client)
    console.print(f"\n{served.model_name}, version {version}, over gRPC:\n", markup=False)
    return answers
