"""What is computed of a net and its images, against NumPy."""

import argparse
from pathlib import Path

import cv2
import numpy as np
import small_subject as small
from small_subject import FROM_LMDB, complaint

import caffe
from caffetools import prototxt
from caffetools.visualization import activations, embedding, histograms, images, saliency, top5
from caffetools.visualization.nets import Subject, answering, up_to_scores

ONLY_OURS = {
    "test_components_are_those_of_scikit_learn": "BVLC's interpreter has no scikit-learn",
}


def subject(*arguments, count=small.ENTRIES):
    parser = argparse.ArgumentParser()
    images.add_arguments(parser, count)
    return Subject(parser.parse_args(list(arguments)))


def from_lmdb(*more):
    small.write()
    return subject(*FROM_LMDB, *more)


def from_files(*more):
    small.write()
    made, _ = small.pictures()
    for index, image in enumerate(made):
        cv2.imwrite("%d.png" % index, image.transpose(1, 2, 0))
    return subject(
        "--net", "deploy.prototxt", "--weights", "after.caffemodel", "--image", "0.png", "2.png",
        *more,
    )  # fmt: skip


# --- images -----------------------------------------------------------------------------


def test_entries_come_through_the_data_layer():
    found = from_lmdb()
    made, labels = small.pictures()
    np.testing.assert_allclose(found.all_inputs(), small.transformed(made), atol=1e-6)
    assert found.chosen.labels == labels.tolist()
    np.testing.assert_array_equal(found.chosen.pictures[1], made[1, ::-1].transpose(1, 2, 0))


def test_many_entries_come_a_few_at_a_time():
    found = from_lmdb()
    before, images.AT_ONCE = images.AT_ONCE, 3
    sizes = [len(values) for values in found.inputs()]
    images.AT_ONCE = before
    assert sizes == [3, 3, 1]


def test_entries_may_be_picked_or_spread():
    small.write()
    assert subject(*FROM_LMDB, "--index", "5", "2").chosen.names == ["entry 5", "entry 2"]
    assert subject(*FROM_LMDB, "--count", "3").chosen.names == ["entry 0", "entry 2", "entry 4"]
    assert subject(*FROM_LMDB, "--count", "99").chosen.names[-1] == "entry 6"


def test_files_are_sized_for_the_net_and_stay_as_they_are_without_a_transform():
    found = from_files()
    resized = [cv2.resize(cv2.imread(name), (8, 8)) for name in ("0.png", "2.png")]
    np.testing.assert_array_equal(
        found.all_inputs(), np.array(resized, np.float32).transpose(0, 3, 1, 2)
    )
    np.testing.assert_array_equal(found.chosen.pictures[1], resized[1][:, :, ::-1])
    assert found.chosen.names == ["0.png", "2.png"]
    assert found.chosen.labels == [None, None]


def test_files_are_transformed_as_a_data_layer_tells():
    found = from_files("--transform", "train_val.prototxt")
    resized = np.array([cv2.resize(cv2.imread(n), (8, 8)) for n in ("0.png", "2.png")], float)
    expected = (resized - small.MEAN).transpose(0, 3, 1, 2) * small.SCALE
    np.testing.assert_allclose(found.all_inputs(), expected, atol=1e-5)


def test_files_are_as_large_as_the_mean_file_before_they_are_cropped():
    small.write()
    mean = caffe.io.array_to_blobproto(np.full((1, 3, 9, 9), 10.0))
    Path("mean.binaryproto").write_bytes(mean.SerializeToString())
    net = prototxt.read_net(Path("train_val.prototxt"))
    net.layer[0].transform_param.ClearField("mean_value")
    net.layer[0].transform_param.mean_file = "mean.binaryproto"
    prototxt.write(Path("train_val.prototxt"), net)
    made, _ = small.pictures()
    cv2.imwrite("0.png", made[0].transpose(1, 2, 0))
    found = subject(
        "--net", "deploy.prototxt", "--weights", "after.caffemodel", "--image", "0.png",
        "--transform", "train_val.prototxt",
    )  # fmt: skip
    expected = (made[:1, :, :8, :8] - 10.0) * small.SCALE
    np.testing.assert_allclose(found.all_inputs(), expected, atol=1e-5)


