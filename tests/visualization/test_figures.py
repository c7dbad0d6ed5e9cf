"""The figures: what they show by their numbers, and the files that the commands write."""

from pathlib import Path

import numpy as np
import small_subject as small
from matplotlib.figure import Figure
from small_subject import FROM_LMDB, check_files, complaint

from caffetools import magnitudes, prototxt
from caffetools.magnitudes import Magnitude
from caffetools.plots.style import figure_file
from caffetools.visualization import (
    activations,
    embedding,
    gradients,
    graph,
    histograms,
    kernels,
    saliency,
    top5,
)

# --- kernels ----------------------------------------------------------------------------


def test_kernels_before_and_after_share_a_scale_and_the_difference_has_its_own():
    before, after = np.ones((2, 1, 2, 2)), np.full((2, 1, 2, 2), -1.5)
    display = kernels.KernelsDisplay.from_weights("conv1", before, after)
    assert [panel.limit for panel in display.panels] == [1.5, 1.5, 2.5]
    assert [panel.title for panel in display.panels] == [
        "before\nscale ±1.5",
        "after (changed by 250.0%)\nscale ±1.5",
        "difference\non a scale of its own, ±2.5",
    ]
    np.testing.assert_array_equal(display.panels[2].kernels, after - before)
    pictures = [
        ax.images[0].get_array() for ax in display.plot(list(Figure().subplots(1, 3)))
    ]  # fmt: skip
    assert [picture[0, 0] for picture in pictures] == [0.5 + 1 / 3, 0.0, 0.0]


def test_kernels_that_did_not_change_are_middle_gray_in_the_difference():
    same = np.full((2, 3, 2, 2), 0.7)
    display = kernels.KernelsDisplay.from_weights("conv1", same, same)
    assert display.panels[1].title.startswith("after (unchanged)")
    assert display.panels[2].title == "no difference"
    grid = kernels.as_grid(display.panels[2].kernels, display.panels[2].limit)
    assert (grid[:2, :2] == 0.5).all()
    for still in (np.zeros((2, 1, 2, 2)), np.zeros((2, 5, 2, 2))):
        shown = kernels.KernelsDisplay.from_weights("conv1", None, still).panels
        assert [panel.title for panel in shown] == ["after"]
        assert (kernels.as_grid(still, shown[0].limit)[:2, :2] == 0.5).all()


def test_kernels_of_other_shapes_are_not_compared():
    said = complaint(
        kernels.KernelsDisplay.from_weights, "conv1", np.ones((2, 1, 2, 2)), np.ones((1, 1, 2, 2))
    )
    assert "'conv1': kernels before are (2, 1, 2, 2), after (1, 1, 2, 2)" in said


def test_the_first_convolution_is_found():
    small.write()
    layer, found = kernels.read_kernels(Path("after.caffemodel"))
    assert layer == "conv1"
    np.testing.assert_array_equal(found, small.weights(0)["conv1"][0])
    said = complaint(kernels.read_kernels, Path("after.caffemodel"), "conv2")
    assert "no convolution conv2 with kernels to show; it has conv1" in said
    Path("cut").write_bytes(Path("after.caffemodel").read_bytes()[:-5])
    assert "expected a .caffemodel" in complaint(kernels.read_kernels, Path("cut"))


def test_kernels_files():
    for channels in (1, 3, 7):
        for seed, name in enumerate(("before", "after")):
            shapes = {"conv1": (5, channels, 4, 4)}
            small.write_model(name, small.weights(seed, shapes))
        start = ["--before", "before"] if channels == 3 else []
        check_files(kernels.main, [*start, "--after", "after"])


def test_a_net_without_convolutions_has_a_figure_that_says_so():
    small.write_model("model", {"fc": small.weights(0)["fc"]})
    check_files(kernels.main, ["--after", "model"])
    assert "no convolution fc" in complaint(
        kernels.main, ["--after", "model", "--layer", "fc", "--output", "a.png"]
    )


# --- figures of a net and images --------------------------------------------------------


