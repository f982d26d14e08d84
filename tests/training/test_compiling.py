"""When operations are recorded and compiled, where they are kept, and that they stay the same."""

import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

import course_lib
from course_lib import internals
from course_lib.training import compiling
from course_lib.training.compiling import COMPILING_PAYS, RECORDING_PAYS, Graph

WEIGHTS = torch.linspace(-1, 1, 12).view(3, 4)


def layer(x, bias):
    """Changes its second argument, too."""
    hidden = (x @ WEIGHTS.T + bias).detach()
    bias.add_(0.5)
    return [hidden.tanh().view(hidden.shape), hidden.sum()]


def example():
    return [torch.linspace(0, 1, 20).view(5, 4), torch.ones(3)]


def results(function):
    """Outputs and the argument that is changed, after two calls."""
    x, bias = example()
    first, second = function(x, bias), function(x, bias)
    return [*first, *second, bias]


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A folder with the one file that is compiled in these tests."""
    folder = tmp_path_factory.mktemp("inductor")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TORCHINDUCTOR_CACHE_DIR", str(folder))
        graph = Graph(layer)
        graph.prepare(example(), COMPILING_PAYS)
    assert graph.compiled
    return folder


@pytest.fixture
def never(monkeypatch):
    """Compiling fails, as without a compiler; counts the trials."""
    trials = []

    def fail(*arguments):
        trials.append(arguments)
        raise RuntimeError("no working C++ compiler")

    monkeypatch.setattr(internals, "compiled", fail)
    return trials


@pytest.fixture(autouse=True)
def own_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))


def test_recording_starts_where_it_pays(never):
    graph = Graph(layer)
    for calls in (0, 1, RECORDING_PAYS - 1):
        graph.prepare(example(), calls)
        assert graph.operations is None and graph.function is layer
    graph.prepare(example(), RECORDING_PAYS)
    operations = graph.operations
    assert operations is not None and not graph.compiled and graph.seconds > 0
    graph.prepare(example(), RECORDING_PAYS)
    assert graph.operations is operations, "recorded once"


def test_compiling_starts_where_it_pays(never):
    graph = Graph(layer)
    graph.prepare(example(), COMPILING_PAYS - 1)
    assert graph.operations and not never
    with pytest.warns(UserWarning, match="could not be compiled, .* slower: .*no working C"):
        graph.prepare(example(), COMPILING_PAYS)
    assert len(never) == 1 and not graph.compiled


def test_without_a_compiler_there_is_one_warning_and_the_recorded_way(never):
    graph = Graph(layer)
    with pytest.warns(UserWarning, match="could not be compiled") as caught:
        for _ in range(3):
            graph.prepare(example(), COMPILING_PAYS)
    assert len(caught) == len(never) == 1
    torch.testing.assert_close(results(graph), results(layer))


def test_what_cannot_be_recorded_costs_one_warning_and_is_called(never):
    def branching(x, bias):
        return [x if x.sum() > 0 else -x]

    graph = Graph(branching)
    with pytest.warns(UserWarning, match="could not be recorded, so training is slower") as caught:
        for _ in range(3):
            graph.prepare(example(), COMPILING_PAYS)
    assert len(caught) == 1 and not never and graph.operations is None
    assert torch.equal(graph(*example())[0], example()[0])


def test_preparing_leaves_the_example_alone():
    given = example()
    Graph(layer).prepare(given, RECORDING_PAYS)
    assert all(torch.equal(a, b) for a, b in zip(given, example(), strict=True))


def test_idle_operations_are_left_out():
    graph = Graph(layer)
    graph.prepare(example(), RECORDING_PAYS)
    targets = {str(node.target) for node in graph.operations.graph.nodes}
    left = {str(node.target) for node in graph.function.__self__.graph.nodes}
    assert "aten.detach.default" in targets - left and "aten.add_.Tensor" in left
    torch.testing.assert_close(results(graph), results(layer))


def doubled(x):
    return [(2 * x).view(-1)]


def changed(x):
    """By way of a view."""
    result = 2 * x
    result.view(-1).add_(1)
    return [result]


def test_recorded_views_take_tensors_that_lie_otherwise_in_memory():
    x = torch.arange(6.0).view(2, 3)
    graph = Graph(doubled)
    graph.prepare([x], RECORDING_PAYS)
    for given in (x, x.T.contiguous().T):
        torch.testing.assert_close(graph(given), [2 * x.flatten()])


def test_a_view_that_is_changed_in_place_stays_one():
    """What is changed would be a copy otherwise, and nobody would see the change."""
    x = torch.arange(6.0).view(2, 3)
    graph = Graph(changed)
    graph.prepare([x], RECORDING_PAYS)
    torch.testing.assert_close(graph(x), [2 * x + 1])
    with pytest.raises(RuntimeError, match="view"):
        graph(x.T.contiguous().T)


def test_an_unwritable_folder_costs_a_warning(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in its place")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "file"))
    graph = Graph(layer)
    with pytest.warns(UserWarning, match="could not be compiled"):
        graph.prepare(example(), COMPILING_PAYS)
    torch.testing.assert_close(results(graph), results(layer))


def file_of(function, given):
    return compiling._file(internals.recorded(function, given), given).name


def test_the_file_is_another_for_other_operations_shapes_and_versions(monkeypatch):
    def other(x, bias):
        return [(x @ WEIGHTS.T + bias).sigmoid()]

    def constant(x, bias):
        return [(x @ (WEIGHTS + 1).T + bias).tanh()]

    def attribute(weights):
        return lambda x, bias: [x @ weights.T + bias]

    x, bias = example()
    names = [
        file_of(layer, [x, bias]),
        file_of(other, [x, bias]),
        file_of(constant, [x, bias]),
        file_of(attribute(WEIGHTS.clone()), [x, bias]),
        file_of(attribute(WEIGHTS * 2), [x, bias]),
        file_of(layer, [x[:4], bias]),
        file_of(layer, [x.T.contiguous().T, bias]),
        file_of(lambda *given: layer(*given), [x, bias]),
    ]
    assert names[0] == names[-1] == file_of(layer, example())
    monkeypatch.setattr(torch, "__version__", "99.0")
    names[-1] = file_of(layer, [x, bias])
    monkeypatch.setattr(compiling, "_processor", lambda: "flags: none")
    names.append(file_of(layer, [x, bias]))
    assert len(set(names)) == len(names)


def test_the_file_lies_in_the_folder_that_is_named(tmp_path, monkeypatch):
    operations = internals.recorded(layer, example())
    assert compiling._file(operations, example()).parent == tmp_path / "compiled"
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    assert "course_lib" in compiling._file(operations, example()).parts


@pytest.mark.slow
def test_eager_recorded_and_compiled_agree(shared, monkeypatch):
    recorded, loaded = Graph(layer), Graph(layer)
    recorded.prepare(example(), RECORDING_PAYS)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(shared))
    loaded.prepare(example(), RECORDING_PAYS)
    assert loaded.compiled and not recorded.compiled
    for graph in (recorded, loaded):
        torch.testing.assert_close(results(graph), results(layer), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_what_is_kept_is_loaded_without_a_compiler(shared, monkeypatch, never):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(shared))
    graph = Graph(layer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        graph.prepare(example(), RECORDING_PAYS)
        assert graph.compiled
        graph.prepare(example(), COMPILING_PAYS)
    assert not never and graph.seconds < 2


@pytest.mark.slow
def test_nothing_unfinished_is_left(shared):
    assert [each.suffix for each in (shared / "compiled").iterdir()] == [".so"]


@pytest.mark.slow
def test_a_network_of_many_shapes_is_recorded_for_each(shared):
    network = nn.Linear(4, 3)
    graphs = [Graph(lambda x: [network(x)]) for _ in range(3)]
    for size, graph in enumerate(graphs, 1):
        x = torch.ones(size, 4)
        graph.prepare([x], RECORDING_PAYS)
        torch.testing.assert_close(graph(x)[0], network(x))


DAMAGED = """
import sys, warnings
sys.path.insert(0, {tests!r})
import torch
from test_compiling import Graph, RECORDING_PAYS, example, layer, results

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    graph = Graph(layer)
    graph.prepare(example(), RECORDING_PAYS)
    graph.prepare(example(), RECORDING_PAYS)
ours = [str(each.message) for each in caught if "operations could not be" in str(each.message)]
print(ours, graph.compiled)
assert len(ours) == 1 and "could not be loaded" in ours[0] and not graph.compiled
torch.testing.assert_close(results(graph), results(layer))
print("works")
"""
DAMAGE = {
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "a twentieth": lambda content: content[: len(content) // 20],
    "text": lambda content: b"<html>" * 1000,
    "without its last byte": lambda content: content[:-1],
    "a bit": lambda content: content[:-900] + bytes([content[-900] ^ 1]) + content[-899:],
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_costs_one_warning(shared, tmp_path, damage):
    """In a process of its own: where the loader believes the file, the process may end."""
    (file,) = (shared / "compiled").iterdir()
    broken = tmp_path / "compiled" / file.name
    broken.parent.mkdir()
    broken.write_bytes(damage(file.read_bytes()))
    tests, root = Path(__file__).parent, Path(course_lib.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", DAMAGED.format(tests=str(tests))],
        env={"PYTHONPATH": str(root), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.endswith("works\n"), (done.returncode, done.stdout, done.stderr[-2000:])
