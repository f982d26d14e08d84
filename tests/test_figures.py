import numpy as np
import pandas as pd
import pytest
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex, to_rgb

from course_lib import figures

# What eyes see that lack the cones for red, green or blue (Machado et al., 2009, severity 1).
SIGHT = {
    "full": np.eye(3),
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def seen(colors, sight="full"):
    """Colours in CIELAB (lightness, a, b), as somebody sees them."""
    light = np.array([to_rgb(color) for color in colors])
    light = np.where(light <= 0.04045, light / 12.92, ((light + 0.055) / 1.055) ** 2.4)
    xyz = np.clip(light @ np.transpose(SIGHT[sight]), 0, 1) @ TO_XYZ.T / TO_XYZ.sum(1)
    x, y, z = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


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


@pytest.mark.parametrize(("sight", "apart"), [*zip(SIGHT, (22, 17, 15, 14), strict=True)])
def test_batch_sizes_a_factor_of_four_apart_look_different(sight, apart):
    colors = [figures.batch_color(4**power) for power in range(8)]
    distances = np.linalg.norm(np.diff(seen([*colors, "#111111"], sight), axis=0), axis=1)
    assert distances.min() >= apart - 0.1


def test_larger_batches_are_darker():
    sizes = [*2 ** np.arange(15), "full"]
    lightness = seen(figures.batch_palette(sizes).values())[:, 0]
    assert (np.diff(lightness) < 0).all()
    assert lightness[0] < 80  # a line of it is seen on white


def test_a_batch_size_has_one_colour():
    assert figures.batch_color(64) == figures.batch_color(np.int64(64)) == figures.BATCH_COLORS[3]
    assert figures.batch_color(1) == figures.BATCH_COLORS[0]
    assert figures.batch_color(10**6) == figures.batch_color(4**7) == figures.BATCH_COLORS[-1]
    assert figures.batch_palette([1, "full"]) == {1: figures.BATCH_COLORS[0], "full": "#111111"}
    assert figures.batch_palette([1, 1437], full=1437) == {1: "#f5a800", 1437: "#111111"}


@pytest.mark.parametrize("wrong", [0, -4, float("nan"), "all", None])
def test_what_is_no_batch_size_has_no_colour(wrong):
    with pytest.raises(ValueError, match=f"batch_size={wrong!r} must be a number from 1 on"):
        figures.batch_color(wrong)


@pytest.fixture
def axes():
    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


def test_a_prediction_lies_behind_the_dots(axes):
    dots = axes.scatter([1, 2], [1, 2])
    line = figures.predicted(axes, [1, 2], [1, 3])
    assert line.get_linestyle() == "--" and line.get_label() == "predicted"
    assert line.zorder < dots.zorder
    assert figures.predicted(axes, [1], [1], label="law", linestyle=":").get_linestyle() == ":"


def runs(*curves):
    """A history of one measure: a curve a seed."""
    rows = [
        (seed, epoch, loss) for seed, curve in enumerate(curves) for epoch, loss in enumerate(curve)
    ]
    return pd.DataFrame(rows, columns=["seed", "epoch", "loss"])


def test_a_band_is_the_median_and_the_range_over_seeds(axes):
    line = figures.band(axes, runs([5, 1], [9, 2], [7, 6]), "epoch", "loss", color="red")
    assert line.get_xydata().tolist() == [[0, 7], [1, 2]]
    [area] = axes.collections
    corners = area.get_paths()[0].vertices
    assert {(0, 5), (0, 9), (1, 1), (1, 6)} == set(map(tuple, corners.tolist()))
    assert to_hex(area.get_facecolor()[0]) == to_hex("red")


def test_a_band_of_a_share_leaves_out_the_outer_seeds(axes):
    figures.band(axes, runs(*[[loss] for loss in range(101)]), "epoch", "loss", share=0.5)
    low, high = axes.collections[0].get_paths()[0].vertices[:, 1].take([0, 1])
    assert {low, high} <= {25, 75}


def test_a_band_ends_where_a_seed_diverges(axes):
    line = figures.band(axes, runs([1, 2, 3], [1, np.inf, np.nan]), "epoch", "loss")
    assert np.isnan(line.get_ydata()).tolist() == [False, True, True]


@pytest.mark.parametrize("share", [0, 1.5, -1])
def test_a_band_needs_a_share(axes, share):
    with pytest.raises(ValueError, match=f"share={share} must be above 0 and at most 1"):
        figures.band(axes, runs([1]), "epoch", "loss", share=share)


def test_a_band_needs_its_columns(axes):
    with pytest.raises(ValueError, match="must have the column 'step'; it has seed, epoch, loss"):
        figures.band(axes, runs([1]), "step", "loss")


def shown_ticks(axis):
    """The labels of the ticks between an axis's limits."""
    axis.figure.draw_without_rendering()
    low, high = axis.get_view_interval()
    ticks = zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True)
    return [label.get_text() for place, label in ticks if low <= place <= high]