def test_files_of_what_a_net_makes_of_images():
    small.write()
    named = ["--classes", "classes.txt"]
    check_files(activations.main, [*FROM_LMDB, "--blob", "conv1", "prob"])
    check_files(activations.main, [*FROM_LMDB, "--count", "2", "--blob", "fc"])
    check_files(saliency.main, [*FROM_LMDB, "--count", "1", *named])
    check_files(embedding.main, [*FROM_LMDB, *named, "--table", "points.csv"])
    check_files(top5.main, [*FROM_LMDB, "--count", "1", *named])
    check_files(histograms.main, [*FROM_LMDB, "--before", "before.caffemodel"])
    header, *rows = Path("points.csv").read_text().splitlines()
    assert header == "image,label,first,second"
    assert [row.split(",")[:2] for row in rows[:4]] == [
        ["entry 0", "0"], ["entry 1", "1"], ["entry 2", "2"], ["entry 3", "0"],
    ]  # fmt: skip


def test_too_many_panels_and_classes_that_are_not_there_are_refused():
    small.write()
    before = activations._LONGEST, activations.panels_of
    activations._LONGEST, activations.panels_of = 4.0, None  # the net is not run
    said = complaint(activations.main, [*FROM_LMDB, "--output", "a.png"])
    activations._LONGEST, activations.panels_of = before
    assert "7 blobs of 1 images are more than fit a picture" in said
    said = complaint(saliency.main, [*FROM_LMDB, "--label", "3", "--output", "a.png"])
    assert "--label 3: expected 0 to 2" in said
    assert not Path("a.png").exists()


def test_the_ending_of_an_output_is_judged_before_any_work():
    for command, arguments in [
        (activations, [*FROM_LMDB]),
        (embedding, [*FROM_LMDB]),
        (gradients, ["--gradients", "none.csv"]),
        (graph, ["--net", "none.prototxt"]),
        (histograms, [*FROM_LMDB]),
        (kernels, ["--after", "none.caffemodel"]),
        (saliency, [*FROM_LMDB]),
        (top5, [*FROM_LMDB]),
    ]:
        said = complaint(command.main, [*arguments, "--output", "a.png", "b.jpg"])
        assert said == "b.jpg: expected a file named .png or .svg to draw into"


def test_a_figure_of_more_pixels_than_can_be_drawn_is_told():
    def enter(width, height, *names):
        with figure_file([Path(name) for name in names], width, height):
            pass

    for width, height, said in [
        (1, 437, "150 x 65550 pixels"),
        (1e5, 1, "15000000 x 150 pixels"),
        (400, 400, "60000 x 60000 pixels"),
    ]:
        complained = complaint(enter, width, height, "a.svg", "a.png")
        assert complained.startswith("a.png: the figure would have " + said), complained
        assert complained.endswith("let it show less, or write an .svg alone")
    assert not list(Path().iterdir())
    enter(1, 437, "a.svg")
    enter(0.01, 436, "b.png")
    assert Path("a.svg").exists() and Path("b.png").exists()


def test_maps_are_tiles_and_vectors_bars_or_lines():
    axes = Figure().subplots(1, 3)
    maps = np.arange(3 * 2 * 2, dtype=np.float32).reshape(3, 2, 2)
    activations.Panel("conv", maps).plot(axes[0])
    picture = axes[0].images[0].get_array()
    assert picture.shape == (5, 5)
    assert abs(picture[0, 3] - 4 / 11) < 1e-6 and picture[3, 3] == 1
    activations.Panel("prob", np.array([0.25, 0.75])).plot(axes[1])
    assert [bar.get_height() for bar in axes[1].patches] == [0.25, 0.75]
    activations.Panel("fc", np.arange(61.0)).plot(axes[2])
    np.testing.assert_array_equal(axes[2].lines[0].get_ydata(), np.arange(61.0))


def test_the_true_class_is_hatched_and_the_likeliest_on_top():
    (likely,) = top5.likeliest(np.array([[0.1, 0.7, 0.2]]))
    ax = top5.plot_bars(
        likely, ["ant", "a bee with a name that is long", "cat"], 2, Figure().subplots()
    )
    assert [bar.get_width() for bar in ax.patches] == [0.7, 0.2, 0.1]
    assert [bool(bar.get_hatch()) for bar in ax.patches] == [False, True, False]
    assert [text.get_text() for text in ax.get_yticklabels()] == [
        "a bee with a name…",
        "cat",
        "ant",
    ]
    assert [text.get_text() for text in ax.texts] == ["70.0%", "20.0%", "10.0%"]
    low, high = ax.get_ylim()
    assert low > high


