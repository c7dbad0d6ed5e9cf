"""caffe.io on both builds: blobs, datums, the Transformer, images."""

import pathlib

import numpy as np
import pictures

import caffe
from caffe.proto import caffe_pb2

ONLY_OURS = {
    "test_what_bvlc_refuses_to_make_an_array": "BVLC cannot read these messages",
    "test_preprocess_does_not_change_the_image": "BVLC scales the image that it was given",
    "test_a_constant_mean_of_another_size": "BVLC divides zero by zero, and the mean is NaN",
    "test_a_plane_as_a_mean_of_another_size": "BVLC fails on its axes",
}
ONLY_BVLC = {
    "test_load_image_needs_an_older_scikit_image": "ours calls no scikit-image",
}

ARRAY = np.arange(24, dtype=np.float32).reshape(2, 3, 4) / 7


def raises(kind, function, *arguments):
    try:
        function(*arguments)
    except kind:
        return True
    return False


def same(found, expected, dtype=None):
    assert found.dtype == (dtype or expected.dtype), found.dtype
    assert found.shape == expected.shape, (found.shape, expected.shape)
    np.testing.assert_array_equal(found, expected)


def random(*shape, **options):
    return np.random.RandomState(options.get("seed", 0)).rand(*shape)


# --- blobs and datums -----------------------------------------------------------------


def test_array_to_blobproto():
    blob = caffe.io.array_to_blobproto(ARRAY)
    assert list(blob.shape.dim) == [2, 3, 4]
    assert list(blob.data) == ARRAY.ravel().tolist()
    assert len(blob.diff) == 0
    assert not blob.HasField("num")


def test_array_to_blobproto_with_diff():
    blob = caffe.io.array_to_blobproto(ARRAY, -ARRAY)
    assert list(blob.diff) == (-ARRAY).ravel().tolist()


def test_array_to_blobproto_of_other_types():
    for dtype in ("u1", "i8", "f8", "?"):
        blob = caffe.io.array_to_blobproto(np.array([[0, 1, 1]], dtype))
        assert list(blob.data) == [0, 1, 1]
    assert list(caffe.io.array_to_blobproto(np.float64([0.1])).data) == [np.float32(0.1)]
    assert list(caffe.io.array_to_blobproto(np.float32(3)).shape.dim) == []
    assert list(caffe.io.array_to_blobproto(ARRAY.T).data) == ARRAY.T.ravel().tolist()


def test_blobproto_to_array():
    blob = caffe.io.array_to_blobproto(ARRAY, -ARRAY)
    same(caffe.io.blobproto_to_array(blob), ARRAY, np.float64)
    same(caffe.io.blobproto_to_array(blob, True), -ARRAY, np.float64)
    same(caffe.io.blobproto_to_array(blob, return_diff=True), -ARRAY, np.float64)
    assert list(blob.data) == ARRAY.ravel().tolist()


def test_blobproto_to_array_is_a_copy():
    blob = caffe.io.array_to_blobproto(ARRAY)
    caffe.io.blobproto_to_array(blob)[...] = 5
    assert list(blob.data) == ARRAY.ravel().tolist()


def test_blobproto_to_array_of_four_dims():
    values = ARRAY.ravel().tolist()
    blob = caffe_pb2.BlobProto(num=1, channels=2, height=3, width=4, data=values)
    same(caffe.io.blobproto_to_array(blob), ARRAY[np.newaxis], np.float64)
    blob.diff.extend(values[::-1])
    back = ARRAY.ravel()[::-1].reshape(1, 2, 3, 4)
    same(caffe.io.blobproto_to_array(blob, True), back, np.float64)


def test_blobproto_that_does_not_hold_together():
    blob = caffe_pb2.BlobProto(num=1, channels=1, height=2, width=3, data=[1])
    assert raises(ValueError, caffe.io.blobproto_to_array, blob)


def test_blobproto_without_a_diff():
    blob = caffe.io.array_to_blobproto(ARRAY)
    assert raises(ValueError, caffe.io.blobproto_to_array, blob, True)


def test_blobprotovector():
    arrays = [ARRAY, np.float32([1.5]), np.zeros((2, 0), np.float32)]
    text = caffe.io.arraylist_to_blobprotovector_str(arrays)
    assert isinstance(text, bytes)
    vector = caffe_pb2.BlobProtoVector.FromString(text)
    assert [list(blob.shape.dim) for blob in vector.blobs] == [[2, 3, 4], [1], [2, 0]]
    back = caffe.io.blobprotovector_str_to_arraylist(text)
    assert isinstance(back, list)
    assert len(back) == 3
    for found, expected in zip(back, arrays):
        same(found, expected, np.float64)


