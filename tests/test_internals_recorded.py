"""What `internals` tells of recorded operations, and of the random state."""

import torch

from course_lib import internals


def several(x, weights):
    first, second = weights.split(2)
    torch._foreach_mul_([first, second], 2)
    return [x + first.view(2, 1).sum(), torch.addmm(second, x, x, beta=2)]


def test_what_recorded_operations_change_and_show():
    x = torch.ones(2, 2)
    graph = internals.recorded(several, [x, torch.ones(4)]).graph
    found = {node.name: node for node in graph.nodes}
    changed = {name: {each.name for each in internals.changed_by(n)} for name, n in found.items()}
    assert [names for names in changed.values() if names] == [{"getitem", "getitem_1"}]
    shown = {name: internals.shown_by(node) for name, node in found.items()}
    assert shown["view"] is found["getitem"] and shown["getitem"] is found["split"]
    assert shown["split"] is found["arg1_1"]
    assert not shown["add"] and not shown["addmm"] and not shown["arg1_1"] and not shown["output"]


def test_the_random_state_is_what_is_drawn_from():
    before = internals.random_state([])
    torch.rand(1)
    after = internals.random_state([])
    assert len(before) == len(after) == 1 and not torch.equal(before[0], after[0])
    assert torch.equal(after[0], torch.get_rng_state())
