"""What BVLC's build answers where Caffe's documentation is silent or wrong.

Nothing of ours runs here. Each test asks one question and holds the literal answer that
the runtime is built on; a test of ours elsewhere gives the same answer from our side.
"""

from __future__ import annotations

import math

import pytest
from bvlc import Build, BvlcError
from bvlc_questions import ask

pytestmark = pytest.mark.oracle

POOL = """
def pool(size, kernel, stride, pad, mode):
    layer = '''layer { name: "p" type: "Pooling" bottom: "data" top: "top" pooling_param {
      kernel_size: %d stride: %d pad: %d %s } }''' % (kernel, stride, pad, mode)
    ones = "AVE" in mode
    data = np.ones(size * size) if ones else np.arange(size * size)
    return run(layer, data.reshape(1, 1, size, size))[1].data[0, 0]
"""


def test_pooling_rounds_up_and_drops_a_window_that_starts_in_the_far_padding(bvlc: Build) -> None:
    sizes = {
        (5, 2, 2, 0, ""): 3,
        (6, 3, 2, 0, ""): 3,
        (7, 2, 3, 0, ""): 3,
        (3, 1, 2, 0, ""): 2,
        (6, 3, 2, 1, ""): 4,
        (4, 2, 2, 1, ""): 3,
        # The last window would start beyond the data and the padding before it: one less.
        (5, 2, 2, 1, ""): 3,
        (2, 3, 3, 1, ""): 1,
        (3, 2, 4, 1, ""): 1,
        (5, 2, 2, 0, "round_mode: FLOOR"): 2,
        (6, 3, 2, 0, "round_mode: FLOOR"): 2,
        (4, 2, 2, 1, "round_mode: FLOOR"): 3,
    }
    cases = [list(case) for case in sizes]
    question = f"{POOL}\nanswer = [pool(*case).shape for case in {cases}]"
    assert ask(bvlc, question) == [[size, size] for size in sizes.values()]


def test_average_pooling_divides_by_the_window_within_data_and_padding(bvlc: Build) -> None:
    """Zeros of the padding count; what lies beyond even the padding does not."""
    answer = ask(bvlc, POOL + "answer = pool(4, 3, 2, 1, 'pool: AVE').ravel()")
    assert answer == pytest.approx([4 / 9, 6 / 9, 2 / 6, 6 / 9, 1, 3 / 6, 2 / 6, 3 / 6, 1 / 4])


def test_windows_wholly_outside_are_the_least_float_in_max_and_nan_in_average(
    bvlc: Build,
) -> None:
    question = (
        POOL + "answer = [pool(5, 2, 5, 0, 'pool: ' + kind).ravel() for kind in ('MAX', 'AVE')]"
    )
    largest, average = ask(bvlc, question)
    least = -3.4028234663852886e38
    assert largest == [6, least, least, least]
    assert average[0] == 1
    assert all(math.isnan(value) for value in average[1:])


def test_first_of_equal_maxima_takes_the_whole_gradient(bvlc: Build) -> None:
    question = """
layer = '''layer { name: "p" type: "Pooling" bottom: "data" top: "top"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 } }'''
made, top = run(layer, np.ones((1, 1, 2, 2)))
top.diff[...] = 1
made.backward()
answer = made.blobs["data"].diff.ravel()
"""
    assert ask(bvlc, question) == [1, 0, 0, 0]


def test_accuracy_counts_ties_as_wrong_and_nan_as_right(bvlc: Build) -> None:
    question = """
def accuracy(scores, labels, parameters=""):
    layer = '''layer { name: "a" type: "Accuracy" bottom: "data" bottom: "label" top: "top"
      accuracy_param { %s } }''' % parameters
    return run(layer, scores, labels)[1].data

answer = {
    "tie": [accuracy([[1, 1, 0]], [label]) for label in (0, 1, 2)],
    "three tie, top 2": [accuracy([[1, 1, 1]], [label], "top_k: 2") for label in (0, 1, 2)],
    "two tie, top 2": accuracy([[1, 1, 0]], [0], "top_k: 2"),
    "nan": accuracy([[np.nan, 1, 0]], [0]),
    "beside nan": accuracy([[np.nan, 1, 0]], [1]),
    "ignored": accuracy([[1, 0], [0, 1], [1, 0], [0, 1]], [0, 0, 7, 7], "ignore_label: 7"),
    "all ignored": accuracy([[1, 0]], [7], "ignore_label: 7"),
}
"""
    assert ask(bvlc, question) == {
        "tie": [0, 0, 0],
        "three tie, top 2": [0, 0, 0],
        "two tie, top 2": 1,
        "nan": 1,
        "beside nan": 1,
        "ignored": 0.5,
        "all ignored": 0,
    }


SOFTMAX_LOSS = """
def loss(scores, labels, parameters="", more=""):
    layer = '''layer { name: "l" type: "SoftmaxWithLoss" bottom: "data" bottom: "label"
      top: "top" propagate_down: true propagate_down: false
      %s loss_param { %s } }''' % (more, parameters)
    made, top = run(layer, scores, labels)
    made.backward()
    return float(top.data), made.blobs["data"].diff.ravel().tolist()
"""


