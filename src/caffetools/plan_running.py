"""What a configuration asks for of running experiments, whatever the task that nets learn.

:class:`caffetools.plan.Plan` and :class:`caffetools.plan_detection.DetectionPlan` are made of this.
"""

from __future__ import annotations

from typing import Optional

from caffetools.plan_datasets import Config, options_of
from caffetools.pretrained.registry import Model, find


class Running:
    """Experiments, seeds, where and how exactly to compute, and what is fetched to start from.

    Attributes:
        published: the registry's model that the configuration names, None where it names none.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._experiments: dict[str, Config] = dict(config["experiments"])
        named = config.get("pretrained", {}).get("model")
        self.published: Optional[Model] = find(named) if named else None

    @property
    def experiments(self) -> list[str]:
        """The experiments on the target data set, in the order of the configuration."""
        return list(self._experiments)

    @property
    def seeds(self) -> list[int]:
        """The seeds that every experiment is run with."""
        return list(self._config["seeds"])

    @property
    def python_layers(self) -> list[str]:
        """The modules that nets may run as Python layers."""
        return list(self._config["model"]["python_layers"])

    @property
    def _solver_mode(self) -> str:
        return "GPU" if self.uses_gpu else "CPU"

    @property
    def uses_gpu(self) -> bool:
        """Whether training asks for a GPU."""
        return bool(self._config["training"]["gpu"])

    def resources(self, kind: str) -> dict[str, int]:
        """What a job of a kind needs: ``mem_mb``, ``runtime`` in minutes, and 1 as ``grouped``.

        By ``grouped`` a profile bounds how many jobs of a group run side by side.
        """
        return {**self._config["resources"][kind], "grouped": 1}

    @property
    def computing_options(self) -> list[str]:
        """What the training command is told of where and how exactly to compute."""
        training = self._config["training"]
        return [
            *(["--gpu", "any"] if self.uses_gpu else []),
            *(["--precision", training["precision"]] if training["precision"] != "float32" else []),
            *(f"--{name}" for name in ("compile", "deterministic") if training[name]),
        ]

    @property
    def fetch_options(self) -> list[str]:
        """What ``caffetools.fetch`` is told: where the weights are, their checksums and size."""
        pretrained = self._config.get("pretrained", {})
        told = pretrained.get("url", self.published.urls if self.published else [])
        urls = [told] if isinstance(told, str) else told
        known = ("sha256", "sha1", "max_bytes")
        held = {key: pretrained[key] for key in known if key in pretrained}
        if self.published and not {"sha256", "sha1"} & set(held):
            held = {**self.published.held_against, **held}
        return [*(word for url in urls for word in ("--url", url)), *options_of(held)]


def run_folder(dataset: str, experiment: str, seed: int) -> str:
    """Where one run's files are."""
    return f"results/{dataset}/experiments/{experiment}/seed{seed}"