def test_datum_of_bytes():
    array = np.arange(230, 254, dtype=np.uint8).reshape(2, 3, 4)
    datum = caffe.io.array_to_datum(array, 3)
    assert (datum.channels, datum.height, datum.width, datum.label) == (2, 3, 4, 3)
    assert datum.data == array.tobytes()
    assert not datum.float_data
    assert not datum.encoded
    same(caffe.io.datum_to_array(datum), array)


def test_datum_of_floats():
    datum = caffe.io.array_to_datum(ARRAY, label=0)
    assert list(datum.float_data) == ARRAY.ravel().tolist()
    assert not datum.data
    assert datum.HasField("label")
    same(caffe.io.datum_to_array(datum), ARRAY, np.float64)


def test_datum_without_a_label():
    assert not caffe.io.array_to_datum(ARRAY).HasField("label")


def test_datum_of_an_array_that_is_not_contiguous():
    array = np.arange(24, dtype=np.uint8).reshape(3, 4, 2).transpose(2, 0, 1)
    same(caffe.io.datum_to_array(caffe.io.array_to_datum(array)), array)


def test_datum_of_another_number_of_axes():
    assert raises(ValueError, caffe.io.array_to_datum, ARRAY[0])


def test_datum_of_another_number_of_values():
    size = {"channels": 1, "height": 2, "width": 2}
    assert raises(ValueError, caffe.io.datum_to_array, caffe_pb2.Datum(data=b"abc", **size))
    assert raises(ValueError, caffe.io.datum_to_array, caffe_pb2.Datum(float_data=[1], **size))
    assert raises(ValueError, caffe.io.datum_to_array, caffe_pb2.Datum(data=b"a"))


def test_datum_of_nothing():
    same(caffe.io.datum_to_array(caffe_pb2.Datum()), np.zeros((0, 0, 0)))
    same(caffe.io.datum_to_array(caffe_pb2.Datum(channels=3)), np.zeros((3, 0, 0)))


def test_what_bvlc_refuses_to_make_an_array():
    doubles = caffe_pb2.BlobProto(double_data=[1, 2], double_diff=[3, 4])
    doubles.shape.dim.append(2)
    same(caffe.io.blobproto_to_array(doubles), np.float64([1, 2]))
    same(caffe.io.blobproto_to_array(doubles, True), np.float64([3, 4]))
    pictures.write_png("gray.png", np.uint8([[1, 2]]), pictures.GRAY)
    encoded = caffe_pb2.Datum(data=pathlib.Path("gray.png").read_bytes(), encoded=True)
    same(caffe.io.datum_to_array(encoded), np.uint8([[[1, 2]]]))


def test_caffe_pb2_is_there():
    assert caffe.io.caffe_pb2.BlobProto is caffe_pb2.BlobProto


# --- Transformer ----------------------------------------------------------------------


def transformer(**settings):
    made = caffe.io.Transformer({"data": (10, 3, 4, 5), "more": (1, 2, 3, 3)})
    for name, value in settings.items():
        getattr(made, "set_" + name)("data", value)
    return made


def test_transformer_of_a_blobs_shape():
    made = transformer()
    assert made.inputs["data"] == (10, 3, 4, 5)
    assert made.transpose == made.channel_swap == made.mean == {}
    assert made.raw_scale == made.input_scale == {}


def test_preprocess_as_it_is():
    image = random(4, 5, 3)
    same(transformer().preprocess("data", image), image.astype("f"))


def test_preprocess_from_bytes():
    image = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    same(transformer(transpose=(2, 0, 1)).preprocess("data", image), image.transpose(2, 0, 1), "f")


def test_preprocess_steps_in_their_order():
    image, mean = random(4, 5, 3), np.array([104.0, 117, 123])
    made = transformer(
        transpose=(2, 0, 1), channel_swap=(2, 0, 1), raw_scale=255, mean=mean, input_scale=0.017
    )
    expected = image.astype("f").transpose(2, 0, 1)[[2, 0, 1]]
    expected = expected * np.float32(255)
    expected = (expected - mean[:, None, None]).astype("f") * np.float32(0.017)
    same(made.preprocess("data", image), expected)


def test_preprocess_with_scales_of_numpy():
    image = random(4, 5, 3)
    found = transformer(raw_scale=np.float64(1) / 3).preprocess("data", image)
    same(found, image.astype("f") * np.float32(1 / 3))


