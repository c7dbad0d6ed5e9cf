"""LeNet learned step by step, with a look at data, diffs and scores between the steps.

Reads the LMDB ``digits`` beside it: 1 x 28 x 28, ten classes.
"""

import numpy as np
from classic import draw_weights, make_solver, merged

import caffe
from caffe import layers as L
from caffe import params as P

STEPS = 8
# Three batches are all 60 records: after a snapshot of iteration 3 the next record is the first,
# where BVLC's reader begins after every restore.
BATCHES = {"train": 20, "test": 20}


def lenet(batch):
    n = caffe.NetSpec()
    n.data, n.label = L.Data(
        batch_size=batch,
        backend=P.Data.LMDB,
        source="digits",
        transform_param={"scale": 1.0 / 255},
        ntop=2,
    )
    filler = {"type": "xavier"}
    n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20, weight_filler=filler)
    n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.conv2 = L.Convolution(n.pool1, kernel_size=5, num_output=50, weight_filler=filler)
    n.pool2 = L.Pooling(n.conv2, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.fc1 = L.InnerProduct(n.pool2, num_output=100, weight_filler=filler)
    n.relu1 = L.ReLU(n.fc1, in_place=True)
    n.score = L.InnerProduct(n.relu1, num_output=10, weight_filler=filler)
    n.loss = L.SoftmaxWithLoss(n.score, n.label)
    return n.to_proto()


def solver_of(seed, **settings):
    net = merged(lenet(BATCHES["train"]), lenet(BATCHES["test"]))
    solver = make_solver(net, test_iter=[2], test_interval=1000, **settings)
    draw_weights(solver.net, seed)
    # A solver's test nets have the train net's weights from the first test on only.
    solver.test_nets[0].share_with(solver.net)
    return solver


def step_by_step(found):
    solver = solver_of(3, base_lr=0.05, momentum=0.9, weight_decay=5e-4, max_iter=100)
    net, test = solver.net, solver.test_nets[0]
    found["blobs"] = list(net.blobs)
    found["layers"] = list(net._layer_names)
    found["parameters"] = list(net.params)
    found["shapes"] = [str(tuple(blob.data.shape)) for blob in net.blobs.values()]
    found["first loss"] = net.forward()["loss"].copy()
    found["first test loss"] = test.forward()["loss"].copy()
    found["images"] = net.blobs["data"].data[:4].copy()
    found["labels"] = net.blobs["label"].data.copy()
    losses, scores, correct = [], [], []
    for iteration in range(STEPS):
        solver.step(1)
        losses.append(float(net.blobs["loss"].data))
        key = "after %d: " % iteration
        found[key + "update of conv1"] = net.params["conv1"][0].diff.copy()
        found[key + "diff of fc1"] = net.blobs["fc1"].diff.copy()
        found[key + "diff of the scores"] = net.blobs["score"].diff.copy()
        # The same test batch again: from conv1 on, with the new weights.
        test.forward(start="conv1")
        scores.append(test.blobs["score"].data[:8].copy())
        if iteration % 4 == 3:
            hits = 0
            for _ in range(3):
                test.forward()
                hits += int((test.blobs["score"].data.argmax(1) == test.blobs["label"].data).sum())
            correct.append(hits)
    found["losses"] = losses
    found["scores"] = scores
    found["correct"] = correct
    assert losses[-1] < 0.8 * losses[0], losses
    return net


def by_hand(net, found):
    """Gradient descent without the solver, and parts of the net alone."""
    draw_weights(net, 4)  # the same for all; a maximum that rounding moves would show here
    for number in range(3):
        net.clear_param_diffs()
        found["by hand %d: loss" % number] = net.forward()["loss"].copy()
        net.backward()
        for name, blobs in net.params.items():
            for index, blob in enumerate(blobs):
                if number == 0:
                    found["by hand: gradient %s %d" % (name, index)] = blob.diff.copy()
                blob.data[...] -= 0.02 * blob.diff
    # Without clearing, gradients of two backwards add up.
    net.clear_param_diffs()
    net.forward()
    net.backward()
    once = net.params["conv2"][0].diff.copy()
    net.backward()
    np.testing.assert_allclose(net.params["conv2"][0].diff, 2 * once, rtol=1e-5, atol=1e-7)
    # What a user writes between two layers is what the next one reads.
    found["pool1 alone"] = net.forward(start="pool1", end="pool1")["pool1"].copy()
    net.blobs["pool2"].data[:, ::2] = 0
    found["loss of half of pool2"] = net.forward(start="fc1")["loss"].copy()
    found["diff of pool2"] = net.backward(end="fc1")["pool2"].copy()
    net.blobs["score"].diff[...] = 1
    found["pulled back"] = net.backward(start="score", end="score")["fc1"].copy()


def restored(found):
    """All at once with Adam; then again from the snapshot in the middle."""
    settings = {"type": "Adam", "base_lr": 1e-3, "momentum": 0.9, "momentum2": 0.999, "max_iter": 6}
    solver = solver_of(5, snapshot=3, **settings)
    solver.solve()
    found["iteration"] = solver.iter
    ends = [blob.data.copy() for blobs in solver.net.params.values() for blob in blobs]
    found["solved: conv1"], found["solved: score"] = ends[0], ends[6]
    solver = solver_of(6, **settings)
    solver.restore("snap_iter_3.solverstate")
    found["restored iteration"] = solver.iter
    found["restored: conv1"] = solver.net.params["conv1"][0].data.copy()
    solver.step(1)
    found["restored and stepped: conv1"] = solver.net.params["conv1"][0].data.copy()


def run():
    found = {}
    by_hand(step_by_step(found), found)
    restored(found)
    return found