def test_users_mistakes_are_told():
    small.write()
    Path("text.png").write_text("no image")
    deploy = ["--net", "deploy.prototxt", "--weights", "after.caffemodel"]
    for arguments, said in [
        ([*FROM_LMDB[:3], "none", *FROM_LMDB[4:]], "none: no such file"),
        ([*FROM_LMDB[:4], "--image", "text.png"], "give its deploy.prototxt as --net"),
        ([*FROM_LMDB, "--count", "0"], "--count: expected at least one image, found 0"),
        ([*FROM_LMDB, "--index", "7"], "entry 7 is asked for"),
        ([*deploy, "--image", "text.png"], "text.png: expected an image that can be read"),
        ([*deploy, "--lmdb", "nowhere"], "nowhere: expected an LMDB"),
    ]:
        assert said in complaint(subject, *arguments), arguments
    whole = subject(*deploy, "--lmdb", "lmdb")
    said = complaint(whole.net.forward, whole.all_inputs())
    assert "expected images of (channels, height, width) (3, 8, 8), found (3, 9, 9)" in said
    other = subject(*FROM_LMDB)
    other.chosen.labels[1] = 3
    assert "entry 1 has label 3, expected 0 to 2" in complaint(other.class_names, None)


def test_a_net_of_two_outputs_is_refused():
    small.write()
    text = small.INPUT + small.BODY.replace('bottom: "fc" top: "head"', 'bottom: "pool" top: "h"')
    Path("two.prototxt").write_text(text)
    small.write_model("two.caffemodel", small.weights(0, {**small.SHAPES, "head": (3, 36)}))
    message = prototxt.read_net(Path("two.prototxt"))
    said = complaint(answering, message, Path("two.caffemodel"))
    assert "one output" in said and "the outputs fc, h" in said


# --- activations ------------------------------------------------------------------------


def test_panels_hold_what_each_blob_holds_for_each_image():
    found = from_lmdb("--index", "1", "4")
    blobs = activations.blob_names(found.net.net)
    assert blobs == ["data", "conv1", "squash", "pool", "fc", "head", "prob"]
    pages = activations.panels_of(found.net, found.all_inputs(), blobs)
    made, _ = small.pictures()
    inputs = small.transformed(made)
    fc, head = small.features(inputs)
    for page, entry in zip(pages, (1, 4)):
        held = {panel.blob: panel.values for panel in page}
        np.testing.assert_allclose(held["data"], inputs[entry], atol=1e-6)
        np.testing.assert_allclose(held["fc"], fc[entry], atol=1e-5)
        np.testing.assert_allclose(held["head"], head[entry], atol=1e-5)
        assert abs(held["prob"].sum() - 1) < 1e-6
        assert [panel.are_maps for panel in page] == [True] * 4 + [False] * 3


def test_blobs_are_chosen_by_patterns_without_caffes_copies():
    small.write()
    Path("fork.prototxt").write_text(
        small.INPUT + small.BODY
        + 'layer { name: "sum" type: "Eltwise" bottom: "head" bottom: "head" top: "sum" }'
    )  # fmt: skip
    net = caffe.Net("fork.prototxt", caffe.TEST)
    assert any("split" in name for name in net.blobs)
    assert not any("split" in name for name in activations.blob_names(net))
    assert activations.blob_names(net, ["s*", "data"]) == ["data", "squash", "sum"]
    assert "--blob x*: the net has no such blob" in complaint(activations.blob_names, net, ["x*"])


