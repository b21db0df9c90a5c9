"""All stages after one another."""

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pipeline.data.corpus import Mixture
from pipeline.settings import Settings
from pipeline.stages import (
    evaluator,
    example_gen,
    example_validator,
    infra_validator,
    pusher,
    schema_gen,
    statistics_gen,
    trainer,
    transform,
)
from pipeline.store import lineage
from pipeline.store.artifacts import Store
from pipeline.training.checkpoints import InitialWeights


class Served(NamedTuple):
    """What a run leaves to be served.

    Attributes:
      model_name: the model.
      base_path: where its versions are.
      not_blessed: why the new model was not pushed; empty if it was.
    """

    model_name: str
    base_path: str
    not_blessed: str


def run_all(
    store: Store,
    text: Mixture,
    settings: Settings,
    serving_dir: str,
    model_name: str = "",
    eval_streams: int = 64,
    init_from: str = "",
    devices: Sequence[str] = (),
    batching: Mapping[str, int] = {},
    beam_options: Sequence[str] = (),
) -> Served:
    """Runs every stage whose artifact is not there yet.

    Args:
      store: where artifacts are.
      text: what to train on.
      settings: the preset.
      serving_dir: where models are pushed to.
      model_name: what the model is called; empty for the name of the corpus.
      eval_streams: see `evaluator.run`.
      init_from: see `trainer.run`.
      devices: see `trainer.run`.
      batching: see `pusher.run`.
      beam_options: see `example_gen.run`.

    Raises:
      InputError: for what a user must mend.
    """
    if init_from:
        InitialWeights(init_from)  # a mistake is said before the work begins, not after
    examples = example_gen.run(store, text, settings.data, beam_options)
    examples = transform.run(store, examples, settings.data, beam_options)
    statistics = statistics_gen.run(store, examples, settings.data.character_unit, beam_options)
    schema = schema_gen.run(store, statistics)
    trainer.require_enough_text(examples, schema, settings)
    example_validator.require_valid(example_validator.run(store, statistics, schema))
    model = trainer.run(store, examples, schema, settings, init_from, devices)
    name = model_name or text.name
    base_path = os.path.join(serving_dir, name)
    baseline = lineage.pushed_before(base_path, model)
    evaluation = evaluator.run(store, model, examples, statistics, baseline, eval_streams)
    if not evaluator.blessed(evaluation):
        return Served(name, base_path, evaluation.manifest.counters["not_blessed"])
    infra_blessing = infra_validator.run(store, model)
    pusher.run(store, model, evaluation, infra_blessing, base_path, batching)
    return Served(name, base_path, "")
