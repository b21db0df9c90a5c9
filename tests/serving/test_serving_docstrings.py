"""The examples in the docstrings of serving, run against an exported model and a running server."""

import doctest
import importlib
import shutil

import pytest
import tensorflow as tf
from servers import is_elsewhere

from serving.client import AsyncClient, Client, SamplingParams, running_server
from serving.graph.export import export

DOCUMENTED = (AsyncClient, Client, SamplingParams, running_server, export)


@pytest.fixture
def places(server, base_path, monkeypatch):
    """What stands in the examples, and the test's own in its place."""
    # running_server prefers a stock server, which may be installed on this machine.
    monkeypatch.setattr(shutil, "which", lambda name: None)
    return {
        "127.0.0.1:8500": server.address,
        "/models/letters": str(base_path),
    }


@pytest.mark.slow
@pytest.mark.parametrize("documented", DOCUMENTED, ids=lambda documented: documented.__name__)
def test_examples_of_docstrings_run(documented, places):
    if documented is running_server and is_elsewhere():
        pytest.skip("needs a server of its own")
    text = documented.__doc__
    for written, own in places.items():
        text = text.replace(written, own)
    module = importlib.import_module(documented.__module__)
    names = {**vars(module), "tf": tf}
    test = doctest.DocTestParser().get_doctest(text, names, documented.__name__, None, None)
    assert test.examples, "the docstring has an example"
    report: list[str] = []
    outcome = doctest.DocTestRunner(verbose=False).run(test, out=report.append)
    assert outcome.failed == 0, "".join(report)