def test_classes_differ_by_marker_and_are_named():
    points = embedding.Embedding(np.arange(8.0).reshape(4, 2), np.array([0.6, 0.25]))
    ax = embedding.plot_embedding(points, [1, 0, 1, 2], ["ant", "bee", "cat"], Figure().subplots())
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["ant", "bee", "cat"]
    np.testing.assert_array_equal(ax.collections[1].get_offsets(), [[0, 1], [4, 5]])
    assert "60% of the variance" in ax.get_xlabel() and "25%" in ax.get_ylabel()
    shapes = [tuple(map(tuple, each.get_paths()[0].vertices)) for each in ax.collections]
    assert len(set(shapes)) == 3
    unnamed = embedding.plot_embedding(points, [-1] * 4, ["ant"], Figure().subplots())
    assert unnamed.get_legend() is None


def test_histograms_tell_before_from_after_by_dashes():
    before, after = np.array([0.0, 1.0]), np.array([1.0, 1.0])
    histogram = histograms.Histogram.of(before, after, bins=2)
    ax = histogram.plot("fc", Figure().subplots())
    lines = {line.get_label(): line for line in ax.lines}
    np.testing.assert_array_equal(lines["after"].get_ydata(), [0, 0, 0, 1, 1, 0])
    np.testing.assert_array_equal(lines["before"].get_ydata(), [0, 0.5, 0.5, 0.5, 0.5, 0])
    np.testing.assert_array_equal(lines["after"].get_xdata(), [0, 0, 0.5, 0.5, 1, 1])
    assert lines["before"].get_linestyle() != lines["after"].get_linestyle()


# --- the graph --------------------------------------------------------------------------

FORKED = """
layer { name: "data" type: "Data" top: "data" top: "label" }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  param { lr_mult: 0 } param { lr_mult: 0 }
  convolution_param { num_output: 8 kernel_size: 3 stride: 2 } }
layer { name: "relu" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "left" type: "Pooling" bottom: "conv1" top: "left"
  pooling_param { pool: AVE global_pooling: true } }
layer { name: "right" type: "InnerProduct" bottom: "conv1" top: "right"
  param { lr_mult: 10 } param { lr_mult: 20 } inner_product_param { num_output: 3 } }
layer { name: "deeper" type: "InnerProduct" bottom: "right" top: "deeper"
  inner_product_param { num_output: 3 } }
layer { name: "sum" type: "Eltwise" bottom: "left" bottom: "deeper" top: "sum" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "sum" bottom: "label" top: "loss" }
layer { name: "accuracy" type: "Accuracy" bottom: "sum" bottom: "label" top: "accuracy"
  include { phase: TEST } }
"""


def forked(phase=prototxt.TRAIN, text=FORKED):
    Path("forked.prototxt").write_text(text)
    return graph.GraphDisplay.from_net(prototxt.read_net(Path("forked.prototxt")), phase)


def test_layers_stand_below_all_that_they_read():
    display = forked()
    rows = {box.first.name: box.row for box in display.boxes}
    assert rows == {
        "data": 0, "conv1": 1, "left": 2, "right": 2, "deeper": 3, "sum": 4, "loss": 5,
    }  # fmt: skip
    columns = {box.first.name: box.column for box in display.boxes}
    assert (columns["left"], columns["right"], columns["sum"]) == (-0.5, 0.5, 0)
    names = [box.first.name for box in display.boxes]
    arrows = {(names[source], names[target]) for source, target in display.arrows}
    assert arrows == {
        ("data", "conv1"), ("conv1", "left"), ("conv1", "right"), ("right", "deeper"),
        ("left", "sum"), ("deeper", "sum"), ("sum", "loss"), ("data", "loss"),
    }  # fmt: skip
    assert "accuracy" in {box.first.name for box in forked(prototxt.TEST).boxes}


