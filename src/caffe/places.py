"""Where Caffe logs what we log: log parsers look at the file and the line."""

from __future__ import annotations

import logging

_RULE = "specified by a rule in layer %s"

# By the text before the arguments, for each of Caffe's files; the lines are those of Caffe 1.0.
_PLACES: dict[str, dict[str, int]] = {
    "solver.cpp": {
        "Initializing solver from parameters: \n%s": 45,
        "Solver scaffolding done.": 57,
        "Finetuning from %s": 72,
        "Creating training net %s": 102,
        "Creating test net (#%d) %s": 190,
        "Iteration %d (%g iter/s, %gs/%d iters), loss = %g": 239,
        "Solving %s": 289,
        "Learning Rate Policy: %s": 290,
        "Optimization stopped early.": 311,
        "Iteration %d, loss = %g": 327,
        "Optimization Done.": 332,
        "Iteration %d, Testing net (#%d)": 347,
        "Test interrupted.": 396,
        "Test loss: %g": 401,
        "    %s net output #%d: %s = %g%s": 414,
        "Snapshotting to %s file %s": 464,
    },
    "sgd_solver.cpp": {
        "MultiStep Status: Iteration %d, step = %d": 50,
        "Gradient clipping: scaling down gradients (L2 norm %g > %g) by scale factor %g": 99,
        "Iteration %d, lr = %g": 112,
        "Snapshotting solver state to %s file %s": 284,
        "SGDSolver: restoring history": 336,
    },
    "net.cpp": {
        "Initializing net from parameters: \n%s": 53,
        "Creating Layer %s": 86,
        "Setting up %s": 124,
        "Top shape: %s": 131,
        "    with loss weight %g": 134,
        "Memory required for data: %d": 139,
        "%s needs backward computation.": 200,
        "%s does not need backward computation.": 202,
        "This network produces output %s": 244,
        "Network initialization done.": 257,
        f"The NetState phase (%d) differed from the phase (%d) {_RULE}": 296,
        f"The NetState level (%d) is above the min_level (%d) {_RULE}": 306,
        f"The NetState level (%d) is above the max_level (%d) {_RULE}": 316,
        f"The NetState did not contain stage '%s' {_RULE}": 332,
        f"The NetState contained a not_stage '%s' {_RULE}": 347,
        "%s -> %s (in-place)": 369,
        "%s -> %s": 382,
        "%s <- %s": 408,
        "Sharing parameters '%s' owned by layer '%s', param index %d": 467,
        "Ignoring source layer %s": 746,
        "%s top blob %s data: %g": 593,
        "%s param blob %s data: %g": 605,
        "%s bottom blob %s diff: %g": 621,
        "%s param blob %d diff: %g": 632,
        "    [Backward] All net params (data, diff): L1 norm = (%g, %g); L2 norm = (%g, %g)": 721,
    },
    "layer_factory.hpp": {"Creating layer %s": 77},
    "db_lmdb.cpp": {"Opened lmdb %s": 35},
    "db_leveldb.cpp": {"Opened leveldb %s": 18},
    "data_transformer.cpp": {"Loading mean file from: %s": 25},
    "image_data_layer.cpp": {
        "Opening file %s": 38,
        "Shuffling data": 53,
        "A total of %d images.": 63,
        "Skipping first %d data points.": 70,
    },
    "hdf5_data_layer.cpp": {
        "Loading list of HDF5 filenames from: %s": 81,
        "Number of HDF5 files: %d": 95,
    },
}
_BY_TEXT = {text: (file, line) for file, texts in _PLACES.items() for text, line in texts.items()}

# What several of Caffe's files log alike, by the name of ours.
_ALIKE: dict[str, dict[str, tuple[str, int]]] = {
    "output data size: %s": {
        "data.py": ("data_layer.cpp", 45),
        "image_data.py": ("image_data_layer.cpp", 90),
        "window_data.py": ("window_data_layer.cpp", 183),
    }
}
_TRAIN_OUTPUT = ("solver.cpp", 258)


def place_of(record: logging.LogRecord) -> tuple[str, int]:
    """Caffe's file and line; for what only we say, our own."""
    text, own = str(record.msg), (record.filename, record.lineno)
    if text.startswith("    %s net output") and str(record.args).startswith("('Train',"):
        return _TRAIN_OUTPUT
    if text in _ALIKE:
        return _ALIKE[text].get(record.filename, own)
    return _BY_TEXT.get(text, own)