def test_preprocess_resizes():
    image = random(8, 10, 3).astype("f")
    found = transformer(transpose=(2, 0, 1)).preprocess("data", image)
    same(found, caffe.io.resize_image(image, (4, 5)).transpose(2, 0, 1))


def test_preprocess_does_not_change_the_image():
    image = random(4, 5, 3).astype("f")
    before = image.copy()
    transformer(raw_scale=255.0, mean=np.ones(3), transpose=(2, 0, 1)).preprocess("data", image)
    same(image, before)


def test_deprocess_is_the_way_back():
    image = random(4, 5, 3)
    made = transformer(
        transpose=(2, 0, 1),
        channel_swap=(1, 2, 0),
        raw_scale=255.0,
        mean=np.array([1.0, 2, 3]),
        input_scale=0.5,
    )
    data = made.preprocess("data", image)
    before = data.copy()
    back = made.deprocess("data", data[np.newaxis])
    assert back.shape == (4, 5, 3)
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, image, atol=1e-6)
    same(data, before)


def test_deprocess_steps_in_their_order():
    data = random(3, 4, 5).astype("f")
    made = transformer(raw_scale=4.0, mean=np.array([1.0, 2, 3]), input_scale=0.5)
    expected = (data * 2 + np.float32([1, 2, 3])[:, None, None]) / 4
    same(made.deprocess("data", data), expected)


def test_mean_of_channels():
    same(transformer(mean=np.array([1.0, 2, 3])).mean["data"], np.array([[[1.0]], [[2]], [[3]]]))


def test_mean_of_the_inputs_size():
    mean = random(3, 4, 5)
    same(transformer(mean=mean).mean["data"], mean)


def test_mean_of_one_plane():
    made = caffe.io.Transformer({"gray": (1, 1, 4, 5)})
    mean = random(4, 5)
    made.set_mean("gray", mean)
    made.set_transpose("gray", (2, 0, 1))
    same(made.preprocess("gray", np.zeros((4, 5, 1))), -mean[np.newaxis].astype("f"))


def test_mean_of_another_size_is_resized():
    for dtype in "fd":
        mean = (random(3, 9, 7) * 255).astype(dtype)
        expected = caffe.io.resize_image(mean.transpose(1, 2, 0), (4, 5)).transpose(2, 0, 1)
        found = transformer(mean=mean).mean["data"]
        assert found.shape == (3, 4, 5)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def test_mean_that_does_not_fit():
    assert raises(ValueError, transformer().set_mean, "data", np.ones(4))
    assert raises(ValueError, transformer().set_mean, "data", np.ones((1, 3, 4, 5)))


def test_a_constant_mean_of_another_size():
    same(transformer(mean=np.full((3, 8, 8), 7.0)).mean["data"], np.full((3, 4, 5), 7, "f"))


def test_a_plane_as_a_mean_of_another_size():
    made = caffe.io.Transformer({"gray": (1, 1, 4, 5)})
    made.set_mean("gray", random(8, 10))
    assert made.mean["gray"].shape == (1, 4, 5)


def test_settings_that_do_not_fit():
    assert raises(Exception, transformer().set_transpose, "data", (1, 0))
    assert raises(Exception, transformer().set_channel_swap, "data", (1, 0))


def test_inputs_that_are_not_there():
    made = transformer()
    for name in ("transpose", "channel_swap", "raw_scale", "mean", "input_scale"):
        assert raises(Exception, getattr(made, "set_" + name), "label", np.ones(3)), name
    assert raises(Exception, made.preprocess, "label", np.ones((4, 5, 3)))
    assert raises(Exception, made.deprocess, "label", np.ones((4, 5, 3)))


def test_settings_are_of_one_input():
    made = transformer(raw_scale=255.0)
    assert made.raw_scale == {"data": 255.0}
    same(made.preprocess("more", np.ones((3, 3, 2))), np.ones((3, 3, 2), "f"))


# --- resizing -------------------------------------------------------------------------


def smoothed(values, factor):
    """A line of pixels by a Gaussian, for making it smaller; zeros are beyond."""
    sigma = max(0.0, (factor - 1) / 2)
    reach = int(4 * sigma + 0.5)
    weights = [np.exp(-0.5 * (x / sigma) ** 2) if sigma else 1 for x in range(-reach, reach + 1)]
    out = np.zeros(len(values))
    for i in range(len(values)):
        for x, weight in zip(range(-reach, reach + 1), weights):
            if 0 <= i + x < len(values):
                out[i] += values[i + x] * weight / sum(weights)
    return out


