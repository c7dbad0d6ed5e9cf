"""A converter of nets that knows pycaffe alone, as vendors write them.

    python converter.py DEPLOY WEIGHTS      # writes graph.json and arrays.npz

It walks ``net._layer_names``, ``net.layers``, ``net.params`` and ``net.blobs`` of the net that
Caffe makes of the files, reads both files with caffe_pb2, and joins the two. Run under our
interpreter and under BVLC's it must find the same.
"""

import hashlib
import json
import pathlib
import sys

import numpy as np
from google.protobuf import text_format

import caffe
from caffe.proto import caffe_pb2


def digest(array):
    return hashlib.sha256(np.ascontiguousarray(array, "<f4").tobytes()).hexdigest()


def is_repeated(field):
    """Protobuf 7 has taken away ``label``, and 3.12 has nothing else."""
    if hasattr(field, "is_repeated"):
        return field.is_repeated
    return field.label == field.LABEL_REPEATED


def plain(message):
    """A message as dicts and lists, with the defaults of what is not set left out."""
    values = {}
    for field, value in message.ListFields():
        several = is_repeated(field)
        if field.type == field.TYPE_MESSAGE:
            value = [plain(each) for each in value] if several else plain(value)
        elif several:
            value = list(value)
        values[field.name] = value
    return values


def window(param):
    """kernel, stride, pad and dilation of a convolution, by Caffe's rules for both spellings."""

    def pair(repeated, name, default):
        height, width = name + "_h", name + "_w"
        if param.HasField(height) or param.HasField(width):
            return [getattr(param, height), getattr(param, width)]
        given = list(repeated) or [default]
        return [given[0], given[-1]]

    return {
        "kernel": pair(param.kernel_size, "kernel", 0),
        "stride": pair(param.stride, "stride", 1),
        "pad": pair(param.pad, "pad", 0),
        "dilation": [list(param.dilation)[:1] or [1]] * 2,
        "group": param.group,
        "bias": param.bias_term,
        "axis": param.axis,
    }


def settings(layer):
    """What a converter reads of a layer's own message, defaults included."""
    if layer.type in ("Convolution", "Deconvolution"):
        return window(layer.convolution_param)
    if layer.type == "Pooling":
        param = layer.pooling_param
        names = ("kernel_size", "stride", "pad", "kernel_h", "stride_w", "global_pooling")
        found = {name: getattr(param, name) for name in names}
        found["pool"] = caffe_pb2.PoolingParameter.PoolMethod.Name(param.pool)
        return found
    if layer.type == "InnerProduct":
        param = layer.inner_product_param
        return {"outputs": param.num_output, "bias": param.bias_term, "axis": param.axis}
    if layer.type == "LRN":
        param = layer.lrn_param
        names = ("local_size", "alpha", "beta", "k", "norm_region")
        return {name: getattr(param, name) for name in names}
    if layer.type == "BatchNorm":
        param = layer.batch_norm_param
        return {"eps": param.eps, "global": param.HasField("use_global_stats")}
    if layer.type == "Scale":
        return {"axis": layer.scale_param.axis, "bias": layer.scale_param.bias_term}
    if layer.type == "Eltwise":
        operation = layer.eltwise_param.operation
        return {"operation": caffe_pb2.EltwiseParameter.EltwiseOp.Name(operation)}
    return plain(layer)


def convert(deploy, weights):
    """The graph, which JSON can hold, and the arrays."""
    written, learned = caffe_pb2.NetParameter(), caffe_pb2.NetParameter()
    text_format.Merge(pathlib.Path(deploy).read_text(), written)
    learned.ParseFromString(pathlib.Path(weights).read_bytes())
    net = caffe.Net(deploy, weights, caffe.TEST)

    random = np.random.RandomState(17)
    for name in net.inputs:
        blob = net.blobs[name]
        blob.data[...] = random.standard_normal(blob.data.shape)
    outputs = net.forward()

    by_name = {layer.name: layer for layer in written.layer}
    saved = {layer.name: layer for layer in learned.layer}
    layers = []
    for index, name in enumerate(net._layer_names):
        layer = net.layers[index]
        found = {
            "name": name,
            "type": layer.type,
            "bottoms": list(net.bottom_names[name]),
            "tops": list(net.top_names[name]),
            "parameters": [[list(b.data.shape), digest(b.data)] for b in layer.blobs],
            "written": name in by_name,
        }
        if name in by_name:
            found["settings"] = settings(by_name[name])
        if name in saved and layer.blobs:
            found["saved"] = [
                [list(blob.shape.dim), digest(caffe.io.blobproto_to_array(blob))]
                for blob in saved[name].blobs
            ]
        layers.append(found)
    graph = {
        "name": written.name,
        "inputs": list(net.inputs),
        "outputs": list(net.outputs),
        "layers": layers,
        "blobs": [[name, list(blob.data.shape)] for name, blob in net.blobs.items()],
        "legacy": [[b.num, b.channels, b.height, b.width] for b in net.blobs.values()
                   if b.data.ndim == 4],
        "params": [
            [name, [list(blob.data.shape) for blob in blobs]]
            for name, blobs in net.params.items()
        ],
        "saved": [[layer.name, layer.type, len(layer.blobs)] for layer in learned.layer],
    }  # fmt: skip
    arrays = {name: blob.data.copy() for name, blob in net.blobs.items() if blob.data.size < 5e4}
    arrays.update({name: outputs[name].copy() for name in net.outputs})
    return graph, arrays


def main(deploy, weights):
    graph, arrays = convert(deploy, weights)
    graph["caffe"] = caffe.__file__
    pathlib.Path("graph.json").write_text(json.dumps(graph))
    np.savez("arrays.npz", **{name.replace("/", "|"): value for name, value in arrays.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
