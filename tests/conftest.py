"""Small networks run on one thread, in the loops that the tests compare with, too."""

import torch

torch.set_num_threads(1)
