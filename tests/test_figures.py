import pytest
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

from course_lib import figures


@pytest.fixture
def displayed(monkeypatch):
    calls = []
    monkeypatch.setattr(
        figures, "display", lambda *bundle, **options: calls.append((*bundle, options))
    )
    return calls


def test_show_keeps_the_alternative_text_and_closes_the_figure(displayed):
    figure, axes = plt.subplots()
    figures.show(axes, alt="An empty plot.")
    (bundle, options), (caption, _) = displayed
    assert bundle["image/png"].startswith(b"\x89PNG") and bundle["text/plain"] == "An empty plot."
    assert options["metadata"] == {"image/png": {"alt": "An empty plot."}}
    assert caption.data == "*An empty plot.*"
    assert not plt.fignum_exists(figure.number)


def test_show_needs_an_alternative_text(displayed):
    with pytest.raises(ValueError, match="alt=' ' must say in a sentence"):
        figures.show(plt.figure(), alt=" ")
    assert not displayed


def test_the_theme_is_the_course_s():
    with plt.rc_context():
        figures.use_theme()
        colours = plt.rcParams["axes.prop_cycle"].by_key()["color"]
        assert plt.rcParams["axes.grid"]
        assert [to_hex(each) for each in colours] == sns.color_palette("colorblind").as_hex()
