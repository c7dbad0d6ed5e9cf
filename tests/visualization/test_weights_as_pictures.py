"""get_layers, visualize_kernels, visualize_weights, and the tiles that they and figures share."""

from pathlib import Path

import numpy as np
from small_subject import complaint

import caffe
from caffetools.visualization import get_layers, visualize_kernels, visualize_weights
from caffetools.visualization.kernels import as_grid
from caffetools.visualization.tiles import enlarged, stretched, tiled

NET = """
layer {{ name: "in" type: "Input" top: "data" input_param {{ shape {{ {dims} }} }} }}
layer {{ name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param {{ num_output: 2 kernel_h: 3 kernel_w: 2
    weight_filler {{ type: "gaussian" std: 1 }} }} }}
layer {{ name: "relu" type: "ReLU" bottom: "conv1" top: "conv1" }}
layer {{ name: "fc" type: "InnerProduct" bottom: "conv1" top: "fc"
  inner_product_param {{ num_output: 3 weight_filler {{ type: "gaussian" std: 1 }} }} }}
"""


def net(channels=1):
    dims = " ".join("dim: %d" % size for size in (1, channels, 5, 4))
    Path("net.prototxt").write_text(NET.format(dims=dims))
    return caffe.Net("net.prototxt", caffe.TEST)


def naive(kernel):
    spread = kernel.max() - kernel.min()
    return (kernel - kernel.min()) / spread if spread else np.full(kernel.shape, 0.5)


def test_layers_are_those_with_weights():
    assert get_layers(net()) == ["conv1", "fc"]


def test_a_kernels_channels_stand_side_by_side_each_stretched_by_itself():
    for channels in (1, 3, 7):
        made = net(channels)
        kernels = made.params["conv1"][0].data
        picture = visualize_kernels(made, "conv1", 4)
        assert picture.shape == (2 * 4 * 3, channels * 4 * 2)
        for k in range(2):
            for c in range(channels):
                expected = naive(kernels[k, c].astype(np.float64))
                for y in range(12):
                    for x in range(8):
                        found = picture[k * 12 + y, c * 8 + x]
                        assert abs(found - expected[y // 4, x // 4]) < 1e-12


def test_the_zoom_is_five_and_two_where_it_is_not_told():
    assert visualize_kernels(net(), "conv1").shape == (2 * 5 * 3, 5 * 2)
    assert visualize_weights(net(), "fc").shape == (2 * 3, 2 * 18)


def test_constant_kernels_are_middle_gray_beside_others():
    made = net(3)
    kernels = made.params["conv1"][0].data
    kernels[0, 1] = -3
    kernels[1, 0] = 0
    kernels[1, 2] = 1e-30
    picture = visualize_kernels(made, "conv1", zoom=1)
    assert np.isfinite(picture).all()
    assert (picture[:3, 2:4] == 0.5).all()
    assert (picture[3:, :2] == 0.5).all()
    assert (picture[3:, 4:] == 0.5).all()
    assert picture[:3, :2].min() == 0 and picture[:3, :2].max() == 1


def test_weights_are_a_row_an_output_stretched_together():
    made = net()
    weights = made.params["fc"][0].data
    picture = visualize_weights(made, "fc", zoom=3)
    assert picture.shape == (9, 54)
    np.testing.assert_allclose(picture[::3, ::3], naive(weights.astype(np.float64)), atol=1e-12)
    np.testing.assert_array_equal(picture[1::3, 2::3], picture[::3, ::3])
    weights[...] = 7
    assert (visualize_weights(made, "fc") == 0.5).all()


def test_mistakes_are_told_with_what_there_is():
    made = net()
    assert "no layer 'conv2' with weights; did you mean 'conv1'? It has conv1, fc" in complaint(
        visualize_kernels, made, "conv2"
    )
    said = complaint(visualize_kernels, made, "fc")
    assert "'fc': expected kernels" in said and "(3, 18); visualize_weights is for" in said
    said = complaint(visualize_weights, made, "conv1")
    assert "'conv1': expected weights (outputs, inputs)" in said and "(2, 1, 3, 2)" in said
    for zoom in (0, 1.5, -2):
        assert "zoom: expected a whole number" in complaint(visualize_weights, made, "fc", zoom)


# --- tiles ------------------------------------------------------------------------------


def test_tiles_stand_row_by_row_with_white_between():
    tiles = np.arange(5 * 2 * 3).reshape(5, 2, 3) / 100.0
    picture = tiled(tiles)
    assert picture.shape == (2 * 3 - 1, 3 * 4 - 1)
    expected = np.ones(picture.shape)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, 3)
        expected[row * 3 : row * 3 + 2, column * 4 : column * 4 + 3] = tile
    np.testing.assert_array_equal(picture, expected)
    assert tiled(tiles, columns=5, gap=0).shape == (2, 15)
    assert tiled(np.zeros((4, 2, 3, 3))).shape == (5, 7, 3)
    assert tiled(np.zeros((1, 2, 3))).shape == (2, 3)


def test_values_are_stretched_whole_or_each_by_itself():
    values = np.array([[1.0, 3.0], [3.0, 5.0], [2.0, 2.0]])
    np.testing.assert_allclose(stretched(values), [[0, 0.5], [0.5, 1], [0.25, 0.25]])
    np.testing.assert_allclose(stretched(values, each=True), [[0, 1], [0, 1], [0.5, 0.5]])
    assert (stretched(np.zeros((2, 2))) == 0.5).all()


def test_values_that_are_not_finite_leave_the_others_as_they_are():
    found = stretched(np.array([0.0, 1.0, 2.0, np.inf, -np.inf, np.nan], np.float32))
    np.testing.assert_array_equal(found, [0, 0.5, 1, 1, 0, np.nan])
    assert np.isnan(stretched(np.array([np.nan, np.nan]))).all()


def test_pixels_are_enlarged_to_squares():
    np.testing.assert_array_equal(enlarged(np.array([[1, 2]]), 2), [[1, 1, 2, 2], [1, 1, 2, 2]])


def test_gray_kernels_stand_in_a_grid_on_one_scale():
    weights = np.array([-2.0, 0.0, 1.0]).reshape(3, 1, 1, 1) * np.ones((3, 1, 2, 2))
    grid = as_grid(weights, limit=2.0)
    assert grid.shape == (5, 5)
    assert (grid[0, 0], grid[0, 3], grid[3, 0]) == (0.0, 0.5, 0.75)
    np.testing.assert_array_equal(grid[2], 1.0)
    np.testing.assert_array_equal(grid[3:, 3:], 1.0)


def test_colour_kernels_turn_from_bgr_to_rgb():
    weights = np.array([1.0, 0.0, -1.0]).reshape(1, 3, 1, 1) * np.ones((1, 3, 2, 2))
    np.testing.assert_array_equal(as_grid(weights, limit=1.0)[0, 0], [0.0, 0.5, 1.0])


def test_other_numbers_of_channels_give_a_tile_each():
    weights = np.arange(4.0).reshape(2, 2, 1, 1)
    np.testing.assert_allclose(as_grid(weights, 3.0)[::2, ::2], [[0.5, 2 / 3], [5 / 6, 1]])
    assert as_grid(np.zeros((2, 8, 3, 3)), 1.0).shape == (15, 15)
