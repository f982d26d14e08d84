"""How many calls are generated, and the balance of what came of them.

`make test` generates 500 calls, always the same ones; with HYPOTHESIS_PROFILE=stress there are
10,000, new ones each time. `@calls.examples(20)` makes 20 of the 500, and 400 of the 10,000.
"""

import faulthandler

import pytest

import calls

SECONDS_TO_A_HANG = 120  # of one test's C code, which no signal can stop


@pytest.fixture(autouse=True)
def watched():
    """Whatever hangs where Python does not come to its turn is shown and ended."""
    faulthandler.dump_traceback_later(SECONDS_TO_A_HANG * calls.SCALE, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="session", autouse=True)
def balanced():
    """A third of all calls or more must be right ones, or the generator finds nothing."""
    yield
    total, right = calls.BALANCE.total(), calls.BALANCE.of("right")
    assert total < 100 or right >= total / 3, f"{right} of {total} generated calls were right"


def pytest_terminal_summary(terminalreporter):
    if calls.BALANCE.total():
        terminalreporter.section("generated calls")
        terminalreporter.write_line(calls.BALANCE.table())
