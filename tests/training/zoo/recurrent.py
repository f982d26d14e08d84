"""What reads a sequence: recurrent layers, and attention."""

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from .kinds import CANNOT, RANDOM, alone, stacked


class Recurrent(nn.Module):
    """A recurrent layer over the rows of an image."""

    def __init__(self, kind=nn.LSTM, batch_first=True, **options):
        super().__init__()
        self.rows = kind(8, 12, batch_first=batch_first, **options)
        self.last = nn.Linear(24 if options.get("bidirectional") else 12, 10)

    def forward(self, x):
        rows = x.flatten(1, 2)
        if self.rows.batch_first:
            return self.last(self.rows(rows)[0][:, -1])
        return self.last(self.rows(rows.transpose(0, 1))[0][-1])


alone("LSTM", CANNOT, quick=True)(Recurrent)
alone("GRU", CANNOT, quick=True)(partial(Recurrent, nn.GRU))
alone("RNN", CANNOT)(partial(Recurrent, nn.RNN))
alone("LSTM, two layers, both directions", CANNOT)(
    partial(Recurrent, num_layers=2, bidirectional=True)
)
alone("GRU, time first", CANNOT)(partial(Recurrent, nn.GRU, batch_first=False))
alone("LSTM with dropout", RANDOM, quick=True)(partial(Recurrent, num_layers=2, dropout=0.3))
alone("GRU with dropout", RANDOM)(partial(Recurrent, nn.GRU, num_layers=2, dropout=0.3))


class Cells(nn.Module):
    """A cell in a loop over the rows."""

    def __init__(self, kind):
        super().__init__()
        self.cell, self.last = kind(8, 12), nn.Linear(12, 10)

    def forward(self, x):
        state = None
        for row in x.flatten(1, 2).unbind(1):
            state = self.cell(row, state)
        return self.last(state[0] if isinstance(state, tuple) else state)


stacked("RNNCell in a loop")(partial(Cells, nn.RNNCell))
stacked("GRUCell in a loop")(partial(Cells, nn.GRUCell))
alone("LSTMCell in a loop", CANNOT)(partial(Cells, nn.LSTMCell))


@stacked("own recurrent cell")
class OwnCell(Cells):
    def __init__(self):
        super().__init__(lambda inputs, state: nn.Linear(inputs + state, state))

    def forward(self, x):
        state = x.new_zeros(len(x), 12)
        for row in x.flatten(1, 2).unbind(1):
            state = self.cell(torch.cat([row, state], 1)).tanh()
        return self.last(state)


# Attention.


class Attending(nn.Module):
    """A transformer's encoder layer over the rows of an image."""

    def __init__(self, dropout: float = 0.0):
        super().__init__()
        # Without biases: that of the keys has no influence, so its gradient is rounding error.
        options = {"dim_feedforward": 16, "dropout": dropout, "batch_first": True, "bias": False}
        self.layer, self.last = nn.TransformerEncoderLayer(8, 2, **options), nn.Linear(64, 10)

    def forward(self, x):
        return self.last(self.layer(x.flatten(1, 2)).flatten(1))


stacked("attention", quick=True)(Attending)
alone("attention with dropout", RANDOM, quick=True)(partial(Attending, 0.2))


class MultiHead(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.heads = nn.MultiheadAttention(8, 2, batch_first=True, **options)
        self.last = nn.Linear(64, 10)

    def forward(self, x):
        rows = x.flatten(1, 2)
        return self.last(self.heads(rows, rows, rows)[0].flatten(1))


stacked("multi-head attention")(MultiHead)
alone("multi-head attention with dropout", RANDOM)(partial(MultiHead, dropout=0.2))


@stacked("causal attention")
class Causal(MultiHead):
    def forward(self, x):
        rows, later = x.flatten(1, 2), torch.ones(8, 8, dtype=torch.bool).triu(1)
        return self.last(self.heads(rows, rows, rows, attn_mask=later)[0].flatten(1))


@stacked("rotary positions")
class Rotary(MultiHead):
    def forward(self, x):
        rows, angles = x.flatten(1, 2), torch.arange(8.0)[:, None] / 10 ** torch.arange(4.0)
        left, right = rows.chunk(2, 2)
        turned = torch.cat(
            [
                left * angles.cos() - right * angles.sin(),
                left * angles.sin() + right * angles.cos(),
            ],
            2,
        )
        attended = F.scaled_dot_product_attention(turned, turned, rows)
        return self.last(self.heads.out_proj(attended).flatten(1))


@stacked("encoder and decoder")
class EncoderDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        sizes = {"nhead": 2, "num_encoder_layers": 1, "num_decoder_layers": 1}
        options = {"dim_feedforward": 16, "dropout": 0.0, "batch_first": True}
        self.both, self.last = nn.Transformer(8, **sizes, **options), nn.Linear(32, 10)

    def forward(self, x):
        rows = x.flatten(1, 2)
        return self.last(self.both(rows[:, :4], rows[:, 4:]).flatten(1))


@stacked("vision transformer")
class VisionTransformer(nn.Module):
    """Patches, a class token, learned places, one layer."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(1, 8, 4, 4)
        self.token, self.places = nn.Parameter(torch.zeros(8)), nn.Parameter(torch.zeros(5, 8))
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, F.gelu, batch_first=True)
        self.last = nn.Linear(8, 10)

    def forward(self, x):
        patches = self.patches(x).flatten(2).mT
        tokens = torch.cat([self.token.expand(len(x), 1, -1), patches], 1)
        return self.last(self.layer(tokens + self.places)[:, 0])


@stacked("attention pooling")
class Pooling(nn.Module):
    """A learned query asks all rows."""

    def __init__(self):
        super().__init__()
        self.query, self.keys = nn.Parameter(torch.randn(8)), nn.Linear(8, 8)
        self.last = nn.Linear(8, 10)

    def forward(self, x):
        rows = x.flatten(1, 2)
        weights = (self.keys(rows) @ self.query).softmax(1)
        return self.last(torch.einsum("br,brd->bd", weights, rows))


@stacked("MLP-Mixer")
class Mixer(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.rows = nn.LayerNorm(8), nn.Linear(8, 8)
        self.columns, self.last = nn.Linear(8, 8), nn.Linear(64, 10)

    def forward(self, x):
        x = x.flatten(1, 2)
        x = x + self.rows(self.norm(x).mT).mT.relu()
        return self.last((x + self.columns(self.norm(x)).relu()).flatten(1))
