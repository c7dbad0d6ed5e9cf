"""``metrics.json``, as the figures read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from caffetools.cli import ToolError


def read_metrics(path: Path) -> dict[str, Any]:
    """What ``python -m caffetools.detection.evaluate`` wrote last."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ToolError(f"{path}: cannot be read as metrics.json: {error}") from error
    if not isinstance(found, dict) or not {"classes", "missed_by_size", "metric"} <= set(found):
        raise ToolError(
            f"{path}: expected the metrics.json of caffetools.detection.evaluate, found another "
            "file; evaluate again"
        )
    return found
