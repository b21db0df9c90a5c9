"""A limit on the time that a run of the tests takes: a pytest plugin.

With `--minutes` the files run in an order that derives from the seed, and no test begins after the
limit: those that are left are skipped. So runs that have too little time for all tests have each
run others.
"""

import time

import pytest
from seeds import derived_seed


class _TimeLimit:
    """The hooks of a run with a limit."""

    def __init__(self, minutes: float):
        self._end = time.monotonic() + 60 * minutes

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Shuffles the files, in the same way in each worker of pytest-xdist."""
        items.sort(key=lambda item: (derived_seed(item.path.name), item.path))

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


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Registers the hooks where there is a limit; the seed is there by then."""
    if config.option.minutes is not None:
        config.pluginmanager.register(_TimeLimit(config.option.minutes))