def test_errors_have_ticks_in_percent(axes):
    axes.plot([0, 1, 2], [0.4, 0.004, 0])
    figures.error_axis(axes)
    axes.set_ylim(0.004, 0.5)
    ticks = ["0.5 %", "1 %", "2 %", "5 %", "10 %", "20 %", "50 %"]
    assert shown_ticks(axes.yaxis) == ticks


def test_batch_sizes_have_ticks_a_factor_of_four_apart(axes):
    axes.plot([1, 1024], [1, 1])
    figures.batch_axis(axes)
    assert shown_ticks(axes.xaxis) == ["1", "4", "16", "64", "256", "1024"]


def test_labels_stand_at_the_ends_of_lines_and_do_not_overlap(axes):
    for height in (1.0, 1.01, 1.02, 9.0):
        axes.plot([0, 1, 2], [0, height, np.nan], label=f"to {height}")
    axes.plot([0, 1], [0, 0])  # without a label
    axes.legend()
    figures.label_lines(axes, fontsize=10)
    axes.figure.set_dpi(150)  # as show does, with a resolution of its own
    axes.figure.draw_without_rendering()
    assert axes.get_legend() is None
    assert [text.xy for text in axes.texts] == [(1, 1.0), (1, 1.01), (1, 1.02), (1, 9.0)]
    assert [text.get_color() for text in axes.texts] == [
        line.get_color() for line in axes.lines[:4]
    ]
    boxes = [text.get_window_extent() for text in axes.texts]
    assert all(lower.y1 <= upper.y0 for lower, upper in zip(boxes, boxes[1:], strict=False))
    assert axes.texts[3].xyann[1] == pytest.approx(0)  # nothing is near it


def test_the_label_of_a_line_that_leaves_the_axes_stays_inside(axes):
    axes.plot([0, 1, 2, 3], [1, 2, 30, 4], label="out and in")
    axes.plot([0, 1, 2, 3], [1, 2, 30, 40], label="out")
    axes.plot([0, 1], [50, 50], label="never seen")
    axes.set_ylim(0, 10)
    figures.label_lines(axes)
    assert {text.get_text(): text.xy for text in axes.texts} == {
        "out and in": (3, 4),
        "out": (1, 2),
    }


def test_an_empty_plot_has_no_labels(axes):
    figures.label_lines(axes)
    assert not axes.texts


def test_log_axis_has_plain_numbers():
    figure, axes = plt.subplots()
    axes.plot([1, 1000], [20, 700])
    figures.log_axis(axes)
    figure.draw_without_rendering()
    texts = [text.get_text() for text in axes.get_yticklabels()]
    assert {"20", "50", "100", "200", "500"} <= set(texts)
    assert axes.get_yscale() == "log" and axes.get_xscale() == "linear"
    assert not axes.yaxis.get_minorticklocs().size
    plt.close(figure)