def test_boxes_tell_what_a_layer_is_and_how_it_learns():
    lines = {box.first.name: box.lines[1] for box in forked().boxes}
    assert lines["conv1"] == "Convolution 8, 3x3/2 frozen ·…"
    assert lines["left"] == "AVE Pooling global"
    assert lines["right"] == "InnerProduct 3 lr 10,20"
    assert lines["deeper"] == "InnerProduct 3"
    display = forked()
    ax = display.plot(Figure().subplots())
    hatched = [bool(patch.get_hatch()) for patch in ax.patches if hasattr(patch, "get_boxstyle")]
    assert hatched == [box.first.name == "conv1" for box in display.boxes]


def written(layer_type, text):
    layer = 'layer {{ name: "x" type: "{}" top: "x" {} }}'.format(layer_type, text)
    return forked(text=layer).boxes[0].lines[1]


def test_windows_are_told_axis_by_axis():
    for text, said in [
        ("kernel_size: 3 kernel_size: 5", "3x5/1"),
        ("kernel_size: 3 kernel_size: 5 stride: 2 stride: 1", "3x5/2x1"),
        ("kernel_size: 3 kernel_size: 4 kernel_size: 5 stride: 2", "3x4x5/2"),
        ("kernel_size: 3 stride: 2 stride: 2", "3x3/2"),
        ("kernel_h: 3 kernel_w: 5 stride_h: 1 stride_w: 2", "3x5/1x2"),
        ("kernel_size: 3 stride_h: 2 stride_w: 3", "3x3/2x3"),
        ("", "1x1/1"),
    ]:
        param = "convolution_param {{ num_output: 8 {} }}".format(text)
        for layer_type in ("Convolution", "Deconvolution"):
            assert written(layer_type, param) == "{} 8, {}".format(layer_type, said)
    for text, said in [
        ("kernel_size: 3", "3x3/1"),
        ("kernel_h: 3 kernel_w: 1 stride_h: 2 stride_w: 1", "3x1/2x1"),
    ]:
        assert written("Pooling", "pooling_param {{ {} }}".format(text)) == "MAX Pooling " + said


def test_boxes_are_hatched_by_all_that_stands_in_them():
    rates = "param {{ lr_mult: {0} }} param {{ lr_mult: {0} }} param {{ lr_mult: {0} }}".format
    scale = "scale_param { bias_term: true }"
    for first, inside, hatch in [
        (("Convolution", rates(0)), ("ReLU", ""), "///"),
        (("Convolution", rates(1)), ("ReLU", ""), ""),
        (("ReLU", ""), ("Scale", rates(0) + scale), "///"),
        (("Convolution", rates(0)), ("Scale", rates(0) + scale), "///"),
        (("Convolution", rates(1)), ("Scale", rates(0) + scale), "..."),
        (("Convolution", rates(0)), ("PReLU", rates(1)), "..."),
        (("Convolution", rates(1)), ("BatchNorm", rates(0)), ""),
        (("BatchNorm", rates(0)), ("ReLU", ""), "///"),
        (("ReLU", ""), ("Dropout", ""), ""),
    ]:
        text = 'layer {{ name: "a" type: "{}" top: "a" {} }}'.format(*first)
        text += 'layer {{ name: "b" type: "{}" bottom: "a" top: "a" {} }}'.format(*inside)
        display = forked(text=text)
        assert display.boxes[0].hatch == hatch, text
        patches = display.plot(Figure().subplots()).patches
        assert [patch.get_hatch() or "" for patch in patches] == [hatch]
        if inside[0] == "Scale" and first[0] == "ReLU":
            assert display.boxes[0].lines[1] == "ReLU · Scale frozen"


def test_inputs_of_the_old_form_are_boxes_too():
    text = 'input: "data" input_dim: 1 layer { name: "relu" type: "ReLU" bottom: "data" top: "r" }'
    assert [box.first.name for box in forked(text=text).boxes] == ["data", "relu"]


