"""Faster R-CNN's nets and solvers, written with NetSpec for any number of classes.

ZF, VGG_CNN_M_1024 and VGG16 are as py-faster-rcnn published them for training end to end, with
the layer names and shapes of its caffemodels. It published none with a ResNet: that of ResNet-50
follows the ports that others published. ``tiny`` is our own, for small images on a CPU.

The train net has py-faster-rcnn's data layer; the test net has the inputs ``data`` and
``im_info`` and gives ``rois``, ``cls_prob`` and ``bbox_pred``. Where the two of py-faster-rcnn
have no fillers, these do, and all biases decay, as there.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from caffe.net_spec import NetSpec
from caffe.proto import caffe_pb2
from caffetools import files, prototxt
from caffetools.cli import ToolError
from caffetools.deploy import without_training
from caffetools.detection.nets import backbones, faster_rcnn
from caffetools.detection.nets.classes import check_classes
from caffetools.detection.nets.faster_rcnn import Anchors, Losses
from caffetools.freezing import freeze
from caffetools.suggest import did_you_mean

# The lengths of training that py-faster-rcnn's script has for PASCAL VOC.
_ITERATIONS, _SNAPSHOT = 70_000, 10_000
_ANCHORS, _LOSSES = Anchors(), Losses()
# BVLC's own schema has neither.
_FIELDS = ("roi_pooling_param", "smooth_l1_loss_param")


@dataclass(frozen=True)
class Detector:
    """How a net is written.

    Attributes:
        name: its published name.
        features: adds the convolutions; gives the blob that has the regions.
        head: adds what lies between pooled regions and the detector's two layers.
        rpn_outputs: of the region proposal network's own convolution.
        cells: of a pooled region, in height and width.
        pool: the name of the pooling layer, and of its top.
        anchors: unless others are asked for.
        losses: how the detector's are written.
        pool_from: the blob that regions are pooled from and its stride, where that is not the
            one that has the regions.
        frozen: the layer up to which nothing learns.
        iter_size: images to an update.
        snapshots: the start of the names of snapshots.
    """

    name: str
    features: Callable[[Any], Any]
    head: Callable[[Any, Any], Any]
    rpn_outputs: int
    cells: int
    snapshots: str
    pool: tuple[str, str] = ("roi_pool5", "pool5")
    anchors: Anchors = _ANCHORS
    losses: Losses = _LOSSES
    pool_from: Optional[tuple[str, int]] = None
    frozen: Optional[str] = None
    iter_size: int = 2


NETS = {
    "zf": Detector(
        "ZF",
        backbones.zf,
        lambda n, x: faster_rcnn.fully_connected(n, x, scale_train=False),
        rpn_outputs=256,
        cells=6,
        snapshots="zf_faster_rcnn",
        pool=("roi_pool_conv5", "roi_pool_conv5"),
        losses=Losses(("cls_loss", "bbox_loss"), ignores=True),
    ),
    "vgg_cnn_m_1024": Detector(
        "VGG_CNN_M_1024",
        backbones.vgg_cnn_m,
        lambda n, x: faster_rcnn.fully_connected(n, x, (4096, 1024)),
        rpn_outputs=256,
        cells=6,
        snapshots="vgg_cnn_m_1024_faster_rcnn",
        frozen="conv1",
        iter_size=1,
    ),
    "vgg16": Detector(
        "VGG_ILSVRC_16_layers",
        backbones.vgg16,
        faster_rcnn.fully_connected,
        rpn_outputs=512,
        cells=7,
        snapshots="vgg16_faster_rcnn",
        frozen="conv2_2",
    ),
    "resnet50": Detector(
        "ResNet-50",
        backbones.resnet50,
        backbones.resnet50_head,
        rpn_outputs=512,
        cells=14,
        snapshots="resnet50_faster_rcnn",
        pool=("roi_pool5", "roi_pool5"),
        frozen="res2c",
    ),
    "tiny": Detector(
        "tiny",
        backbones.tiny,
        lambda n, x: faster_rcnn.fully_connected(n, x, (256, 128), dropout=False),
        rpn_outputs=64,
        cells=7,
        snapshots="tiny_faster_rcnn",
        anchors=Anchors(16, (1.5, 2.25, 3.5)),
        pool_from=("conv3", 4),
    ),
}


def train_net(name: str, classes: int, scales: Optional[Sequence[float]] = None) -> Any:
    """The NetParameter that learns, for ``classes`` with the background among them.

    ``scales`` of the anchors are those of the net unless given. Raises ToolError for a name
    that is none, fewer than two classes, or scales that are not above 0.
    """
    return _written(name, classes, scales, learns=True)


def detect_net(name: str, classes: int, scales: Optional[Sequence[float]] = None) -> Any:
    """The NetParameter that detects, with the weights of :func:`train_net`'s and for one image.

    Its input ``data`` is to be reshaped to the image; regions fit no other size.
    """
    net = _written(name, classes, scales, learns=False)
    for layer in net.layer:
        layer.CopyFrom(without_training(layer))
    return net


def solver(name: str) -> Any:
    """The SolverParameter that py-faster-rcnn has, for ``train.prototxt`` beside it.

    There the length and the snapshots are settings of its own programs; here they are the
    solver's.
    """
    detector = _find(name)
    message = caffe_pb2.SolverParameter(
        train_net="train.prototxt",
        base_lr=0.001,
        lr_policy="step",
        gamma=0.1,
        stepsize=50_000,
        display=20,
        average_loss=100,
        momentum=0.9,
        weight_decay=0.0005,
        max_iter=_ITERATIONS,
        snapshot=_SNAPSHOT,
        snapshot_prefix=detector.snapshots,
        solver_mode=caffe_pb2.SolverParameter.CPU,
    )
    if detector.iter_size != 1:
        message.iter_size = detector.iter_size
    return message


def write(
    name: str, classes: int, folder: Path, scales: Optional[Sequence[float]] = None
) -> None:  # fmt: skip
    """Write train.prototxt, test.prototxt and solver.prototxt to ``folder``.

    For ``classes`` with the background among them: 21 for PASCAL VOC. Raises ToolError as
    :func:`train_net` does, before anything is written.
    """
    messages = {
        "train": train_net(name, classes, scales),
        "test": detect_net(name, classes, scales),
        "solver": solver(name),
    }
    for kind, message in messages.items():
        head = f"# The {kind} prototxt of Faster R-CNN with {name}, by caffetools.detection.nets.\n"
        files.write_text(folder / f"{kind}.prototxt", head + prototxt.to_text(message))


def _find(name: str) -> Detector:
    if name not in NETS:
        raise ToolError(
            f"no detection net is named {name!r}{did_you_mean(name, NETS)} There are: "
            f"{', '.join(NETS)}"
        )
    return NETS[name]


def _written(name: str, classes: int, scales: Optional[Sequence[float]], learns: bool) -> Any:
    detector = _find(name)
    check_classes(classes)
    missing = set(_FIELDS) - set(caffe_pb2.LayerParameter.DESCRIPTOR.fields_by_name)
    if missing:
        raise ToolError(
            f"this Caffe's layers have no {', '.join(sorted(missing))}, which Faster R-CNN needs; "
            "write the nets with Recaffe's own runtime"
        )
    anchors = detector.anchors
    if scales is not None:
        anchors = dataclasses.replace(anchors, scales=_checked(scales))
    n = NetSpec()
    faster_rcnn.data(n, classes, learns)
    features = detector.features(n)
    regions = faster_rcnn.proposed(n, features, detector.rpn_outputs, anchors, learns)
    if learns:
        regions = faster_rcnn.sampled(n, regions, classes)
    stride = anchors.stride
    if detector.pool_from is not None:
        features, stride = n[detector.pool_from[0]], detector.pool_from[1]
    x = faster_rcnn.pooled(n, features, regions, stride, detector.cells, *detector.pool)
    faster_rcnn.detected(n, detector.head(n, x), classes, detector.losses, learns)
    net = n.to_proto()
    net.name = detector.name
    for layer in net.layer:
        for spec in layer.param:
            spec.ClearField("decay_mult")
    # Statistics of a single image's batch would be no use: every BatchNorm keeps ImageNet's.
    return freeze(net, up_to=detector.frozen, statistics="freeze")


def _checked(scales: Sequence[float]) -> tuple[float, ...]:
    found = tuple(float(scale) for scale in scales)
    if not found or not all(math.isfinite(scale) and scale > 0 for scale in found):
        raise ToolError(
            f"scales of anchors are {list(scales)}; expected numbers above 0, such as 8 16 32 for "
            "anchors of 128, 256 and 512 pixels"
        )
    return found
