"""A net of three classes with weights drawn from a seed, and images for it in an LMDB."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_svg import RendererSVG

from caffe.proto import caffe_pb2
from caffetools import databases
from caffetools.cli import ToolError

CHANNELS, SIDE, CROP, CLASSES, ENTRIES = 3, 9, 8, 3, 7
MEAN, SCALE = (20.0, 40.0, 60.0), 0.01
DATA = """
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }
  transform_param { scale: 0.01 crop_size: 8 mean_value: 20 mean_value: 40 mean_value: 60 }
  data_param { source: "nowhere" batch_size: 3 backend: LMDB } }
"""
INPUT = """
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
"""
BODY = """
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "squash" type: "Sigmoid" bottom: "conv1" top: "squash" }
layer { name: "pool" type: "Pooling" bottom: "squash" top: "pool"
  pooling_param { pool: AVE kernel_size: 2 stride: 2 } }
layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc"
  inner_product_param { num_output: 5 } }
layer { name: "tanh" type: "TanH" bottom: "fc" top: "fc" }
layer { name: "head" type: "InnerProduct" bottom: "fc" top: "head"
  inner_product_param { num_output: 3 } }
"""
LOSS = """
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "head" bottom: "label" top: "loss" }
"""
PROB = """
layer { name: "prob" type: "Softmax" bottom: "head" top: "prob" }
"""
SHAPES = {
    "conv1": (4, CHANNELS, 3, 3),
    "fc": (5, 4 * 3 * 3),
    "head": (CLASSES, 5),
}
TYPES = {"conv1": "Convolution", "fc": "InnerProduct", "head": "InnerProduct"}
FROM_LMDB = ["--net", "train_val.prototxt", "--weights", "after.caffemodel", "--lmdb", "lmdb"]


def weights(seed, shapes=SHAPES):
    random = np.random.RandomState(seed)
    return {
        name: [random.normal(size=shape).astype(np.float32) * 0.5,
               random.normal(size=shape[:1]).astype(np.float32)]
        for name, shape in shapes.items()
    }  # fmt: skip


def write_model(name, blobs_by_layer):
    net = caffe_pb2.NetParameter()
    for layer, blobs in blobs_by_layer.items():
        written = net.layer.add(name=layer, type=TYPES.get(layer, "InnerProduct"))
        for values in blobs:
            blob = written.blobs.add(data=values.ravel().tolist())
            blob.shape.dim.extend(values.shape)
    Path(name).write_bytes(net.SerializeToString())


def pictures():
    """(ENTRIES, CHANNELS, SIDE, SIDE) bytes, and their labels."""
    random = np.random.RandomState(3)
    made = random.randint(0, 256, (ENTRIES, CHANNELS, SIDE, SIDE)).astype(np.uint8)
    return made, np.arange(ENTRIES) % CLASSES


def transformed(images):
    """The images as the Data layer gives them: less the mean, cropped in the middle, scaled."""
    mean = np.array(MEAN).reshape(1, -1, 1, 1)
    start = (SIDE - CROP) // 2
    cut = np.s_[:, :, start : start + CROP, start : start + CROP]
    return ((images[cut] - mean) * SCALE).astype(np.float32)


def write(folder="lmdb"):
    """All files in the working folder; a head of another name in the weights before."""
    Path("train_val.prototxt").write_text(DATA + BODY + LOSS)
    Path("deploy.prototxt").write_text(INPUT + BODY + PROB)
    write_model("after.caffemodel", weights(0))
    before = weights(1)
    before["old_head"] = before.pop("head")
    write_model("before.caffemodel", before)
    Path("classes.txt").write_text("ant\nbee\ncat\n")
    Path(folder).mkdir()
    images, labels = pictures()
    datums = (
        caffe_pb2.Datum(
            channels=CHANNELS, height=SIDE, width=SIDE, data=image.tobytes(), label=int(label)
        ).SerializeToString()
        for image, label in zip(images, labels)
    )
    databases.write(Path(folder), ((b"%08d" % i, datum) for i, datum in enumerate(datums)))


def features(images):
    """(N, 5) and (N, 3): what fc and head make of images (N, C, 8, 8), by NumPy alone."""
    found = weights(0)
    kernels, bias = found["conv1"]
    windows = np.stack(
        [images[:, :, y : y + 6, x : x + 6] for y in range(3) for x in range(3)], axis=-1
    )
    flat = kernels.reshape(4, CHANNELS, 9)
    conv = np.einsum("ncyxk,ock->noyx", windows, flat) + bias.reshape(1, -1, 1, 1)
    squashed = 1 / (1 + np.exp(-conv))
    pool = squashed.reshape(-1, 4, 3, 2, 3, 2).mean(axis=(3, 5))
    fc = np.tanh(pool.reshape(len(images), -1) @ found["fc"][0].T + found["fc"][1])
    return fc, fc @ found["head"][0].T + found["head"][1]


def complaint(function, *arguments, **options):
    """What the ToolError says that a call ends in."""
    try:
        function(*arguments, **options)
    except ToolError as error:
        return str(error)
    raise AssertionError("no ToolError")


def check_files(command, arguments):
    """The command writes PNG and SVG, whole, and the same bytes twice; return them."""
    found = []
    for name in ("one", "two"):
        command([*arguments, "--output", name + ".png", name + ".svg"])
        found.append([Path(name + ending).read_bytes() for ending in (".png", ".svg")])
    png, svg = found[0]
    assert png == found[1][0]
    # An old matplotlib, such as BVLC's interpreter has, names clip paths by their addresses.
    if hasattr(RendererSVG, "_get_clippath_id"):
        assert svg == found[1][1]
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert svg.startswith(b"<?xml") and svg.rstrip().endswith(b"</svg>")
    assert str(Path.cwd()).encode() not in png + svg
    return png, svg
