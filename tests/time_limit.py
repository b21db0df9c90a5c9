"""A limit on the time that a run of the tests takes: a pytest plugin.

With `--minutes` the files run in an order that each run draws anew, and no test begins after the
limit: those that are left are skipped. So runs that have too little time for all tests have each
run others. The numbers of a test do not depend on the order.
"""

import random
import time
import uuid

import pytest


class _TimeLimit:
    """The hooks of a run with a limit, whose name decides over the order."""

    def __init__(self, minutes: float, run: str):
        self._end = time.monotonic() + 60 * minutes
        self._run = run

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Shuffles the files, in the same way in each worker of pytest-xdist."""
        paths = sorted({item.path for item in items})
        random.Random(self._run).shuffle(paths)
        places = {path: place for place, path in enumerate(paths)}
        items.sort(key=lambda item: places[item.path])

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        """Skips a test that would begin after the limit."""
        if time.monotonic() > self._end:
            pytest.skip("the time of --minutes is over")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option."""
    parser.addoption(
        "--minutes", type=float, help="Minutes after which no test begins. Default: no limit."
    )


def pytest_configure(config: pytest.Config) -> None:
    """Registers the hooks where there is a limit; pytest-xdist names a run alike in its workers."""
    if config.option.minutes is not None:
        of_run = getattr(config, "workerinput", {})
        run = of_run.get("testrunuid") or uuid.uuid4().hex
        config.pluginmanager.register(_TimeLimit(config.option.minutes, run))
