"""Small networks run on one thread, in the loops that the tests compare with, too."""

import pytest
import torch

pytest.register_assert_rewrite("exercise_rules")

torch.set_num_threads(1)
