"""What a served model says of itself, among its assets.

model_card.md    what it is, what it was trained on, how well it predicts
LICENSE.md       under which licence the text it was trained on is
"""

import math
from collections.abc import Mapping
from typing import Any

from model.config import ModelConfig
from model.text.code_points import TextVocabulary
from pipeline.data.corpus import LICENSES

_UNKNOWN = "not known to this pipeline; ask whoever published the text"


def documents(
    config: ModelConfig, vocabulary: TextVocabulary, corpus: str, counters: Mapping[str, Any]
) -> dict[str, str]:
    """The texts by file name.

    Args:
      config: the architecture.
      vocabulary: the characters.
      corpus: the name of what it was trained on.
      counters: the Trainer's.
    """
    nats = counters["validation_nats"]
    kind = "Grid LSTM" if config.architecture == "grid" else "stacked LSTM"
    tied = f", weights tied: {config.tied}" if config.architecture == "grid" else ""
    unit = "bytes" if vocabulary.unit == "bytes" else "code points"
    card = f"""# A character model of {corpus}

- Architecture: {kind}, {config.layers} layers of {config.units} units{tied};
  {counters["parameters"]:,} parameters.
- Characters: {vocabulary.size} {unit}, in `vocabulary.txt`; others are refused.
- Trained on: the training split of {corpus}, {counters["characters"]:,} characters in
  {counters["steps"]:,} steps.
- Predicts: {nats:.4f} nats ({nats / math.log(2):.4f} bits) per character on the part of the eval
  split that training watches.
- Licence of the text: see `LICENSE.md`.
- Not for: facts. It writes what looks like {corpus}, and may repeat passages of it.
"""
    license_text = f"The text of {corpus} is under: {LICENSES.get(corpus, _UNKNOWN)}.\n"
    return {"model_card.md": card, "LICENSE.md": license_text}
