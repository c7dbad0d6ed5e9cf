"""Reports, before a training, what would go wrong with it, with causes and fixes.

Exits with 1 where there is an error. ``--accept CHECK`` makes warnings of a check's errors; the
check's name stands at the end of each finding.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Optional, TypeVar

from caffetools import files, prototxt, scoring
from caffetools.classes import read_names
from caffetools.cli import is_users_mistake, run
from caffetools.preflight import (
    cost,
    duplicates,
    first_loss,
    images,
    labels,
    loading,
    normalization,
    solver,
)
from caffetools.preflight.finding import ERROR, LEVELS, Finding, sort
from caffetools.preflight.records import Records, look_through
from caffetools.prototxt import PHASES, TEST, TRAIN, phase_view
from caffetools.weights import read_weights

LOG = logging.getLogger("caffetools.preflight")

T = TypeVar("T")


class Preflight:
    """Goes through all checks that what is there allows.

    Attributes:
        findings: in the order found.
        histograms: how many records each class has, by data set.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self.findings: list[Finding] = []
        self.histograms: dict[str, list[int]] = {}
        self._classes = self._read("classes", _count_lines, options.classes)
        copies = self._read("duplicates", duplicates.read, options.duplicates)
        self._add(duplicates.duplicates(copies or [], str(options.duplicates)))
        message = self._read("solver", prototxt.read_solver, options.solver)
        if message is None:
            return
        found = self._read("net", lambda path: solver.read_net(path, message), options.solver)
        if found is None:
            return
        self._weights = self._read("weights", read_weights, options.weights)
        self._solver, (self._net_file, self._net) = message, found
        self._look_at_prototxts()
        self._look_at_data()
        if not self._has_errors:
            # Caffe makes nothing of a net with errors, and BVLC's build ends the process.
            self._read("net", lambda path: self._look_at_nets(), self._net_file)

    @property
    def _has_errors(self) -> bool:
        """Whether there are errors but those that are accepted."""
        return any(one.level == ERROR for one in sort(self.findings, self._options.accept))

    def _read(self, check: str, read: Callable[[Path], T], path: Optional[Path]) -> Optional[T]:
        """What ``read`` makes of the path; a mistake becomes a finding."""
        if path is None:
            return None
        try:
            return read(path)
        except Exception as error:
            if not is_users_mistake(error):
                raise
            self._add([Finding(ERROR, check, str(path), str(error), "see the message")])
            return None

    def _add(self, findings: Iterable[Finding]) -> None:
        self.findings.extend(findings)

    def _look_at_prototxts(self) -> None:
        place = str(self._options.solver)
        self._add(solver.fields(self._solver, place))
        self._add(solver.layer_types(self._net, str(self._net_file)))
        self._add(solver.foreign_fields(self._net, str(self._net_file)))
        self._add(solver.phases(self._net, str(self._net_file)))
        self._add(loading.anything_learns(self._net))
        batch_size = max([layer.data_param.batch_size for layer in self._data(TRAIN)] or [0])
        self._add(normalization.normalization(self._net, self._weights, batch_size))

    def _data(self, phase: int) -> list[Any]:
        return [layer for layer in phase_view(self._net, phase) if layer.type == "Data"]

    def _look_at_data(self) -> None:
        for phase in (TRAIN, TEST):
            for layer in self._data(phase):
                self._look_at_layer(phase, layer)

    def _look_at_layer(self, phase: int, layer: Any) -> None:
        backend = "lmdb" if layer.data_param.backend == layer.data_param.LMDB else "leveldb"
        records: Optional[Records] = self._read(
            "data", lambda path: look_through(path, backend), Path(layer.data_param.source)
        )
        if records is None:
            return
        layers = phase_view(self._net, phase)
        self._add(labels.labels(records, layers, self._classes))
        self._add(images.images(records, layer))
        self.histograms[PHASES[phase]] = labels.histogram(
            records, labels.outputs(layers) or self._classes
        )
        if phase == TRAIN:
            self._add(labels.order(records, layer.data_param.batch_size))
            self._add(images.colours(records, self._weights, self._net))
        else:
            place = str(self._options.solver)
            self._add(solver.test_iterations(self._solver, self._net, place, records.entries))

    def _look_at_nets(self) -> None:
        train, test = scoring.load(self._net, None, TRAIN), scoring.load(self._net, None, TEST)
        shapes = {
            name: [tuple(blob.data.shape) for blob in blobs] for name, blobs in train.params.items()
        }
        heads = self._new_heads()
        if self._weights is not None:
            place = str(self._options.weights)
            self._add(loading.loading(self._net, shapes, self._weights, place, heads))
        parameters = cost.parameter_values(train)
        needed = cost.memory(
            self._solver, parameters, cost.blob_values(train), cost.blob_values(test)
        )
        on_gpu = self._solver.solver_mode == self._solver.GPU
        self._add(cost.memory_findings(needed, on_gpu))
        folder = Path(self._solver.snapshot_prefix or self._options.solver).absolute().parent
        self._add(cost.disk_findings(self._solver, parameters, folder))
        del train, test
        if not self._has_errors:
            self._look_at_first_loss(heads)

    def _new_heads(self) -> list[str]:
        """The layers that are meant to start fresh."""
        if self._options.no_new_head:
            return []
        return list(self._options.new_head or prototxt.heads(self._net))

    def _look_at_first_loss(self, new_heads: Sequence[str]) -> None:
        classes = labels.outputs(phase_view(self._net, TRAIN))
        seed = max(0, self._solver.random_seed)
        loss = first_loss.first_loss(self._net, self._options.weights, seed)
        if loss is None or classes is None or classes < 2:
            return
        fresh = self._weights is None or bool(set(new_heads) - set(self._weights))
        self._add(first_loss.loss_findings(loss, classes, fresh))


def _count_lines(path: Path) -> int:
    return len(read_names(path))


def _report(findings: Sequence[Finding]) -> Iterator[str]:
    yield from map(str, findings)
    counts = [sum(one.level == level for one in findings) for level in LEVELS]
    yield ", ".join(f"{count} {level}{'s' * (count != 1)}" for count, level in zip(counts, LEVELS))


def main(arguments: Sequence[str]) -> Optional[int]:
    """``python -m caffetools.preflight``"""
    parser = argparse.ArgumentParser(prog="python -m caffetools.preflight", description=__doc__)
    add = parser.add_argument
    add("--solver", type=Path, required=True, help="solver.prototxt")
    add("--weights", type=Path, help=".caffemodel that training starts from")
    add("--classes", type=Path, help="classes.txt of the data set")
    add("--duplicates", type=Path, metavar="CSV", help="duplicates.csv of the data set")
    add(
        "--new-head", nargs="+", metavar="LAYER",
        help="the layers that are meant to start fresh (default: those that can be heads)",
    )  # fmt: skip
    add("--no-new-head", action="store_true", help="every layer is meant to be loaded")
    add("--accept", nargs="+", default=[], metavar="CHECK", help="checks that may fail")
    add("--output", type=Path, help="JSON to write the findings to")
    options = parser.parse_args(arguments)
    seen = Preflight(options)
    findings = sort(seen.findings, options.accept)
    for line in _report(findings):
        LOG.info("%s", line)
    failed = any(one.level == ERROR for one in findings)
    if options.output:
        rows = [vars(one) for one in findings]
        files.write_json(options.output, {"findings": rows, "histograms": seen.histograms})
    return 1 if failed else None


if __name__ == "__main__":
    run(main)
