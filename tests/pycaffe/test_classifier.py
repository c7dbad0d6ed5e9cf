"""caffe.Classifier and caffe.Detector on both builds."""

import pathlib

import numpy as np
import pictures

import caffe

ONLY_OURS = {
    "test_detector_of_a_window_outside": "BVLC fails on an assertion, or cuts elsewhere",
    "test_selective_search_says_what_it_needs": "BVLC's import error says it less",
    "test_no_windows": "BVLC asks for the first window",
    "test_images_smaller_than_the_crops": "BVLC's error is about broadcasting, or of the net",
}

NET = """
input: "data" input_shape { dim: %d dim: 3 dim: 4 dim: 5 }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 6 } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""


def files(batch=4):
    pathlib.Path("net.prototxt").write_text(NET % batch)
    net = caffe.Net("net.prototxt", caffe.TEST)
    random = np.random.RandomState(3)
    for param in net.params["ip"]:
        param.data[...] = random.randn(*param.data.shape) * 0.3
    net.save("net.caffemodel")
    return "net.prototxt", "net.caffemodel"


def expected(net, inputs):
    """The net's function, by NumPy."""
    weights, bias = (param.data.astype("d") for param in net.params["ip"])
    scores = np.exp(inputs.reshape(len(inputs), -1).astype("d").dot(weights.T) + bias)
    return scores / scores.sum(1, keepdims=True)


def images(number=3, shape=(9, 8, 3)):
    return [np.random.RandomState(seed).rand(*shape).astype("f") for seed in range(number)]


def raises(kind, function, *arguments):
    try:
        function(*arguments)
    except kind:
        return True
    return False


def test_classifier_is_a_net():
    net = caffe.Classifier(*files())
    assert isinstance(net, caffe.Net)
    assert list(net.image_dims) == list(net.crop_dims) == [4, 5]
    assert net.transformer.inputs["data"] == (4, 3, 4, 5)
    assert net.transformer.transpose == {"data": (2, 0, 1)}
    assert net.transformer.mean == net.transformer.raw_scale == {}


def test_classifier_with_all_settings():
    mean = np.array([1.0, 2, 3])
    net = caffe.Classifier(*files(), (7, 9), mean, 0.5, 255, (2, 1, 0))
    made = net.transformer
    assert tuple(net.image_dims) == (7, 9)
    assert made.mean["data"].ravel().tolist() == [1, 2, 3]
    assert (made.input_scale, made.raw_scale) == ({"data": 0.5}, {"data": 255})
    assert tuple(made.channel_swap["data"]) == (2, 1, 0)


def test_predict_the_whole_image():
    net = caffe.Classifier(*files())
    found = net.predict(images(), oversample=False)
    inputs = [caffe.io.resize_image(image, (4, 5)).transpose(2, 0, 1) for image in images()]
    assert found.shape == (3, 6)
    np.testing.assert_allclose(found, expected(net, np.array(inputs)), rtol=0, atol=1e-6)


def test_predict_the_centre():
    net = caffe.Classifier(*files(), image_dims=(8, 9))
    found = net.predict(images(), oversample=False)
    inputs = [caffe.io.resize_image(image, (8, 9)).transpose(2, 0, 1) for image in images()]
    inputs = np.array(inputs)[:, :, 2:6, 2:7]
    np.testing.assert_allclose(found, expected(net, inputs), rtol=0, atol=1e-6)


def test_predict_ten_crops():
    net = caffe.Classifier(*files(), image_dims=(7, 8), raw_scale=2, channel_swap=(2, 1, 0))
    found = net.predict(images())
    sized = [caffe.io.resize_image(image, (7, 8)) for image in images()]
    crops = caffe.io.oversample(sized, (4, 5)).transpose(0, 3, 1, 2)[:, ::-1] * 2
    every = expected(net, crops).reshape(3, 10, 6)
    assert found.shape == (3, 6)
    np.testing.assert_allclose(found, every.mean(1), rtol=0, atol=1e-6)


def test_predict_images_of_several_sizes():
    net = caffe.Classifier(*files(batch=2))
    mixed = images(1) + images(2, (4, 5, 3))
    found = net.predict(mixed, oversample=False)
    inputs = np.array([caffe.io.resize_image(image, (4, 5)).transpose(2, 0, 1) for image in mixed])
    np.testing.assert_allclose(found, expected(net, inputs), rtol=0, atol=1e-6)


def test_images_smaller_than_the_crops():
    net = caffe.Classifier(*files(), image_dims=(3, 8))
    assert raises(ValueError, net.predict, images())
    assert raises(ValueError, net.predict, images(), False)


