"""Net surgery: filters written by hand, and a classifier cast into a fully convolutional net."""

import numpy as np
from classic import draw_weights, write

import caffe
from caffe import layers as L
from caffe import params as P

SMALL, LARGE, STRIDE = 37, 69, 8  # sizes that no window is cut off at


def edges(found):
    n = caffe.NetSpec()
    n.data = L.Input(shape=[{"dim": [1, 1, 40, 50]}])
    n.conv = L.Convolution(
        n.data, num_output=3, kernel_size=5, weight_filler={"type": "gaussian", "std": 0.01}
    )
    net = caffe.Net(write("conv.prototxt", n.to_proto()), caffe.TEST)
    image = np.random.RandomState(1).rand(60, 44).astype("f")
    net.blobs["data"].reshape(1, 1, *image.shape)
    net.blobs["data"].data[...] = image
    weights, bias = net.params["conv"][0].data, net.params["conv"][1].data
    column, row = np.mgrid[-2:3, -2:3]
    weights[0, 0] = np.exp(-(column**2 + row**2) / 2.0)
    weights[1:, 0] = 0
    weights[1, 0, 1:4, 1:4] = [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]
    weights[2, 0, 1:4, 1:4] = [[-1, -2, -1], [0, 0, 0], [1, 2, 1]]
    bias[...] = 0
    net.forward()
    found["filtered"] = net.blobs["conv"].data.copy()
    slope = image[1:-1, 2:] - image[1:-1, :-2]
    slope = slope[:-2] + 2 * slope[1:-1] + slope[2:]
    np.testing.assert_allclose(found["filtered"][0, 1], slope[:, 1:-1], atol=1e-5)
    bias[0] += 1
    before = found["filtered"][0, 0].mean()
    net.forward()
    assert abs(net.blobs["conv"].data[0, 0].mean() - before - 1) < 1e-4


def trunk(size, count=1):
    n = caffe.NetSpec()
    n.data = L.Input(shape=[{"dim": [count, 3, size, size]}])
    n.conv1 = L.Convolution(n.data, num_output=8, kernel_size=5, stride=2)
    n.relu1 = L.ReLU(n.conv1, in_place=True)
    n.pool1 = L.Pooling(n.relu1, pool=P.Pooling.MAX, kernel_size=3, stride=2)
    n.norm1 = L.LRN(n.pool1, local_size=5, alpha=0.1, beta=0.75)
    n.conv2 = L.Convolution(n.norm1, num_output=12, kernel_size=3, group=2)
    n.relu2 = L.ReLU(n.conv2, in_place=True)
    n.pool2 = L.Pooling(n.relu2, pool=P.Pooling.MAX, kernel_size=2, stride=2)
    return n


def classifier():
    n = trunk(SMALL)
    bottom = n.pool2
    for name, outputs in (("fc6", 24), ("fc7", 16)):
        n[name] = L.InnerProduct(bottom, num_output=outputs)
        relu = L.ReLU(n[name], in_place=True)
        n["relu" + name[2]] = relu
        bottom = n["drop" + name[2]] = L.Dropout(relu, in_place=True)
    n.fc8 = L.InnerProduct(bottom, num_output=10)
    n.prob = L.Softmax(n.fc8)
    return n.to_proto()


def fully_convolutional():
    n = trunk(LARGE)
    bottom = n.pool2
    for name, outputs, kernel in (("fc6-conv", 24, 3), ("fc7-conv", 16, 1)):
        n[name] = L.Convolution(bottom, num_output=outputs, kernel_size=kernel)
        relu = L.ReLU(n[name], in_place=True)
        n["relu" + name[2]] = relu
        bottom = n["drop" + name[2]] = L.Dropout(relu, in_place=True)
    n["fc8-conv"] = L.Convolution(bottom, num_output=10, kernel_size=1)
    n.prob = L.Softmax(n["fc8-conv"])
    return n.to_proto()


def cast(found):
    net = caffe.Net(write("classifier.prototxt", classifier()), caffe.TEST)
    draw_weights(net, 4)
    net.save("classifier.caffemodel")
    full = caffe.Net(
        write("full.prototxt", fully_convolutional()), "classifier.caffemodel", caffe.TEST
    )
    # The layers of the same names have the classifier's weights, the others none yet.
    np.testing.assert_array_equal(full.params["conv2"][0].data, net.params["conv2"][0].data)
    assert not full.params["fc6-conv"][0].data.any()
    for name in ("fc6", "fc7", "fc8"):
        weights, bias = net.params[name]
        full.params[name + "-conv"][0].data.flat = weights.data.flat
        full.params[name + "-conv"][1].data[...] = bias.data
    full.save("full.caffemodel")
    for name, blobs in full.params.items():
        for index, blob in enumerate(blobs):
            found["full %s %d" % (name, index)] = blob.data.copy()

    image = np.random.RandomState(2).rand(3, LARGE, LARGE).astype("f") * 2 - 1
    places = list(range(0, LARGE - SMALL + 1, STRIDE))
    crops = [image[:, y : y + SMALL, x : x + SMALL] for y in places for x in places]
    net.blobs["data"].reshape(len(crops), 3, SMALL, SMALL)
    net.blobs["data"].data[...] = crops
    found["crops"] = net.forward()["prob"].copy()

    full = caffe.Net("full.prototxt", "full.caffemodel", caffe.TEST)
    found["map"] = full.forward(data=image[np.newaxis])["prob"].copy()
    found["maxima"] = found["map"][0].argmax(axis=0)
    assert found["map"].shape == (1, 10, len(places), len(places))
    assert len(set(found["maxima"].ravel())) > 1
    expected = found["crops"].T.reshape(10, len(places), len(places))
    np.testing.assert_allclose(found["map"][0], expected, atol=1e-5)
    np.testing.assert_array_equal(found["maxima"], expected.argmax(axis=0))

    # On an image of the classifier's own size it is the classifier.
    full.blobs["data"].reshape(1, 3, SMALL, SMALL)
    full.reshape()
    one = full.forward(data=crops[0][np.newaxis])["prob"]
    assert one.shape == (1, 10, 1, 1)
    np.testing.assert_allclose(one[0, :, 0, 0], found["crops"][0], atol=1e-6)


def run():
    found = {}
    edges(found)
    cast(found)
    return found
