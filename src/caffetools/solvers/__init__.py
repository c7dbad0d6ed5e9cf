"""Watching a training from a script: a solver that calls back, and callbacks for it.

::

    loss = PlotLossCallback(100, "loss.png")
    monitoring_solver = MonitoringSolver(solver)
    monitoring_solver.register_callback([
        {"callback": PlotLossCallback.report_loss, "object": loss, "interval": 1},
    ])
    monitoring_solver.solve(1000)

The names are those that pycaffe's users know. docs/how-to/monitor-training.md shows each.
"""

from caffetools.caffe_log import silence_log
from caffetools.metrics import count_errors
from caffetools.nets import (
    batch_size,
    copy_weights,
    gradient_magnitudes,
    layer_names,
    loss,
    scores_and_labels,
    update_magnitudes,
)
from caffetools.solvers.errors import PlotErrorCallback, ReportErrorCallback
from caffetools.solvers.gradients import PlotGradientCallback, ReportGradientCallback
from caffetools.solvers.losses import PlotLossCallback, ReportLossCallback
from caffetools.solvers.monitoring import MonitoringSolver, StopSolving, after_a_step
from caffetools.solvers.prototxt import SolverProtoTXT
from caffetools.solvers.snapshots import (
    BestSnapshotCallback,
    SnapshotCallback,
    create_snapshot,
    keep_last,
)
from caffetools.solvers.stopping import EarlyStoppingCallback

# The names of the plain forms in the tools that these callbacks are known from.
LossCallback = ReportLossCallback
ErrorCallback = ReportErrorCallback
GradientCallback = ReportGradientCallback

__all__ = [
    "BestSnapshotCallback",
    "EarlyStoppingCallback",
    "ErrorCallback",
    "GradientCallback",
    "LossCallback",
    "MonitoringSolver",
    "PlotErrorCallback",
    "PlotGradientCallback",
    "PlotLossCallback",
    "ReportErrorCallback",
    "ReportGradientCallback",
    "ReportLossCallback",
    "SnapshotCallback",
    "SolverProtoTXT",
    "StopSolving",
    "after_a_step",
    "batch_size",
    "copy_weights",
    "count_errors",
    "create_snapshot",
    "gradient_magnitudes",
    "keep_last",
    "layer_names",
    "loss",
    "scores_and_labels",
    "silence_log",
    "update_magnitudes",
]