def interpolated(values, new):
    """A line of pixels at the centres of ``new`` ones, linearly; zeros are beyond."""
    padded = [0.0, *list(values), 0.0]
    out = []
    for i in range(new):
        place = (i + 0.5) * len(values) / new - 0.5 + 1
        left = int(np.floor(place))
        out.append(padded[left] * (left + 1 - place) + padded[left + 1] * (place - left))
    return out


def resized(image, size):
    low, high = image.min(), image.max()
    values = (image.astype("d") - low) / (float(high) - low)
    for axis in (0, 1):
        factor = values.shape[axis] / float(size[axis])
        values = np.apply_along_axis(smoothed, axis, values, factor)
    within = values.min(), values.max()
    for axis in (0, 1):
        values = np.apply_along_axis(interpolated, axis, values, size[axis])
    return np.clip(values, *within) * (float(high) - low) + low


def test_resize_linearly():
    for shape, size in [
        ((7, 9, 3), (14, 18)),
        ((7, 9, 3), (4, 5)),
        ((13, 6, 1), (5, 17)),
        ((8, 8, 3), (4, 4)),
        ((5, 6, 3), (5, 6)),
        ((6, 5, 3), (1, 1)),
    ]:
        for scale in (1, 255):
            for dtype in "fd":
                image = (random(*shape) * scale).astype(dtype)
                found = caffe.io.resize_image(image, size)
                assert found.dtype == np.float32
                assert found.shape == size + shape[2:]
                wrong = np.abs(found - resized(image, size)).max()
                assert wrong <= 1e-6 * scale, (shape, size, scale, dtype, wrong)


def test_resize_bytes():
    image = (random(9, 8, 3) * 255).astype("u1")
    found = caffe.io.resize_image(image, (5, 12))
    np.testing.assert_allclose(found, resized(image, (5, 12)), rtol=0, atol=1e-4)


def test_resize_to_the_nearest():
    image = random(2, 3, 1)
    found = caffe.io.resize_image(image, (4, 9), interp_order=0)
    np.testing.assert_allclose(found, image.repeat(2, 0).repeat(3, 1), rtol=0, atol=1e-6)


def test_resize_by_cubic_convolution():
    line = [0.0, 1, 4, 9, 16]
    image = np.array(line).reshape(1, 5, 1).repeat(2, 0)
    found = caffe.io.resize_image(image, (2, 10), 3)[0, :, 0]
    # Halfway between pixels, but for a quarter: a quadratic is met exactly away from borders.
    places = (np.arange(10) + 0.5) / 2 - 0.5
    np.testing.assert_allclose(found[3:7], places[3:7] ** 2, rtol=0, atol=1e-5)


def test_resize_two_or_four_channels():
    image = random(3, 3, 4)
    found = caffe.io.resize_image(image, (5, 5))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[::2, ::2], image, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found[1, 0], (image[0, 0] + image[1, 0]) / 2, rtol=0, atol=1e-6)
    assert caffe.io.resize_image(random(3, 3, 2), (4, 7)).shape == (4, 7, 2)


def test_resize_a_constant():
    for value in (0, 0.25, 7):
        same(
            caffe.io.resize_image(np.full((3, 4, 3), value), (5, 6)), np.full((5, 6, 3), value, "f")
        )


def test_resize_to_a_size_in_an_array():
    image = random(5, 5, 3)
    same(caffe.io.resize_image(image, np.array([3, 4])), caffe.io.resize_image(image, (3, 4)))


def test_resize_what_is_no_image():
    assert raises(Exception, caffe.io.resize_image, random(5, 5), (3, 4))


# --- cropping -------------------------------------------------------------------------


def test_oversample():
    images = [random(5, 6, 3, seed=seed) for seed in (1, 2)]
    crops = caffe.io.oversample(images, (2, 3))
    assert crops.shape == (20, 2, 3, 3)
    assert crops.dtype == np.float32
    for image, found in zip(images, (crops[:10], crops[10:])):
        starts = [(0, 0), (0, 3), (3, 0), (3, 3), (1, 1)]
        for index, (top, left) in enumerate(starts):
            crop = image[top : top + 2, left : left + 3].astype("f")
            same(found[index], crop)
            same(found[index + 5], crop[:, ::-1])


def test_oversample_of_an_array_to_its_own_size():
    images = random(2, 3, 3, 1)
    crops = caffe.io.oversample(images, np.array([3, 3]))
    same(crops[[0, 1, 2, 3, 4]], images[[0] * 5].astype("f"))
    same(crops[15:], images[[1] * 5, :, ::-1].astype("f"))


