"""The documents that a served model has among its assets.

model_card.md    architecture, training text and validation loss
LICENSE.md       licence of the training text
"""

import math

from model.language_model.config import Architecture, ModelConfig
from model.text.code_points import TextVocabulary
from pipeline.corpora.corpus import LICENSES
from pipeline.training.properties import TrainerProperties

_NAMES: dict[Architecture, str] = {
    "grid": "Grid LSTM",
    "stacked": "stacked LSTM",
    "residual_lstm": "stacked LSTM with residual connections",
    "highway_lstm": "highway LSTM",
    "rhn": "recurrent highway network",
}
_UNKNOWN = "not known to this pipeline; ask whoever published the text"


def documents(
    config: ModelConfig, vocabulary: TextVocabulary, corpus: str, properties: TrainerProperties
) -> dict[str, str]:
    """Returns the documents of a model, by their file names.

    Args:
      config: Architecture of the model.
      vocabulary: Vocabulary of the model.
      corpus: Name of the corpus that it was trained on.
      properties: Properties that the Trainer reports.
    """
    nats = properties.validation_nats
    architecture = _NAMES[config.architecture]
    if config.cells != ModelConfig.cells:
        architecture += f" of the cells {', '.join(config.cells)}"
    if config.contexts:
        architecture += f" with the contexts {', '.join(config.contexts)}"
    tied = f", weights tied: {config.tied}" if config.architecture == "grid" else ""
    unit = "bytes" if vocabulary.unit == "bytes" else "code points"
    card = f"""# A character model of {corpus}

- Architecture: {architecture}, {config.layers} layers of {config.units} units{tied};
  {properties.parameters:,} parameters.
- Characters: {vocabulary.size} {unit}, in `vocabulary.txt`; others are refused.
- Trained on: the training split of {corpus}, {properties.characters:,} characters in
  {properties.steps:,} steps.
- Predicts: {nats:.4f} nats ({nats / math.log(2):.4f} bits) per character on the part of the eval
  split that training watches.
- Licence of the text: see `LICENSE.md`.
- Not for: facts. It writes what looks like {corpus}, and may repeat passages of it.
"""
    license_text = f"The text of {corpus} is under: {LICENSES.get(corpus, _UNKNOWN)}.\n"
    return {"model_card.md": card, "LICENSE.md": license_text}