WINDOWS = [(0, 0, 4, 5), (2, 1, 9, 8), np.array([3, 3, 6, 4])]


def picture(name="a.png"):
    pixels = (images(1)[0] * 255).astype("u1")
    pictures.write_png(name, pixels, pictures.RGB)
    return (pixels / 255.0).astype("f")


def test_detector():
    # Without a swap BVLC's transformer changes the image under windows that lie over others.
    net = caffe.Detector(*files(), np.array([0.1, 0.2, 0.3]), 0.5, 2, (2, 1, 0))
    assert isinstance(net, caffe.Net)
    assert list(net.crop_dims) == [4, 5, 3]
    assert net.context_pad is None
    pixels = picture()
    picture("b.png")
    with pictures.readable():
        found = net.detect_windows([("a.png", WINDOWS), ("b.png", WINDOWS[:1])])
    assert [each["filename"] for each in found] == ["a.png"] * 3 + ["b.png"]
    assert [list(each["window"]) for each in found] == [list(w) for w in WINDOWS + WINDOWS[:1]]
    inputs = []
    for top, left, bottom, right in WINDOWS + WINDOWS[:1]:
        image = caffe.io.resize_image(pixels[top:bottom, left:right], (4, 5))
        image = image.transpose(2, 0, 1)[::-1]
        inputs.append((image * 2 - np.array([0.1, 0.2, 0.3])[:, None, None]) * 0.5)
    predictions = np.array([each["prediction"] for each in found])
    np.testing.assert_allclose(predictions, expected(net, np.array(inputs)), rtol=0, atol=1e-6)


def test_detector_crop():
    net = caffe.Detector(*files())
    image = images(1)[0]
    np.testing.assert_array_equal(net.crop(image, (2, 1, 5, 7)), image[2:5, 1:7])
    np.testing.assert_array_equal(net.crop(image, np.array([0, 0, 9, 8])), image)


SQUARE = NET.replace("dim: 4 dim: 5", "dim: 8 dim: 8")


def square(**settings):
    pathlib.Path("net.prototxt").write_text(SQUARE % 4)
    caffe.Net("net.prototxt", caffe.TEST).save("net.caffemodel")
    return caffe.Detector("net.prototxt", "net.caffemodel", context_pad=2, **settings)


class Image(np.ndarray):
    """An image that takes floats for indices.

    BVLC's crop with context gives such, and NumPy refuses them since 1.12.
    """

    def __getitem__(self, index):
        if isinstance(index, tuple) and all(isinstance(each, slice) for each in index):
            index = tuple(slice(int(each.start), int(each.stop)) for each in index)
        return np.asarray(self)[index]


def test_detector_with_context():
    mean = np.array([0.1, 0.2, 0.3])
    net = square(mean=mean, raw_scale=2.0, channel_swap=(2, 0, 1))
    # What lies beyond the image becomes 0 in the net.
    np.testing.assert_allclose(net.crop_mean, [[[0.1, 0.15, 0.05]]])
    image = images(1, (20, 20, 3))[0].view(Image)
    # A window of 4 x 4 (its end included) grows twofold, which is the input's size less a pixel.
    crop = net.crop(image, np.array([8, 8, 11, 11]))
    assert crop.shape == (8, 8, 3)
    shown = caffe.io.resize_image(image[6:14, 6:14], (8, 8))
    np.testing.assert_allclose(crop, shown, rtol=0, atol=1e-6)
    # At the border a part is the mean.
    crop = net.crop(image, np.array([0, 8, 3, 11]))
    np.testing.assert_allclose(crop[:2], np.broadcast_to(net.crop_mean, (2, 8, 3)), atol=1e-7)
    shown = caffe.io.resize_image(image[0:6, 6:14], (6, 8))
    np.testing.assert_allclose(crop[2:], shown, rtol=0, atol=1e-6)


def test_detector_with_context_and_no_mean():
    net = square()
    assert net.crop_mean.shape == (8, 8, 3)
    assert not net.crop_mean.any()
    assert not net.crop(images(1)[0].view(Image), np.array([0, 0, 4, 4]))[0].any()


def test_detector_of_a_window_outside():
    assert raises(caffe.CaffeError, square().crop, images(1)[0], (40, 40, 44, 44))


def test_no_windows():
    picture()
    assert caffe.Detector(*files()).detect_windows([("a.png", [])]) == []


def test_selective_search_says_what_it_needs():
    net = caffe.Detector(*files())
    try:
        net.detect_selective_search(["a.png"])
    except caffe.CaffeError as error:
        words = str(error)
    assert "selective_search_ijcv_with_python" in words
    assert "MATLAB" in words
