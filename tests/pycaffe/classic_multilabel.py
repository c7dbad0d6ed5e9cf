"""Several labels an image: a Python data layer, SigmoidCrossEntropyLoss and Hamming distance."""

import numpy as np
from classic import draw_weights, make_solver, merged

import caffe
from caffe import layers as L
from caffe import params as P

LABELS, SIZE, STEPS = 4, 16, 30


def scene(random):
    """An image whose quarters may be lit, and which of them are."""
    labels = random.rand(LABELS) < 0.4
    image = random.randint(0, 90, (3, SIZE, SIZE)).astype(np.uint8)
    half = SIZE // 2
    for number in np.flatnonzero(labels):
        y, x = divmod(int(number), 2)
        image[:, y * half : (y + 1) * half, x * half : (x + 1) * half] += 120
    return image, labels


class Scenes(caffe.Layer):
    """Tops: images less their mean, and a row of zeros and ones for each."""

    def setup(self, bottom, top):
        settings = eval(self.param_str)
        self.random = np.random.RandomState(settings["seed"])
        self.scenes = [scene(self.random) for _ in range(settings["scenes"])]
        self.next = 0
        self.mean = np.array(settings["mean"], "f")[:, np.newaxis, np.newaxis]
        top[0].reshape(settings["batch_size"], 3, SIZE, SIZE)
        top[1].reshape(settings["batch_size"], LABELS)

    def reshape(self, bottom, top):
        pass

    def forward(self, bottom, top):
        for index in range(top[0].num):
            if self.next == len(self.scenes):
                self.next = 0
                self.random.shuffle(self.scenes)
            image, labels = self.scenes[self.next]
            self.next += 1
            top[0].data[index] = (image - self.mean) / 64
            top[1].data[index] = labels

    def backward(self, top, propagate_down, bottom):
        pass


def net(settings):
    n = caffe.NetSpec()
    n.data, n.label = L.Python(module=__name__, layer="Scenes", ntop=2, param_str=str(settings))
    n.conv = L.Convolution(n.data, num_output=6, kernel_size=3, stride=2)
    n.relu = L.ReLU(n.conv, in_place=True)
    n.pool = L.Pooling(n.relu, pool=P.Pooling.MAX, kernel_size=3, stride=2)
    n.score = L.InnerProduct(n.pool, num_output=LABELS)
    n.loss = L.SigmoidCrossEntropyLoss(n.score, n.label)
    return n.to_proto()


def hamming(net, batches):
    """The share of labels that are right."""
    right = []
    for _ in range(batches):
        net.forward()
        right.append(((net.blobs["score"].data > 0) == (net.blobs["label"].data > 0)).mean())
    return float(np.mean(right))


def run():
    found = {}
    train = {"batch_size": 8, "scenes": 60, "seed": 1, "mean": [90, 91, 92]}
    test = {"batch_size": 10, "scenes": 40, "seed": 2, "mean": [90, 91, 92]}
    solver = make_solver(
        merged(net(train), net(test)),
        base_lr=0.005, momentum=0.9, weight_decay=5e-4, max_iter=STEPS,
        test_iter=[4], test_interval=1000,
    )  # fmt: skip
    draw_weights(solver.net, 16)
    solver.test_nets[0].share_with(solver.net)
    before, losses = hamming(solver.test_nets[0], 4), []
    for _ in range(STEPS):
        solver.step(1)
        losses.append(float(solver.net.blobs["loss"].data))
    found["losses"] = losses
    found["diff of the scores"] = solver.net.blobs["score"].diff.copy()
    found["right"] = [before, hamming(solver.test_nets[0], 4)]
    found["scores"] = solver.test_nets[0].blobs["score"].data.copy()
    found["labels"] = solver.test_nets[0].blobs["label"].data.copy()
    for name, blobs in solver.net.params.items():
        found[name] = blobs[0].data.copy()
    assert found["right"][1] > max(0.9, before + 0.1), found["right"]
    return found
