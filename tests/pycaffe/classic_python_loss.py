"""A loss written in Python, beside Caffe's own, and one with a parameter that is learned."""

import numpy as np
from classic import draw_weights, make_solver

import caffe
from caffe import layers as L

BATCH, STEPS = 10, 12


class Squared(caffe.Layer):
    """Half the mean squared distance, as EuclideanLoss computes it."""

    def setup(self, bottom, top):
        if len(bottom) != 2:
            raise Exception("need two bottoms to compare")

    def reshape(self, bottom, top):
        if bottom[0].count != bottom[1].count:
            raise Exception("bottoms of different sizes")
        self.difference = np.zeros_like(bottom[0].data, dtype=np.float32)
        top[0].reshape(1)

    def forward(self, bottom, top):
        self.difference[...] = bottom[0].data - bottom[1].data
        top[0].data[...] = np.sum(self.difference**2) / bottom[0].num / 2.0

    def backward(self, top, propagate_down, bottom):
        for index, sign in ((0, 1), (1, -1)):
            if propagate_down[index]:
                weight = top[0].diff[0]
                bottom[index].diff[...] = weight * sign * self.difference / bottom[index].num


class Gain(caffe.Layer):
    """Multiplies by a learned number; in the middle of a net."""

    def setup(self, bottom, top):
        self.blobs.add_blob(1)
        self.blobs[0].data[...] = float(self.param_str)

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data * self.blobs[0].data[0]

    def backward(self, top, propagate_down, bottom):
        self.blobs[0].diff[0] += np.sum(top[0].diff * bottom[0].data)
        if propagate_down[0]:
            bottom[0].diff[...] = top[0].diff * self.blobs[0].data[0]


def net(in_python, weight):
    n = caffe.NetSpec()
    n.data = L.Input(shape=[{"dim": [BATCH, 5]}])
    n.target = L.Input(shape=[{"dim": [BATCH, 3]}])
    n.ip1 = L.InnerProduct(n.data, num_output=8)
    n.tanh = L.TanH(n.ip1)
    n.gain = L.Python(n.tanh, module=__name__, layer="Gain", param_str="1.5")
    n.ip2 = L.InnerProduct(n.gain, num_output=3)
    if in_python:
        n.loss = L.Python(n.ip2, n.target, module=__name__, layer="Squared", loss_weight=weight)
    else:
        n.loss = L.EuclideanLoss(n.ip2, n.target, loss_weight=weight)
    return n.to_proto()


def learn(in_python, weight, found):
    solver = make_solver(net(in_python, weight), base_lr=0.05, momentum=0.9, max_iter=99)
    draw_weights(solver.net, 13)
    solver.net.params["gain"][0].data[...] = 1.5
    random, losses = np.random.RandomState(14), []
    mixing = random.standard_normal((5, 3))
    for _ in range(STEPS):
        data = random.standard_normal((BATCH, 5))
        solver.net.blobs["data"].data[...] = data
        solver.net.blobs["target"].data[...] = np.sin(data.dot(mixing))
        solver.step(1)
        losses.append(solver.net.blobs["loss"].data.item())
    key = "%s %g: " % ("Python" if in_python else "built in", weight)
    found[key + "losses"] = losses
    found[key + "gain"] = solver.net.params["gain"][0].data.copy()
    found[key + "diff of gain"] = solver.net.params["gain"][0].diff.copy()
    found[key + "diff of ip2"] = solver.net.blobs["ip2"].diff.copy()
    found[key + "ip1"] = solver.net.params["ip1"][0].data.copy()
    found[key + "loss weights"] = [solver.net.blob_loss_weights[name] for name in solver.net.blobs]
    assert losses[-1] < losses[0], losses
    assert abs(float(found[key + "gain"][0]) - 1.5) > 1e-3
    return found[key + "losses"], found[key + "ip1"]


def run():
    found = {}
    for weight in (1, 0.25):
        python, built_in = learn(True, weight, found), learn(False, weight, found)
        np.testing.assert_allclose(python[0], built_in[0], rtol=1e-5)
        np.testing.assert_allclose(python[1], built_in[1], rtol=1e-4, atol=1e-6)
    return found
