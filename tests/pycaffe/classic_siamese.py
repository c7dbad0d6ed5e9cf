"""A siamese net: two branches with the same parameters, and ContrastiveLoss."""

import numpy as np
from classic import draw_weights, make_solver, write

import caffe
from caffe import layers as L
from caffe import params as P

PAIRS, SIZE, STEPS = 12, 14, 15


def branch(n, bottom, suffix):
    """One branch; its parameters have names, by which the other has them too."""

    def shared(name):
        return [{"name": name + "_w", "lr_mult": 1}, {"name": name + "_b", "lr_mult": 2}]

    def add(name, top):
        n[name + suffix] = top
        return top

    conv = add("conv1", L.Convolution(bottom, num_output=6, kernel_size=5, param=shared("conv1")))
    pool = add("pool1", L.Pooling(conv, pool=P.Pooling.MAX, kernel_size=2, stride=2))
    ip = add("ip1", L.InnerProduct(pool, num_output=20, param=shared("ip1")))
    relu = add("relu1", L.ReLU(ip, in_place=True))
    return add("feat", L.InnerProduct(relu, num_output=2, param=shared("feat")))


def siamese():
    n = caffe.NetSpec()
    n.pair_data = L.Input(shape=[{"dim": [PAIRS, 2, SIZE, SIZE]}])
    n.sim = L.Input(shape=[{"dim": [PAIRS]}])
    n.data, n.data_p = L.Slice(n.pair_data, slice_param={"axis": 1, "slice_point": 1}, ntop=2)
    n.loss = L.ContrastiveLoss(
        branch(n, n.data, ""),
        branch(n, n.data_p, "_p"),
        n.sim,
        contrastive_loss_param={"margin": 1},
    )
    return n.to_proto()


def single():
    n = caffe.NetSpec()
    n.data = L.Input(shape=[{"dim": [1, 1, SIZE, SIZE]}])
    branch(n, n.data, "")
    return n.to_proto()


def images(random, classes):
    """Noise with a bright bar, across or upright."""
    made = random.rand(len(classes), SIZE, SIZE) * 0.3
    for image, number in zip(made, classes):
        bar = image if number == 0 else image.T
        bar[4:9] += 0.7
    return made.astype("f")


def batch(random):
    classes = random.randint(0, 2, (2, PAIRS))
    pairs = np.stack([images(random, each) for each in classes], axis=1)
    return pairs, (classes[0] == classes[1]).astype("f")


def run():
    found = {}
    solver = make_solver(siamese(), base_lr=0.05, momentum=0.9, weight_decay=1e-3, max_iter=100)
    net = solver.net
    draw_weights(net, 7)
    found["layers"] = list(net._layer_names)
    found["parameters"] = list(net.params)
    random, losses = np.random.RandomState(8), []
    for iteration in range(STEPS):
        net.blobs["pair_data"].data[...], net.blobs["sim"].data[...] = batch(random)
        solver.step(1)
        losses.append(float(net.blobs["loss"].data))
        for name in ("conv1", "ip1", "feat"):
            for index in range(2):
                ours, theirs = net.params[name][index], net.params[name + "_p"][index]
                np.testing.assert_array_equal(ours.data, theirs.data)
                found["%d: %s %d" % (iteration, name, index)] = ours.data.copy()
                found["%d: update of %s %d" % (iteration, name, index)] = ours.diff.copy()
                found["%d: update of %s_p %d" % (iteration, name, index)] = theirs.diff.copy()
        for name in ("feat", "feat_p"):
            found["%d: %s" % (iteration, name)] = net.blobs[name].data.copy()
            found["%d: diff of %s" % (iteration, name)] = net.blobs[name].diff.copy()
    found["losses"] = losses
    # Gradients of both branches meet in one place.
    net.clear_param_diffs()
    net.forward()
    net.backward()
    found["gradient of conv1"] = net.params["conv1"][0].diff.copy()
    found["gradient of conv1_p"] = net.params["conv1_p"][0].diff.copy()
    # What is written to one branch's parameter is the other's too.
    net.params["feat_p"][1].data[...] += 0.25
    np.testing.assert_array_equal(net.params["feat"][1].data, net.params["feat_p"][1].data)

    net.save("siamese.caffemodel")
    one = caffe.Net(write("single.prototxt", single()), "siamese.caffemodel", caffe.TEST)
    classes = np.arange(20) % 2
    one.blobs["data"].reshape(20, 1, SIZE, SIZE)
    one.blobs["data"].data[:, 0] = images(np.random.RandomState(9), classes)
    found["features"] = features = one.forward()["feat"].copy()
    distance = np.linalg.norm(features[:, np.newaxis] - features, axis=2)
    same = classes[:, np.newaxis] == classes
    assert distance[same].max() < distance[~same].min(), losses
    return found
