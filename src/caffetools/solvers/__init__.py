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
from caffetools.solvers.imbalance import (
    class_weights,
    with_infogain_loss,
    write_infogain_matrix,
)
from caffetools.solvers.losses import PlotLossCallback, ReportLossCallback
from caffetools.solvers.monitoring import MonitoringSolver, StopSolving, after_a_step
from caffetools.solvers.progress import ProgressCallback
from caffetools.solvers.prototxt import SolverProtoTXT
from caffetools.solvers.rates import RateRange, rate_range
from caffetools.solvers.sentinel import SentinelCallback
from caffetools.solvers.snapshots import (
    BestSnapshotCallback,
    SnapshotCallback,
    create_snapshot,
    keep_last,
)
from caffetools.solvers.stages import solve_in_stages, write_head_stage
from caffetools.solvers.stopping import EarlyStoppingCallback
from caffetools.solvers.tensorboard import TensorBoardCallback

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
    "ProgressCallback",
    "RateRange",
    "ReportErrorCallback",
    "ReportGradientCallback",
    "ReportLossCallback",
    "SentinelCallback",
    "SnapshotCallback",
    "SolverProtoTXT",
    "StopSolving",
    "TensorBoardCallback",
    "after_a_step",
    "batch_size",
    "class_weights",
    "copy_weights",
    "count_errors",
    "create_snapshot",
    "gradient_magnitudes",
    "keep_last",
    "layer_names",
    "loss",
    "rate_range",
    "scores_and_labels",
    "silence_log",
    "solve_in_stages",
    "update_magnitudes",
    "with_infogain_loss",
    "write_head_stage",
    "write_infogain_matrix",
]
