"""What a configuration asks for: data sets, experiments, and each run's settings and files.

The workflow's rules take their inputs and parameters from here, so that what they are can
be tested without Snakemake. ``config/README.md`` describes the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

from caffetools.cli import ToolError
from caffetools.plan_datasets import Config, DataSets, options_of
from caffetools.plan_running import Running, run_folder
from caffetools.pretrained.registry import Model
from caffetools.suggest import did_you_mean

SOURCE_EXPERIMENT = "source"
_RECAFFES = ("shuffle", "augmentation")  # and not BVLC's
_PER_EXPERIMENT = (
    *("freeze", "freeze_up_to", "batch_norm", "lr_mult", "decay_mult"),
    *("head_lr_mult", "head_bias_lr_mult", "batch_size", "crop_size", "mirror", "dropout"),
    *_RECAFFES,
)


class Plan(Running, DataSets):
    """A checked configuration, with defaults filled in.

    Attributes:
        task: what nets learn.
        results: the files of ``results/TARGET`` that the workflow is to make.
        target: the name of the data set to fine-tune on.
        source: the name of the data set to pretrain on, None where weights are fetched
            or no experiment wants any.
        published: the registry's model that the configuration names, None where it names none.

    Raises:
        ToolError: parts of the configuration contradict each other.
    """

    task = "classification"
    results = ("report.html", "mean.binaryproto")

    def __init__(self, config: Config) -> None:
        Running.__init__(self, config)
        DataSets.__init__(self, config["dataset"])
        pretrained = config.get("pretrained", {})
        self.source: Optional[str] = None
        if self.published is not None:
            self._require_what_the_registry_lacks(self.published)
        if "train_on" in pretrained:
            self._add_source(pretrained["train_on"]["dataset"])
        self._require_starts()
        self._require_what_bvlc_can()
        wanting = [
            name
            for name, row in self._experiments.items()
            if row["pretrained"] and "start_from" not in row
        ]
        if wanting and not pretrained:
            raise ToolError(
                f"config: experiment '{wanting[0]}' starts from pretrained weights, but "
                "'pretrained' names none; give it a url, a model or train_on, or say "
                "pretrained: false"
            )

        for name, row in self._experiments.items():
            self._new_head(self.target, name)
            has_weights = row["pretrained"] or "start_from" in row
            if row.get("batch_norm") == "freeze" and not has_weights:
                raise ToolError(
                    f"config: experiment '{name}' says batch_norm: freeze and pretrained: false; "
                    "without weights there are no statistics to keep, so leave one of them out"
                )

        if self.model["subtract_mean"]:
            for name in self.datasets:
                if self.dataset(name)["image"].get("fit") == "short":
                    raise ToolError(
                        f"config: the data set '{name}' has image.fit: short, which leaves images "
                        "that differ in size, of which there is no mean image; give "
                        "model.mean_value instead of subtract_mean, or another fit"
                    )

        if "mean_value" in config["model"] and self.model["subtract_mean"]:
            raise ToolError(
                "config: model.mean_value and model.subtract_mean: true; a net subtracts either "
                "these values or the mean of the training images, so leave one of them out"
            )

    def _require_starts(self) -> None:
        """Every ``start_from`` names another experiment with the same heads, and none a circle."""
        for name in self._experiments:
            place = f"config: experiments.{name}.start_from"
            seen = [name]
            while "start_from" in self._experiments[seen[-1]]:
                before = self._experiments[seen[-1]]["start_from"]
                if before not in self._experiments:
                    raise ToolError(
                        f"{place}: there is no experiment {before!r}"
                        f"{did_you_mean(before, self._experiments)}"
                    )
                if before in seen:
                    raise ToolError(f"{place}: {' -> '.join([*seen, before])} is a circle")
                seen.append(before)
            if len(seen) > 1:
                own, other = (self._new_head(self.target, each) for each in seen[:2])
                if own != other:
                    raise ToolError(
                        f"{place}: the head is {own!r}, and that of {seen[1]!r} is {other!r}, so "
                        "it would start anew; give both the same new_head, or none"
                    )

    def _require_what_bvlc_can(self) -> None:
        """Nothing is told that is Recaffe's alone, if ``caffe.runtime`` is BVLC's."""
        caffe, training = self._config["caffe"], self._config["training"]
        if caffe["runtime"] == "recaffe":
            if caffe["command"]:
                raise ToolError(
                    "config: caffe.command leads to BVLC's Caffe, and caffe.runtime is recaffe; "
                    "say runtime: bvlc, or leave the command out"
                )
            return
        sets = {f"experiments.{name}": row for name, row in self._experiments.items()}
        if "train_on" in self._config.get("pretrained", {}):
            sets["pretrained.train_on"] = self._config["pretrained"]["train_on"]
        told = {
            "training.precision": training["precision"] != "float32",
            "training.compile": training["compile"],
            "training.deterministic": training["deterministic"],
            # Debian's is built without CUDA; others may be built with it.
            "training.gpu": training["gpu"] and not caffe["command"],
            **{f"{place}.{key}": row.get(key) for place, row in sets.items() for key in _RECAFFES},
        }
        for key, asked in told.items():
            if asked:
                raise ToolError(
                    f"config: {key}: BVLC's build, which caffe.runtime names, has no such thing; "
                    "leave it out, or say runtime: recaffe"
                )

    def _add_source(self, dataset: Config) -> None:
        self.source = dataset["name"]
        if self.source == self.target:
            raise ToolError(
                f"config: dataset and pretrained.train_on.dataset are both named "
                f"'{self.target}'; their results need two names"
            )
        self.add(dataset)
        if self._is_gray(self.source) and not self._is_gray(self.target):
            raise ToolError(
                "config: pretrained.train_on.dataset.image.gray is true and dataset.image.gray is "
                "not; kernels for gray tell nothing of what to look for in each colour. Say gray: "
                "true of both, or of dataset alone: weights for colour are made to fit gray images"
            )

    def _require_what_the_registry_lacks(self, model: Model) -> None:
        given, pretrained = self._config["model"], self._config["pretrained"]
        name = f"config: pretrained.model '{model.name}'"
        if model.checksum is None and not {"sha256", "sha1"} & set(pretrained):
            raise ToolError(
                f"{name}: no checksum of its weights is known, so what is fetched could not be "
                "verified; give pretrained.sha256"
            )
        if model.solver is None and "solver" not in given:
            raise ToolError(
                f"{name}: no solver is known by which it was trained; give model.solver, such as "
                "config/models/caffenet/solver.prototxt"
            )
        if model.mean is None and "mean_value" not in given and not given["subtract_mean"]:
            raise ToolError(
                f"{name}: it is not known which mean its training subtracted; say "
                "model.subtract_mean: true, or give model.mean_value"
            )

    @property
    def model(self) -> Config:
        """The net and solver to start from; of a published model, what the user leaves out."""
        given = self._config["model"]
        if self.published is None:
            return given
        heads = self.published.heads
        known: dict[str, Any] = {
            "train_val": self.published_file("train_val"),
            "solver": self.published_file("solver"),
            "head": heads[0] if len(heads) == 1 else heads,
        }
        if self.published.mean is not None and not given["subtract_mean"]:
            known["mean_value"] = self.published.mean
        return {**known, **given}

    def published_file(self, kind: str) -> str:
        """Where the published model's ``train_val`` or ``solver`` is written."""
        return f"results/{self.target}/published/{kind}.prototxt"

    # -- experiments ------------------------------------------------------------------

    def experiment(self, dataset: str, name: str) -> Config:
        """The configuration of one experiment; pretraining is the source's only one."""
        if dataset == self.source:
            return self._config["pretrained"]["train_on"]
        return self._experiments[name]

    def settings(self, dataset: str, experiment: str, seed: int) -> dict[str, Any]:
        """The settings for ``caffetools.patch`` of one run."""
        row = self.experiment(dataset, experiment)
        lmdb = f"results/{dataset}/lmdb"
        settings = {
            "head": self.model["head"],
            "new_head": self._new_head(dataset, experiment),
            "train_source": f"{lmdb}/train",
            "val_source": f"{lmdb}/val",
            "mean_file": self._mean_file(dataset),
            "solver": {**row["solver"], "random_seed": seed, "solver_mode": self._solver_mode},
        }
        if "mean_value" in self.model:
            settings["mean_value"] = self.model["mean_value"]
        settings.update({key: row[key] for key in _PER_EXPERIMENT if key in row})
        return settings

    def _new_head(self, dataset: str, experiment: str) -> Any:
        """A new name, or as many as there are heads where the model's head is a list."""
        head, given = self.model["head"], self.experiment(dataset, experiment).get("new_head")
        if isinstance(head, str) and not isinstance(given, Mapping):
            return given or f"{head}_{dataset}"
        heads = [head] if isinstance(head, str) else head
        place = f"config: experiments.{experiment}.new_head"
        if isinstance(given, str):
            raise ToolError(
                f"{place} is one name, {given!r}, for the heads {', '.join(heads)}; expected an "
                f"object with a name for each, such as {{{heads[0]}: {given}}}"
            )
        names = given or {}
        for old in names:
            if old not in heads:
                raise ToolError(f"{place}: {old!r} is no head of the model: {', '.join(heads)}")
        new = [names.get(old, f"{old}_{dataset}") for old in heads]
        return new[0] if isinstance(head, str) else new

    def _mean_file(self, dataset: str) -> Optional[str]:
        return f"results/{dataset}/mean.binaryproto" if self.model["subtract_mean"] else None

    def on_caffe(self, module: str) -> list[str]:
        """The words behind ``python -m`` that run a command on the Caffe that is told."""
        caffe = self._config["caffe"]
        if caffe["runtime"] == "recaffe":
            return [module]
        through = [word for told in caffe["command"] for word in ("--through", told)]
        return ["caffetools.bvlc", "run", *through, module]

    def preflight_options(self, dataset: str, experiment: str) -> list[str]:
        """What the preflight is told of one experiment."""
        accepted = self._config["preflight"]["accept"]
        if "start_from" in self.experiment(dataset, experiment):
            told = ["--no-new-head"]
        else:
            new = self._new_head(dataset, experiment)
            told = ["--new-head", *([new] if isinstance(new, str) else new)]
        return [*told, *(["--accept", *accepted] if accepted else [])]

    @property
    def evaluation_options(self) -> list[str]:
        """What the evaluating command is told of how to judge."""
        return options_of(self._config["evaluation"])

    @property
    def bundle_options(self) -> list[str]:
        """What the command that makes bundles is told of its parity test."""
        bundle = self._config["bundle"]
        return options_of({"count": bundle["images"]}) + (
            [] if bundle["opencv"] else ["--without-opencv"]
        )

    def weights(self, dataset: str, experiment: str, seed: int) -> Optional[str]:
        """The weights that a run starts from, None for the fillers'."""
        before = self.experiment(dataset, experiment).get("start_from")
        if before:
            return f"{run_folder(dataset, before, seed)}/final.caffemodel"
        if dataset == self.source or not self.experiment(dataset, experiment)["pretrained"]:
            return None
        return self.gray_weights if self._are_made_gray else self.pretrained_weights

    @property
    def pretrained_weights(self) -> str:
        """The weights that experiments start from, as they were fetched or trained."""
        if self.source is not None:
            return f"{run_folder(self.source, SOURCE_EXPERIMENT, self.seeds[0])}/final.caffemodel"
        return f"results/{self.target}/pretrained.caffemodel"

    @property
    def gray_weights(self) -> str:
        """The same, made to fit images of one channel."""
        return f"results/{self.target}/pretrained.gray.caffemodel"

    @property
    def _are_made_gray(self) -> bool:
        """Whether the images are gray and the weights may be for colour, which a file tells."""
        return self._is_gray(self.target) and not (self.source and self._is_gray(self.source))

    def _is_gray(self, dataset: str) -> bool:
        return bool(self.dataset(dataset)["image"]["gray"])

    def labelled_runs(self, file: str = "") -> list[str]:
        """Every run on the target as ``EXPERIMENT:SEED:PATH``: its folder, or a file in it."""
        return [
            f"{experiment}:{seed}:{Path(run_folder(self.target, experiment, seed), file)}"
            for experiment in self.experiments
            for seed in self.seeds
        ]

    @property
    def labelled_parity(self) -> list[str]:
        """Of every experiment's bundle what its parity test said, as ``EXPERIMENT:SEED:PATH``."""
        return [
            f"{name}:{self.seeds[0]}:results/{self.target}/experiments/{name}/bundle/parity.json"
            for name in self.experiments
        ]
