"""Examples of a corpus that a trained model is applied to, and which it was not trained on."""

import dataclasses
import os

from pipeline.corpora import corpus as corpora
from pipeline.corpora.discovery import Rules
from pipeline.settings import DataConfig
from pipeline.stages import example_gen, transform
from pipeline.store.artifacts import Artifact, Store

ALL_IN_EVAL_SPLIT = DataConfig(train_fraction=1e-15)
"""Settings by which the training split has no character: a corpus has fewer than 10^15."""


def examples_of(
    store: Store,
    folder: str,
    corpus: str,
    trained_on: Artifact,
    data: DataConfig = DataConfig(),  # noqa: B008  it cannot be changed
) -> tuple[Store, Artifact]:
    """Writes the examples of a corpus, separated and transformed as those that were trained on.

    They are in a root of their own, so that no later stage takes them as its newest input.

    Args:
      store: Store of the examples that were trained on.
      folder: Name of the root, which is a directory of the store's.
      corpus: Corpus, as in `RunConfig`.
      trained_on: Artifact of ExampleGen or Transform.
      data: Rules by which the text is split and sharded, but for what separates documents.

    Returns:
      The store of that root, and an artifact of ExampleGen or Transform.

    Raises:
      InputError: If the corpus is unusable.
    """
    apart = Store(os.path.join(store.root, folder))
    text = corpora.resolve(corpus, Rules(left_out=(store.root,)))
    is_transformed = trained_on.manifest.stage == transform.NAME
    generated = store.ancestor(trained_on, "examples") if is_transformed else trained_on
    separate = generated.manifest.parameters.get("separate_documents", False)
    data = dataclasses.replace(data, separate_documents=separate)
    examples = example_gen.run(apart, text, data)
    if is_transformed:
        transformations = DataConfig(**trained_on.manifest.parameters)
        examples = transform.run(apart, examples, transformations)
    return apart, examples