def test_what_cannot_be_drawn_is_told():
    torn = FORKED.replace(
        'name: "left" type: "Pooling" bottom: "conv1"', 'name: "left" bottom: "x"'
    )
    assert "layer 'left': no layer before it makes its bottom 'x'" in complaint(forked, text=torn)
    assert "nothing to draw" in complaint(forked, text='name: "empty"')
    assert "no such prototxt" in complaint(graph.main, ["--net", "none", "--output", "a.png"])
    chain = 'layer { name: "0" type: "Input" top: "0" }' + "".join(
        'layer {{ name: "{1}" type: "Power" bottom: "{0}" top: "{1}" }}'.format(i, i + 1)
        for i in range(400)
    )
    display = forked(text=chain)
    assert "401 layers deep" in complaint(lambda: display.size)


def test_graph_files():
    forked()
    png, _ = check_files(graph.main, ["--net", "forked.prototxt"])
    small.write()
    assert check_files(graph.main, ["--net", "deploy.prototxt", "--phase", "TEST"])[0] != png


# --- gradients --------------------------------------------------------------------------

ROWS = [
    Magnitude(iteration, layer, gradient * iteration, 0.5 * gradient, weights)
    for iteration in (2, 4)
    for layer, gradient, weights in (("conv1", 0.0, 3.0), ("fc", 1.0, 4.0), ("head", 2.0, 0.0))
]


def test_layers_that_learn_have_lines_and_the_others_are_named():
    display = gradients.GradientsDisplay.from_rows(ROWS)
    assert display.iterations == [2, 4]
    assert display.gradients == {"fc": [2, 4], "head": [4, 8]}
    assert display.relative_updates == {"fc": [0.125, 0.125], "head": [0, 0]}
    assert display.title == "not learning: conv1"
    upper, lower = display.plot(list(Figure().subplots(2)))
    np.testing.assert_array_equal(upper.lines[1].get_xydata(), [[2, 4], [4, 8]])
    assert upper.lines[0].get_linestyle() != upper.lines[1].get_linestyle()
    assert lower.get_ylabel() == "update |u| / |w|"


def test_layers_are_chosen_by_patterns_and_no_more_than_can_be_told_apart():
    assert list(gradients.GradientsDisplay.from_rows(ROWS, ["f*"]).gradients) == ["fc"]
    assert "layers like x*" in complaint(gradients.GradientsDisplay.from_rows, ROWS, ["x*"])
    assert "the table has no rows" in complaint(gradients.GradientsDisplay.from_rows, [])
    many = [Magnitude(1, str(index), 1.0, 1.0, 1.0) for index in range(30)]
    display = gradients.GradientsDisplay.from_rows(many)
    assert len(display.gradients) == 12
    assert display.title == "12 of 30 layers"
    assert "same iterations" in complaint(gradients.GradientsDisplay.from_rows, ROWS[:-1])


def test_magnitudes_are_read_as_they_were_written():
    rows = [Magnitude(3, 'a "b", c', 1 / 3, 1e-30, 0.0)]
    magnitudes.write_magnitudes(Path("g.csv"), rows)
    (found,) = magnitudes.read_magnitudes(Path("g.csv"))
    assert found[:2] == rows[0][:2]
    np.testing.assert_allclose(found[2:], rows[0][2:], rtol=1e-8)
    magnitudes.write_magnitudes(Path("again.csv"), [found])
    assert Path("again.csv").read_bytes() == Path("g.csv").read_bytes()
    Path("g.csv").write_text("iteration,layer,gradient,update,weights\n1,fc,2,x,3\n")
    assert "g.csv, line 2: expected an iteration" in complaint(
        magnitudes.read_magnitudes, Path("g.csv")
    )
    Path("g.csv").write_bytes(b"\x89PNG\r\n\xff")
    assert "cannot be read as a table" in complaint(magnitudes.read_magnitudes, Path("g.csv"))
    Path("g.csv").write_text("iteration,loss\n")
    assert "is this a gradients.csv?" in complaint(magnitudes.read_magnitudes, Path("g.csv"))


def test_gradients_files():
    magnitudes.write_magnitudes(Path("g.csv"), ROWS)
    check_files(gradients.main, ["--gradients", "g.csv"])


def test_a_training_in_which_nothing_learned_has_a_figure_too():
    magnitudes.write_magnitudes(Path("g.csv"), [Magnitude(1, "fc", 0.0, 0.0, 1.0)])
    check_files(gradients.main, ["--gradients", "g.csv"])
