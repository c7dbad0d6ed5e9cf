"""A data layer written in Python whose batches a process of its own makes ahead."""

import json
import multiprocessing
import os

import numpy as np
from classic import draw_weights, make_solver, merged

import caffe
from caffe import layers as L
from caffe import params as P

STEPS, CLASSES = 10, 3


def batches(pipe, seed, count):
    """What the process does: batches, one after another, as far ahead as the pipe holds."""
    random = np.random.RandomState(seed)
    while True:
        labels = random.randint(0, CLASSES, count)
        images = random.rand(count, 2, 9, 9)
        for image, label in zip(images, labels):
            image[:, 3 * label : 3 * label + 3] += 1
        pipe.send((os.getpid(), images.astype("f"), labels.astype("f")))


class Ahead(caffe.Layer):
    """Tops: images and labels, of the sizes and the seed that param_str gives."""

    def setup(self, bottom, top):
        settings = json.loads(self.param_str)
        self.batch = settings["batch"]
        self.pids = []
        # A Queue would do as well where there is a /dev/shm, which chroot has not.
        self.pipe, end = multiprocessing.Pipe(duplex=False)
        arguments = (end, settings["seed"] + self.phase, self.batch)
        self.process = multiprocessing.Process(target=batches, args=arguments)
        self.process.daemon = True  # it ends with this program
        self.process.start()
        top[0].reshape(self.batch, 2, 9, 9)
        top[1].reshape(self.batch)

    def reshape(self, bottom, top):
        pass

    def forward(self, bottom, top):
        assert self.pipe.poll(60), "no batch within a minute"
        pid, images, labels = self.pipe.recv()
        self.pids.append(pid)
        top[0].data[...] = images
        top[1].data[...] = labels

    def backward(self, top, propagate_down, bottom):
        pass


def net(batch):
    n = caffe.NetSpec()
    n.data, n.label = L.Python(
        module=__name__,
        layer="Ahead",
        param_str=json.dumps({"batch": batch, "seed": 20}),
        ntop=2,
    )
    n.conv = L.Convolution(n.data, num_output=4, kernel_size=3)
    n.relu = L.ReLU(n.conv, in_place=True)
    n.pool = L.Pooling(n.relu, pool=P.Pooling.AVE, kernel_size=3, stride=2)
    n.ip = L.InnerProduct(n.pool, num_output=CLASSES)
    n.loss = L.SoftmaxWithLoss(n.ip, n.label)
    return n.to_proto()


def run():
    found = {}
    solver = make_solver(
        merged(net(8), net(6)),
        base_lr=0.05, momentum=0.9, max_iter=STEPS, test_iter=[2], test_interval=1000,
    )  # fmt: skip
    draw_weights(solver.net, 15)
    layers = [solver.net.layers[0], solver.test_nets[0].layers[0]]
    try:
        losses, labels = [], []
        for iteration in range(STEPS):
            solver.step(1)
            losses.append(float(solver.net.blobs["loss"].data))
            labels.append(solver.net.blobs["label"].data.copy())
            found["%d: update of conv" % iteration] = solver.net.params["conv"][0].diff.copy()
        solver.test_nets[0].share_with(solver.net)
        found["test losses"] = [float(solver.test_nets[0].forward()["loss"]) for _ in range(3)]
        found["test labels"] = solver.test_nets[0].blobs["label"].data.copy()
        found["losses"], found["labels"] = losses, labels
        assert losses[-1] < losses[0], losses
        pids = [set(layer.pids) for layer in layers]
        assert all(len(each) == 1 for each in pids), pids
        assert len({os.getpid()} | pids[0] | pids[1]) == 3, pids
        # The next batch is there before anybody asks for it, or soon.
        assert all(layer.process.is_alive() and layer.pipe.poll(60) for layer in layers)
    finally:
        for layer in layers:
            layer.process.terminate()
            layer.process.join()
    return found