def test_more_maps_than_fit_are_told():
    panel = activations.Panel("conv", np.zeros((65, 2, 2)))
    assert panel.title == "conv: 65x2x2\nthe first 64 maps"
    assert activations.Panel("conv", np.zeros((64, 2, 2))).title == "conv: 64x2x2"
    assert not activations.Panel("fc", np.zeros((64, 1, 1))).are_maps


# --- embedding --------------------------------------------------------------------------


def test_components_are_those_of_scikit_learn():
    from sklearn.decomposition import PCA

    random = np.random.RandomState(0)
    for shape in ((30, 6), (5, 40)):
        features = random.normal(size=shape) @ np.diag(np.arange(1, shape[1] + 1))
        found = embedding.principal_components(features, axes=3)
        judge = PCA(3, svd_solver="full").fit(features)
        expected = judge.transform(features)
        signs = np.sign(np.sum(expected * found.points, axis=0))
        np.testing.assert_allclose(found.points, expected * signs, atol=1e-8)
        np.testing.assert_allclose(found.explained, judge.explained_variance_ratio_, atol=1e-10)


def test_components_turn_the_same_way_whatever_the_order_of_images():
    features = np.random.RandomState(1).normal(size=(20, 4)) * [1, 2, 3, 4]
    one = embedding.principal_components(features)
    other = embedding.principal_components(features[::-1])
    np.testing.assert_allclose(one.points, other.points[::-1], atol=1e-10)
    # Far along an axis, that axis's component is the largest, and it is positive.
    line = np.outer(np.arange(5.0), [0.1, -2.0])
    assert embedding.principal_components(line).points[-1, 0] < 0


def test_features_that_do_not_vary_lie_in_the_middle():
    for features in (np.ones((4, 3)), np.ones((1, 3)), np.ones((4, 1))):
        found = embedding.principal_components(features)
        assert not found.points.any() and not found.explained.any()
        assert found.points.shape == (len(features), 2)


def test_the_head_reads_the_features():
    found = from_lmdb()
    assert embedding.feature_blob(found.net) == "fc"
    features = embedding.features_of(found, "fc")
    made, _ = small.pictures()
    np.testing.assert_allclose(features, small.features(small.transformed(made))[0], atol=1e-5)
    assert "--blob f: the net has no such blob" in complaint(embedding.features_of, found, "f")


# --- the likeliest ----------------------------------------------------------------------


def test_the_likeliest_come_first_and_among_equals_the_lower_class():
    rows = np.array([[0.1, 0.4, 0.1, 0.4], [0.7, 0.0, 0.2, 0.1]])
    found = top5.likeliest(rows, 3)
    assert [one.classes.tolist() for one in found] == [[1, 3, 0], [0, 2, 3]]
    np.testing.assert_array_equal(found[1].probabilities, [0.7, 0.2, 0.1])
    assert len(top5.likeliest(rows)[0].classes) == 4
    equal = np.tile([0.01, 0.02], (1, 500))
    assert top5.likeliest(equal)[0].classes.tolist() == [1, 3, 5, 7, 9]


def test_probabilities_are_those_of_the_net_with_and_without_a_softmax():
    found = from_lmdb()
    inputs = found.all_inputs()
    scores = np.exp(small.features(inputs)[1])
    expected = scores / scores.sum(axis=1, keepdims=True)
    bare = up_to_scores(found.net, found.weights)
    for net in (found.net, bare):
        np.testing.assert_allclose(top5.probabilities_of(net, inputs), expected, atol=1e-5)


IN_PLACE = 'layer { name: "prob" type: "Softmax" bottom: "head" top: "head" }'
FLAT = 'layer {{ name: "flat" type: "Flatten" bottom: "{}" top: "flat" }}'.format
DROPPED = 'layer { name: "drop" type: "Dropout" bottom: "head" top: "head" }'


