"""Random numbers of the tests, which all derive from one seed: a pytest plugin, and its generator.

The seed of a run is printed at its start. It is the same in each run, so that a failure comes from
the change that is tested; `--seed random` draws another, which looks for failures that depend on
the numbers, and `--seed N` replays it. A test's numbers derive from the seed and the id of the
test, so that it draws the same ones when it runs alone; those of a shared fixture derive from the
seed and the name of the fixture.
"""

import contextlib
import hashlib
import secrets
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest


class _Scope(NamedTuple):
    """What draws numbers of its own: a test, a fixture, or an example of Hypothesis.

    Attributes:
      name: Name of the scope.
      generator: Generator of the scope.
    """

    name: str
    generator: np.random.Generator


DEFAULT_SEED = 1

_run = {"seed": DEFAULT_SEED}
_scopes: list[_Scope] = []


def generator() -> np.random.Generator:
    """Returns the generator of the running test, or of the fixture that is being set up."""
    if not _scopes:
        raise RuntimeError("random numbers are drawn within a test or a fixture")
    return _scopes[-1].generator


def derived_seed(name: str) -> int:
    """Returns a seed of 32 bits that derives from the seed of the run and a name."""
    digest = hashlib.sha256(f"{_run['seed']} {name}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


@contextlib.contextmanager
def example(number: int) -> Iterator[None]:
    """Gives an example of Hypothesis the numbers that belong to a number that it has drawn.

    Hypothesis runs an example again, while it shrinks it, and must find it unchanged.

    Args:
      number: Number that the example has drawn.
    """
    with _scope(f"{_scopes[-1].name} example {number}"):
        yield


@contextlib.contextmanager
def _scope(name: str) -> Iterator[None]:
    _scopes.append(_Scope(name, np.random.default_rng(derived_seed(name))))
    try:
        yield
    finally:
        _scopes.pop()


def _seed_keras() -> None:
    """Seeds the generators of Keras, TensorFlow, NumPy and Python, if Keras is imported at all."""
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(derived_seed(_scopes[-1].name))


def _seed(text: str) -> int:
    """Returns the seed that an option names, or one that is drawn anew."""
    return secrets.randbits(32) if text == "random" else int(text)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option."""
    parser.addoption(
        "--seed",
        type=_seed,
        default=DEFAULT_SEED,
        help="Seed of all random numbers, or `random` to draw one. Default: %(default)s.",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Sets the seed; a worker of pytest-xdist has that of the process that started it."""
    config.option.seed = getattr(config, "workerinput", config.option.__dict__)["seed"]
    _run["seed"] = config.option.seed
    if getattr(config.option, "hypothesis_seed", None) is None:
        config.option.hypothesis_seed = str(derived_seed("Hypothesis"))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Passes the seed on to a worker of pytest-xdist, which gets no more than the command line."""
    node.workerinput["seed"] = _run["seed"]


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Prints the seed, as `pytest_report_header` does not with -q."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter and not hasattr(session.config, "workerinput"):
        reporter.write_line(f"seed: {_run['seed']} (--seed {_run['seed']} replays this run)")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Gives a test numbers of its own."""
    with _scope(item.nodeid):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef, request: pytest.FixtureRequest
) -> Iterator[None]:
    """Gives a shared fixture numbers of its own, whichever test needs it first."""
    if fixturedef.scope == "function":
        return (yield)
    name = f"{request.node.nodeid} {fixturedef.argname} {getattr(request, 'param_index', 0)}"
    with _scope(name):
        _seed_keras()
        return (yield)


@pytest.fixture(autouse=True)
def seeded_keras() -> None:
    """Seeds Keras for every test."""
    _seed_keras()
