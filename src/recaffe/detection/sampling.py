"""A random sample of examples, drawn by a generator that is passed in."""

from __future__ import annotations

import torch
from torch import Tensor


def sample(candidates: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """At most ``most`` of the candidates ``(N,)``, each as likely, none twice, in their order.

    Where there are no more than that, nothing is drawn. The generator is of the candidates' device.
    """
    if len(candidates) <= most:
        return candidates
    order = torch.randperm(len(candidates), generator=generator, device=candidates.device)
    return candidates[order[:most].sort().values]