def test_a_softmax_in_place_or_with_its_shape_changed_gives_probabilities_and_scores():
    small.write()
    scores = small.features(small.transformed(small.pictures()[0]))[1]
    expected = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    taken = small.BODY.replace('"squash"', '"head_softmax"')  # the Softmax's own top otherwise
    for body, end, output in [
        (small.BODY, IN_PLACE, "head_softmax"),
        (taken, IN_PLACE + DROPPED, "head_softmax_"),
        (small.BODY, IN_PLACE + DROPPED + FLAT("head"), "flat"),
        (small.BODY, small.PROB + FLAT("prob"), "flat"),
    ]:
        Path("deploy.prototxt").write_text(small.INPUT + body + end)
        message = prototxt.read_net(Path("deploy.prototxt"))
        net = answering(message, Path("after.caffemodel"))
        inputs = small.transformed(small.pictures()[0])
        np.testing.assert_allclose(top5.probabilities_of(net, inputs), expected, atol=1e-5)
        assert (net.scores, net.output) == ("head", output)
        np.testing.assert_allclose(net.rows(net.scores), scores, atol=1e-5)
        assert embedding.feature_blob(net) == "fc"
        bare = up_to_scores(net, Path("after.caffemodel"))
        bare.forward(inputs)
        assert bare.output == "head"
        np.testing.assert_allclose(bare.rows("head"), scores, atol=1e-5)
        # The message is the caller's, and stays as it was.
        assert message == prototxt.read_net(Path("deploy.prototxt"))


# --- saliency ---------------------------------------------------------------------------


def test_the_gradient_is_that_of_finite_differences():
    found = from_lmdb()
    net = up_to_scores(found.net, found.weights, force_backward=True)
    image = found.all_inputs()[2].astype(np.float64)
    step = 1e-4
    shifts = np.eye(image.size).reshape(-1, *image.shape) * step
    for label in (0, 2):
        up = small.features(image + shifts)[1][:, label]
        down = small.features(image - shifts)[1][:, label]
        gradient = ((up - down) / (2 * step)).reshape(image.shape)
        expected = np.abs(gradient).max(axis=0)
        saliency_map = saliency.gradient_saliency(net, image.astype(np.float32), label)
        assert saliency_map.shape == (8, 8)
        np.testing.assert_allclose(saliency_map, expected, rtol=1e-3, atol=1e-6)


def test_occlusion_is_that_of_a_loop_over_places():
    found = from_lmdb()
    net = up_to_scores(found.net, found.weights)
    image = found.all_inputs()[1]
    before, saliency._MOST_AT_ONCE = saliency._MOST_AT_ONCE, 4
    occluded = saliency.occlusion(net, image, 1, patch=3, stride=2)
    saliency._MOST_AT_ONCE = before
    starts = [0, 2, 4, 5]
    assert occluded.tops.tolist() == occluded.lefts.tolist() == starts
    whole = small.features(image[None])[1][0, 1]
    total, count = np.zeros((8, 8)), np.zeros((8, 8))
    for row, top in enumerate(starts):
        for column, left in enumerate(starts):
            covered = image.copy()
            for channel in range(3):
                covered[channel, top : top + 3, left : left + 3] = image[channel].mean()
            drop = whole - small.features(covered[None])[1][0, 1]
            assert abs(occluded.drops[row, column] - drop) < 1e-5
            total[top : top + 3, left : left + 3] += drop
            count[top : top + 3, left : left + 3] += 1
    np.testing.assert_allclose(occluded.by_pixel(), total / count, atol=1e-5)


def test_patches_that_do_not_fit_or_leave_gaps_are_refused():
    found = from_lmdb()
    image = found.all_inputs()[0]
    for patch, stride in ((9, 1), (0, 1), (3, 0), (3, 4)):
        said = complaint(saliency.occlusion, found.net, image, 0, patch, stride)
        assert "expected a patch of 1 to 8 pixels" in said
    before, saliency._MOST_POSITIONS = saliency._MOST_POSITIONS, 35
    said = complaint(saliency.occlusion, found.net, image, 0, 3, 1)
    saliency._MOST_POSITIONS = before
    assert "6 by 6 places are more than 35" in said