def test_oversample_to_more_than_there_is():
    assert raises(ValueError, caffe.io.oversample, [random(3, 3, 1)], (4, 3))


# --- reading --------------------------------------------------------------------------


def load(name, color=True):
    with pictures.readable():
        image = caffe.io.load_image(name, color)
    assert image.dtype == np.float32
    assert image.ndim == 3
    return image


def test_load_rgb():
    pixels = (random(3, 4, 3) * 255).astype("u1")
    pictures.write_png("rgb.png", pixels, pictures.RGB)
    same(load("rgb.png"), (pixels / 255.0).astype("f"))
    gray = pixels / 255.0 @ [0.2125, 0.7154, 0.0721]
    np.testing.assert_allclose(load("rgb.png", False)[:, :, 0], gray, rtol=0, atol=1e-7)


def test_load_gray():
    pixels = (random(3, 4) * 255).astype("u1")
    pictures.write_png("gray.png", pixels, pictures.GRAY)
    same(load("gray.png", False), (pixels / 255.0).astype("f")[:, :, None])
    same(load("gray.png"), np.tile((pixels / 255.0).astype("f")[:, :, None], (1, 1, 3)))


def test_load_16_bits():
    pixels = (random(3, 4) * 65535).astype("u2")
    pictures.write_png("deep.png", pixels, pictures.GRAY, depth=16)
    same(load("deep.png", False), (pixels / 65535.0).astype("f")[:, :, None])


def test_load_1_bit():
    pixels = random(3, 10) > 0.5
    pictures.write_png("bits.png", pixels, pictures.GRAY, depth=1)
    same(load("bits.png", False), pixels.astype("f")[:, :, None])


def test_load_with_alpha():
    pixels = (random(3, 4, 4) * 255).astype("u1")
    pictures.write_png("alpha.png", pixels, pictures.RGBA)
    same(load("alpha.png"), (pixels[:, :, :3] / 255.0).astype("f"))
    part = pixels[:, :, 3:] / 255.0
    white = (part * (pixels[:, :, :3] / 255.0) + 1 - part) @ [0.2125, 0.7154, 0.0721]
    np.testing.assert_allclose(load("alpha.png", False)[:, :, 0], white, rtol=0, atol=1e-6)


def test_load_gray_with_alpha():
    pixels = (random(3, 4, 2) * 255).astype("u1")
    pictures.write_png("alpha.png", pixels, pictures.GRAY_ALPHA)
    same(load("alpha.png"), (pixels[:, :, :1] / 255.0).astype("f").repeat(3, 2))


def test_load_palette():
    palette = np.uint8([[0, 0, 0], [255, 0, 0], [0, 10, 200]])
    pixels = np.uint8([[0, 1, 2], [2, 1, 0]])
    pictures.write_png("palette.png", pixels, pictures.PALETTE, palette=palette)
    same(load("palette.png"), (palette[pixels] / 255.0).astype("f"))
    pictures.write_png("clear.png", pixels, pictures.PALETTE, 8, palette, [255, 0, 128])
    same(load("clear.png"), (palette[pixels] / 255.0).astype("f"))


def test_load_gray_palette():
    palette = np.uint8([[9, 9, 9], [200, 200, 200], [1, 2, 3]])
    pixels = np.uint8([[0, 1], [1, 0]])
    pictures.write_png("palette.png", pixels, pictures.PALETTE, palette=palette)
    expected = (palette[pixels][:, :, :1] / 255.0).astype("f")
    same(load("palette.png", False), expected)
    same(load("palette.png"), expected.repeat(3, 2))


def test_load_jpeg():
    pathlib.Path("a.jpg").write_bytes(pictures.JPEG)
    same(load("a.jpg"), (np.array(pictures.JPEG_PIXELS) / 255.0).astype("f"))


def test_load_gif():
    pathlib.Path("a.gif").write_bytes(pictures.GIF)
    colors = [[[0, 0, 0], [255, 0, 0], [0, 255, 0]], [[0, 0, 255], [10, 20, 30], [200, 100, 50]]]
    same(load("a.gif"), (np.array(colors) / 255.0).astype("f"))


def test_load_what_is_not_there():
    assert raises(IOError, load, "nothing.png")


def test_load_what_is_no_image():
    pathlib.Path("text.png").write_text("text")
    assert raises(Exception, load, "text.png")


def test_load_image_needs_an_older_scikit_image():
    pictures.write_png("gray.png", np.uint8([[1]]), pictures.GRAY)
    assert raises(TypeError, caffe.io.load_image, "gray.png")
