"""Which cells a replication executes."""

from slicing import bound, changed, claimed, imported, needed, used, used_by_functions

LESSON = [
    "import numpy as np\nfrom course_lib import fit",
    "def train(size):\n    return fit(network, size)",
    "network = 3",
    "rounds = [timed(size) for size in (1, 2)]",
    "history = {}",
    "history['small'] = train(4)",
    "for size in (1, 2):\n    print(history[size], rounds)",
    "np.round(rounds)",
    "rows = []",
    "rows.append(history)",
    'claim("3.1", "Time", rounds)',
    'claim("3.2", "Learning", [np.log(size) for size in rows])',
]


def cells(*places):
    return [LESSON[place] for place in places]


def test_a_claim_needs_what_its_names_were_made_of_and_changed_by():
    assert needed(LESSON, {"3.2"}) == cells(0, 1, 2, 4, 5, 8, 9, 11)
    assert needed(LESSON, {"3.1"}) == cells(3, 10)
    assert needed(LESSON, {"3.1", "3.2"}) == cells(0, 1, 2, 3, 4, 5, 8, 9, 10, 11)
    assert needed(LESSON, {"9.9"}) == []


def test_what_a_cell_uses():
    assert used("for size in sizes:\n    print(size)") == {"sizes", "print"}
    assert used("def f(x):\n    return x + offset") == {"offset"}
    assert used("offset = 1\ndef f(x):\n    return x + offset") == set()
    assert used("total = total + 1") == {"total"}
    assert used_by_functions("total + 1\nf = lambda: offset") == {"offset"}


def test_what_a_cell_binds_and_changes():
    text = "import x.y\nfrom u import v as w\na.b = 1\nc['d'].e += 1\nf.g(h)\nprint(i)\nj = k"
    assert bound(text) == {"x", "w", "j"}
    assert imported(text) == {"x", "w"}
    assert changed(text) == {"a", "c", "f"}


def test_claims_are_told_by_their_numbers():
    assert claimed('claim("3.1", "S", less(a, b))\nclaim(number, "S", e)') == {"3.1"}
