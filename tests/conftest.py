"""Small networks run on one thread, in the loops that the tests compare with, too."""

import pytest
import torch

pytest.register_assert_rewrite("exercise_rules")


def pytest_runtest_setup():
    """Begin each test with one thread, however many the one before has left."""
    torch.set_num_threads(1)
