"""What a trainer has to know of a detector's net, which it otherwise trains as any other."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

_IMAGES = ("roi_data_layer.layer", "RoIDataLayer")
_TARGETS = ("rpn.proposal_target_layer", "ProposalTargetLayer")


def is_detector(net: Any) -> bool:
    """Whether a NetParameter learns normalised box targets, which published weights do not show."""
    return any(_named(layer) == _TARGETS for layer in net.layer)


def image_layers(net: Any) -> list[Any]:
    """The layers that read images and the objects in them."""
    return [layer for layer in net.layer if _named(layer) == _IMAGES]


def image_files(net: Any) -> list[Path]:
    """The files that name a NetParameter's images and the objects in them."""
    told = [yaml.safe_load(layer.python_param.param_str) or {} for layer in image_layers(net)]
    return [Path(settings["source"]) for settings in told if settings.get("source")]


def _named(layer: Any) -> tuple[str, str]:
    return layer.python_param.module, layer.python_param.layer


def unfold(net: Any, loaded: Collection[str]) -> None:
    """Bring ``bbox_pred``, if it was loaded as published, back to what is trained."""
    # Not at the top: only our own Caffe has it, and other nets train on BVLC's as well.
    from caffe import detection

    detection.unfold(net, loaded)


def publish(net: Any, path: Path) -> None:
    """Save a net's weights as detectors are published."""
    from caffe import detection

    detection.publish(net, path)
