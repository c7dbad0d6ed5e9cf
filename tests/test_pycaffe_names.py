"""Which names BVLC's pycaffe has, and which of them are left out here, each with the reason."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from bvlc import Build

# Run by both interpreters: the names of every module, class and kind of object. caffe.draw
# cannot be imported without pydot, so there is a stand-in for it.
NAMES = """
import json, sys, types
sys.modules["pydotplus"] = types.ModuleType("pydotplus")
import caffe, caffe.classifier, caffe.coord_map, caffe.detector, caffe.draw, caffe.io
import caffe.net_spec, caffe.pycaffe, caffe.proto.caffe_pb2

with open("net.prototxt", "w") as stream:
    stream.write('''
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 1 dim: 3 dim: 2 dim: 2 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 1 } }
''')
with open("solver.prototxt", "w") as stream:
    stream.write('net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" snapshot_prefix: "a" ')
net = caffe.Net("net.prototxt", caffe.TEST)
net.save("net.caffemodel")
of_images = {name: getattr(caffe, name)("net.prototxt", "net.caffemodel")
             for name in ("Classifier", "Detector")}
spec = caffe.layers.ReLU(caffe.layers.Input())

seen = {name: module for name, module in sys.modules.items()
        if name.split(".")[0] == "caffe" and module is not None}
seen.update({
    "net": net, "blob": net.blobs["data"], "layer": net.layers[1], "params": net.params["ip"],
    "param": net.params["ip"][0], "timer": caffe.Timer(), "netspec": caffe.NetSpec(),
    "top": spec, "function": spec.fn, "transformer": caffe.io.Transformer({}),
})
seen.update(of_images)
for each in [net, *of_images.values()]:  # BVLC keeps these once they are asked for
    each.blobs, each.params, each.inputs, each.outputs, each.layer_dict, each.blob_loss_weights
for name in ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam"):
    seen[name] = getattr(caffe, name + "Solver")("solver.prototxt")
print(json.dumps({name: [each for each in dir(thing) if not each.startswith("__")]
                  for name, thing in seen.items()}))
"""

OWN_IMPORTS = "another module that BVLC's imports; import it from where it is"
OLD_PYTHON = "for Python 2"
COMPILED = "BVLC's compiled part, whose names are in caffe"
GENERATED = "what protoc's module imports"
INNER = "no one's but BVLC's own code"
KEPT = "where BVLC's Net keeps what it was asked for"

NET = {
    "_set_input_arrays": INNER,
    "_blob_loss_weights_dict": KEPT,
    "_blobs_dict": KEPT,
    "_input_list": KEPT,
    "_layer_dict": KEPT,
    "_output_list": KEPT,
    "_params_dict": KEPT,
}
LEFT_OUT: dict[str, dict[str, str]] = {
    "caffe": {
        "_caffe": COMPILED,
    },
    "caffe.io": dict.fromkeys(("resize", "skimage", "zoom"), OWN_IMPORTS),
    "caffe.draw": {"pydot": "imported when a graph is made, so that labels need no pydot"},
    "caffe.coord_map": {"L": OWN_IMPORTS, "division": OLD_PYTHON},
    "caffe.classifier": {"caffe": OWN_IMPORTS},
    "caffe.detector": {"caffe": OWN_IMPORTS, "os": OWN_IMPORTS},
    "caffe.net_spec": {
        **dict.fromkeys(("caffe_pb2", "protobuf"), OWN_IMPORTS),
        "six": OLD_PYTHON,
        "_param_names": INNER,
    },
    "caffe.pycaffe": {
        **dict.fromkeys(("OrderedDict", "caffe", "np"), OWN_IMPORTS),
        **dict.fromkeys(("izip_longest", "six"), OLD_PYTHON),
    },
    "caffe.proto.caffe_pb2": dict.fromkeys(
        ("_descriptor", "_message", "_reflection", "_sym_db", "_symbol_database"), GENERATED
    )
    | {"enum_type_wrapper": GENERATED},
    "net": NET,
    "Classifier": NET,
    "Detector": NET,
    "top": {"_to_proto": INNER},
    "function": dict.fromkeys(("_get_name", "_get_top_name", "_to_proto"), INNER),
    "transformer": {"_Transformer__check_input": INNER},
}
# Modules that no one imports by name, and functions that become methods of Net.
LEFT_OUT_MODULES = {"caffe._caffe": COMPILED}
METHODS_OF_NET = "_Net_"


def _names_here(folder: Path) -> dict[str, list[str]]:
    command = [sys.executable, "-c", NAMES]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.oracle
def test_names_of_bvlcs_pycaffe_are_here_or_left_out_with_a_reason(
    bvlc: Build, tmp_path: Path
) -> None:
    theirs, ours = bvlc.python(NAMES).json(), _names_here(tmp_path)
    assert theirs.keys() - ours.keys() == LEFT_OUT_MODULES.keys()
    missing = {
        thing: {
            name for name in set(names) - set(ours[thing]) if not name.startswith(METHODS_OF_NET)
        }
        for thing, names in theirs.items()
        if thing in ours
    }
    found = {thing: sorted(names) for thing, names in missing.items() if names}
    assert found == {thing: sorted(names) for thing, names in LEFT_OUT.items() if names}
    assert sum(len(names) for names in theirs.values()) > 500