# --- histograms -------------------------------------------------------------------------


def test_weights_are_counted_in_the_same_bins():
    small.write()
    found = histograms.weight_histograms(Path("before.caffemodel"), Path("after.caffemodel"))
    assert list(found) == ["fc", "head"]
    before, after = small.weights(1)["fc"][0], small.weights(0)["fc"][0]
    histogram = found["fc"]
    assert histogram.edges[0] == min(before.min(), after.min())
    assert histogram.edges[-1] == max(before.max(), after.max())
    for shares, values in ((histogram.before, before), (histogram.after, after)):
        for index, share in enumerate(shares):
            low, high = histogram.edges[index : index + 2]
            last = index == len(shares) - 1
            inside = (values >= low) & ((values <= high) if last else (values < high))
            assert abs(share - inside.mean()) < 1e-12
    assert found["head"].before is None


def test_the_last_convolution_counts_where_nothing_is_fully_connected():
    small.write_model("conv", {"conv1": small.weights(0)["conv1"]})
    assert list(histograms.fully_connected(Path("conv"))) == ["conv1"]
    small.TYPES["scale"] = "Scale"
    small.write_model("scale", {"scale": [np.ones(2, np.float32)]})
    said = complaint(histograms.fully_connected, Path("scale"))
    assert "expected layers of type InnerProduct or Convolution" in said


def test_constant_weights_have_one_bin():
    histogram = histograms.Histogram.of(None, np.full((3, 3), 2.0))
    assert (histogram.edges[0], histogram.edges[-1]) == (1.5, 2.5)
    assert sorted(histogram.after)[-2:] == [0.0, 1.0]
    said = complaint(histograms.Histogram.of, None, np.array([1.0, np.nan]))
    assert "expected finite values" in said


def test_activations_before_are_those_of_the_layers_that_the_weights_had():
    found = from_lmdb()
    before = Path("before.caffemodel")
    counted = histograms.activation_histograms(found, ["fc", "head"], before)
    assert counted["head"].before is None
    inputs = found.all_inputs()
    after = small.features(inputs)[0]
    # No value is as close to an inner edge as the net, which computes in float, may be off; the
    # outer two are its own least and greatest value.
    inner = counted["fc"].edges[1:-1]
    assert np.abs(after.reshape(-1, 1) - inner).min() > 1e-5
    expected = np.histogram(after, [-2, *inner, 2])[0] / after.size
    np.testing.assert_allclose(counted["fc"].after, expected, rtol=1e-12)
    net = caffe.Net("deploy.prototxt", caffe.TEST, weights="before.caffemodel")
    net.blobs["data"].reshape(*inputs.shape)
    net.blobs["data"].data[...] = inputs
    net.forward()
    values = net.blobs["fc"].data
    edges = counted["fc"].edges.astype(np.float32)
    assert edges[0] <= values.min() and values.max() <= edges[-1] * (1 + 1e-6)
    shares = np.histogram(values.astype(np.float64), counted["fc"].edges)[0] / values.size
    np.testing.assert_array_equal(counted["fc"].before, shares)
    alone = histograms.activation_histograms(found, ["fc"], None)
    assert alone["fc"].before is None


def test_the_known_part_ends_where_weights_are_not_known():
    net = prototxt.read_net(_written(small.INPUT + small.BODY + small.PROB))
    names = [layer.name for layer in histograms.known_part(net, ["conv1", "head"]).layer]
    assert names == ["data", "conv1", "squash", "pool"]
    assert len(histograms.known_part(net, list(small.SHAPES)).layer) == len(net.layer)


def _written(text):
    Path("part.prototxt").write_text(text)
    return Path("part.prototxt")
