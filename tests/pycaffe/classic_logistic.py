"""Logistic regression on HDF5 files, and with one hidden layer more."""

import h5py
import numpy as np
from classic import draw_weights, make_solver, merged, write

import caffe
from caffe import layers as L
from caffe import params as P

ROWS = {"train": 90, "test": 40}
SETTINGS = {
    "base_lr": 0.3,
    "lr_policy": "step",
    "gamma": 0.5,
    "stepsize": 60,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "max_iter": 120,
    "test_iter": [4],
    "test_interval": 40,
    "snapshot": 120,
}


def write_data():
    """Two files for learning, of which batches run from one into the other, and one to test."""
    random = np.random.RandomState(11)
    count = sum(ROWS.values())
    x = random.standard_normal((count, 4)).astype("f")
    y = (x[:, 0] - x[:, 1] * 0.5 + 0.6 * x[:, 2] * x[:, 3] > 0).astype("f")
    parts = {"train0": slice(0, 37), "train1": slice(37, 90), "test": slice(90, count)}
    for name, part in parts.items():
        with h5py.File(name + ".h5", "w") as file:
            file["data"], file["label"] = x[part], y[part]
    write("train.txt", "train0.h5\ntrain1.h5\n")
    write("test.txt", "test.h5\n")


def regression(source, batch, hidden):
    n = caffe.NetSpec()
    n.data, n.label = L.HDF5Data(batch_size=batch, source=source, ntop=2)
    bottom = n.data
    if hidden:
        n.ip1 = L.InnerProduct(bottom, num_output=hidden, weight_filler={"type": "xavier"})
        bottom = n.relu1 = L.ReLU(n.ip1, in_place=True)
    n.ip2 = L.InnerProduct(bottom, num_output=2, weight_filler={"type": "xavier"})
    n.accuracy = L.Accuracy(n.ip2, n.label)
    n.loss = L.SoftmaxWithLoss(n.ip2, n.label, loss_param={"normalization": P.Loss.VALID})
    return n.to_proto()


def run():
    found = {}
    write_data()
    for hidden in (0, 24):
        key = "%d hidden: " % hidden
        net = merged(regression("train.txt", 8, hidden), regression("test.txt", 10, hidden))
        solver = make_solver(net, **SETTINGS)
        draw_weights(solver.net, 12)
        solver.solve()
        test = solver.test_nets[0]
        accuracies = [float(test.forward()["accuracy"]) for _ in range(4)]
        found[key + "accuracies"] = accuracies
        assert np.mean(accuracies) > 0.75, accuracies
        found[key + "last batch"] = test.blobs["data"].data.copy()
        found[key + "scores"] = test.blobs["ip2"].data.copy()
        for name, blobs in solver.net.params.items():
            for index, blob in enumerate(blobs):
                found[key + "%s %d" % (name, index)] = blob.data.copy()

        # The snapshot is the net; what was tested is its end.
        saved = caffe.Net("net.prototxt", "snap_iter_120.caffemodel", caffe.TEST)
        np.testing.assert_array_equal(saved.params["ip2"][0].data, solver.net.params["ip2"][0].data)
        found[key + "saved"] = float(saved.forward()["loss"])
    return found
