"""Values that decide what is computed."""

import torch
from torch import nn

from .kinds import CANNOT, Head, alone, stacked


@alone("branching", CANNOT, quick=True)
class Branching(Head):
    """A branch that depends on values."""

    def middle(self, hidden):
        return hidden.relu() if hidden.mean() > 0 else hidden.tanh()


@alone("a number taken out of a tensor", CANNOT)
class Item(Head):
    def middle(self, hidden):
        return hidden.relu() / max(hidden.abs().max().item(), 1.0)


@alone("iterates until it rests", CANNOT)
class Equilibrium(Head):
    """A deep equilibrium: a loop whose length the values decide."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(16, 16)

    def middle(self, hidden):
        state = torch.zeros_like(hidden)
        for _ in range(30):
            last, state = state, (0.5 * self.inner(state) + hidden).tanh()
            if (state - last).abs().max() < 1e-2:
                break
        return state


@alone("by way of NumPy", CANNOT)
class ByNumPy(Head):
    def middle(self, hidden):
        return hidden * torch.from_numpy(hidden.detach().numpy() > 0)


@stacked("a branch on the size of the batch")
class Sized(Head):
    def middle(self, hidden):
        return hidden.relu() if len(hidden) > 10 else hidden.tanh()
