"""lm-eval's harness, which asks the gateway for the likelihoods of texts and for texts."""

import json
import math

import pytest
from seeds import generator

from serving.client import SamplingParams

LETTERS = list("abc é")

TASK = """
task: letters_{kind}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: {kind}
doc_to_text: "{{{{context}}}}"
doc_to_target: "{{{{continuation}}}}"
target_delimiter: ""
{more}
"""
MORE = {
    "loglikelihood": """
metric_list:
  - metric: perplexity
    aggregation: perplexity
    higher_is_better: false
  - metric: acc
    aggregation: mean
    higher_is_better: true
""",
    "generate_until": """
generation_kwargs:
  until: ["\\n"]
  max_gen_toks: 30
  temperature: 0
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
""",
}


def words(size):
    """A text that neither begins nor ends with a space, as lm-eval moves those."""
    return "a" + "".join(generator().choice(LETTERS, size)) + "b"


@pytest.fixture
def evaluate(gateway, tmp_path, monkeypatch):
    """A function that evaluates documents, and returns the samples of lm-eval."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    import lm_eval
    from lm_eval.tasks import TaskManager

    def run(kind, documents):
        data = tmp_path / f"{kind}.jsonl"
        data.write_text("".join(json.dumps(one) + "\n" for one in documents))
        text = TASK.format(kind=kind, data=data, more=MORE[kind])
        (tmp_path / f"{kind}.yaml").write_text(text)
        outcome = lm_eval.simple_evaluate(
            model="local-completions",
            model_args={
                "model": "letters",
                "base_url": gateway.url("/v1/completions"),
                "max_length": 2000,
            },
            tasks=[f"letters_{kind}"],
            task_manager=TaskManager(include_path=str(tmp_path), include_defaults=False),
            batch_size=4,
            bootstrap_iters=0,
        )
        samples = outcome["samples"][f"letters_{kind}"]
        return sorted(samples, key=lambda sample: sample["doc_id"])

    return run


def test_likelihoods_are_those_of_the_grpc_client(evaluate, grpc_client):
    documents = [{"context": words(50), "continuation": words(20)} for _ in range(5)]
    greedy = {"context": "abc", "continuation": ""}
    (text,) = grpc_client.generate(["abc"], 6, SamplingParams(temperature=0.0))
    greedy["continuation"] = text.text.decode("utf-8", "replace")
    if "\ufffd" not in greedy["continuation"]:
        documents.append(greedy)
    samples = evaluate("loglikelihood", documents)
    assert len(samples) == len(documents)
    for document, sample in zip(documents, samples, strict=True):
        whole = document["context"] + document["continuation"]
        (score,) = grpc_client.score([whole])
        begin = len(document["context"].encode())
        expected = math.fsum(score.log_probabilities[begin:].tolist())
        ((found, is_greedy),) = sample["filtered_resps"]
        assert float(found) == pytest.approx(expected, rel=1e-6)
        assert is_greedy in (document is greedy, str(document is greedy))


def test_texts_are_those_of_the_grpc_client(evaluate, grpc_client):
    documents = [{"context": words(20), "continuation": "x"} for _ in range(3)]
    samples = evaluate("generate_until", documents)
    for document, sample in zip(documents, samples, strict=True):
        (text,) = grpc_client.generate(
            [document["context"]], 30, SamplingParams(temperature=0.0, stop="\n")
        )
        expected = text.text.decode("utf-8", "replace").split("\n")[0]
        assert sample["filtered_resps"] == [expected]