def test_softmax_loss_normalization(bvlc: Build) -> None:
    """Zero scores of two classes at 2 x 2 places: each place costs log 2; one is ignored."""
    question = (
        SOFTMAX_LOSS
        + """
answer = {}
for parameters in ("", "normalization: VALID", "normalization: FULL", "normalization: BATCH_SIZE",
                   "normalization: NONE", "normalize: true", "normalize: false",
                   "normalize: false normalization: VALID", "normalize: true normalization: NONE"):
    label = [[[0, 0]], [[0, 1]]]
    places = loss(np.zeros((2, 2, 1, 2)), label, parameters + " ignore_label: 1")
    answer[parameters] = [places[0] / math.log(2), places[1][0]]
"""
    )
    answer = ask(bvlc, question)
    expected = {
        "": 3,
        "normalization: VALID": 3,
        "normalization: FULL": 4,
        "normalization: BATCH_SIZE": 2,
        "normalization: NONE": 1,
        "normalize: true": 3,
        "normalize: false": 2,
        "normalize: false normalization: VALID": 3,
        "normalize: true normalization: NONE": 1,
    }
    for parameters, divisor in expected.items():
        assert answer[parameters] == pytest.approx([3 / divisor, -0.5 / divisor]), parameters


def test_softmax_loss_at_its_edges(bvlc: Build) -> None:
    question = (
        SOFTMAX_LOSS
        + """
answer = {
    "all ignored": loss([[1, 2]], [1], "ignore_label: 1"),
    "vanishing": loss([[0, 200]], [0]),
    "nearly": loss([[0, 87]], [0]),
}
made, top = run('''layer { name: "l" type: "SoftmaxWithLoss" bottom: "data" bottom: "label"
  top: "top" loss_weight: 3 propagate_down: true propagate_down: false }''', [[0, 0]], [0])
made.backward()
answer["weighted"] = [top.data, top.diff, made.blobs["data"].diff[0]]
"""
    )
    answer = ask(bvlc, question)
    assert answer["all ignored"] == [0, [0, 0]]
    # The probability is taken as at least FLT_MIN in the loss, and as it is in the gradient.
    assert answer["vanishing"] == [pytest.approx(-math.log(2**-126)), [-1, 1]]
    assert answer["nearly"] == [87, [-1, 1]]
    assert answer["weighted"] == [pytest.approx(math.log(2)), 3, [-1.5, 1.5]]


def test_softmax_loss_has_no_second_top_in_this_build(bvlc: Build) -> None:
    question = """
run('''layer { name: "l" type: "SoftmaxWithLoss" bottom: "data" bottom: "label"
  top: "top" top: "prob" loss_weight: 1 loss_weight: 0 }''', [[0, 0]], [0])
answer = None
"""
    with pytest.raises(BvlcError, match="loss_weight must be unspecified or specified once"):
        ask(bvlc, question)


def test_lrn_regions(bvlc: Build) -> None:
    """Across channels divides by n and adds k; within a channel divides by n*n, k being 1."""
    question = """
answer = {}
for region in ("ACROSS_CHANNELS", "WITHIN_CHANNEL"):
    layer = '''layer { name: "n" type: "LRN" bottom: "data" top: "top" lrn_param {
      local_size: 3 alpha: 1 beta: 0.75 k: 2 norm_region: %s } }''' % region
    answer[region] = run(layer, np.full((1, 4, 3, 3), 2.0))[1].data[0, :, :, 0]
"""
    answer = ask(bvlc, question)

    def across(channels: int) -> float:
        return 2 / (2 + 1 / 3 * 4 * channels) ** 0.75

    def within(places: int) -> float:
        return 2 / (1 + 1 / 9 * 4 * places) ** 0.75

    expected = [[across(n)] * 3 for n in (2, 3, 3, 2)]
    assert [pytest.approx(row) for row in expected] == answer["ACROSS_CHANNELS"]
    assert answer["WITHIN_CHANNEL"][0] == pytest.approx([within(4), within(6), within(4)])


def test_dropout_does_nothing_at_test_and_scales_in_training(bvlc: Build) -> None:
    question = """
answer = {}
for name, phase in (("test", caffe.TEST), ("train", caffe.TRAIN)):
    made, blob_ = run('''layer { name: "d" type: "Dropout" bottom: "data" top: "data"
      dropout_param { dropout_ratio: 0.75 } }''', np.ones((1, 100)), phase=phase)
    data = blob_.data.copy()
    blob_.diff[...] = 2
    made.backward()
    answer[name] = [sorted(set(data.ravel().tolist())), bool((blob_.diff == 2 * data).all())]
"""
    assert ask(bvlc, question) == {"test": [[1.0], True], "train": [[0.0, 4.0], True]}


def test_center_crop_comes_after_the_mean_and_before_the_scale(bvlc: Build) -> None:
    """The offset of an odd margin is rounded down; the mean is cropped at the same place."""
    question = """
import subprocess
with open("mean", "wb") as stream:
    mean = caffe_pb2.BlobProto(num=1, channels=1, height=4, width=4, data=range(16))
    stream.write(mean.SerializeToString())
with open("p.pgm", "wb") as stream:
    stream.write(b"P5 4 4 255 " + bytes(range(100, 164, 4)))
with open("list", "w") as stream:
    stream.write("p.pgm 0\\n")
subprocess.check_call(["convert_imageset", "--gray", "./", "list", "db"])
made = net('''layer { name: "d" type: "Data" top: "data" top: "label"
  data_param { source: "db" backend: LMDB batch_size: 2 }
  transform_param { crop_size: 3 mean_file: "mean" scale: 0.5 mirror: true } }''')
made.forward()
rows = made.blobs["data"].data[:, 0]
# mirroring is drawn at test, too: turn every row back
answer = np.where(rows[:, :, :1] < rows[:, :, 2:], rows, rows[:, :, ::-1])
"""
    picture = [[(100 + 4 * i) - i for i in range(4 * row, 4 * row + 3)] for row in range(3)]
    expected = [[value / 2 for value in row] for row in picture]
    assert ask(bvlc, question) == [expected, expected]
