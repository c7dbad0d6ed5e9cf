"""What a configuration with ``task: detection`` asks for: images, boxes, and each run's files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

from caffetools.cli import ToolError
from caffetools.plan_datasets import Config, options_of
from caffetools.plan_running import Running, run_folder

BUILT_IN = "digits-on-photographs"
_FILES = ("train", "test", "solver")


class DetectionPlan(Running):
    """A checked configuration, with defaults filled in.

    Attributes:
        figures: the kinds of figures that each experiment gets.
        task: what nets learn.
        results: the files of ``results/TARGET`` that the workflow is to make.
        target: the name of the data set.

    Raises:
        ToolError: parts of the configuration contradict each other.
    """

    figures = ("losses", "precision_recall", "false_positives", "missed", "gallery")
    task = "detection"
    results = ("report.html",)

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._dataset: Config = config["dataset"]
        self.target: str = self._dataset["name"]
        model, pretrained = config["model"], config.get("pretrained", {})
        own = [name for name in _FILES if name in model]
        if ("net" in model) == bool(own) or (own and len(own) < len(_FILES)):
            raise ToolError(
                "config: model: expected net, one of Recaffe's, or the prototxts train, test and "
                f"solver, found {', '.join(own + ['net'] * ('net' in model)) or 'none'}"
            )
        if own and "anchor_scales" in model:
            raise ToolError(
                "config: model.anchor_scales: those of prototxts of your own stand in these; leave "
                "it out"
            )
        if not pretrained and any(row["pretrained"] for row in self._experiments.values()):
            raise ToolError(
                "config: an experiment starts from pretrained weights, and 'pretrained' names "
                "none; give it a url or a model, or say pretrained: false"
            )
        if ("composed" in self._dataset) != self.is_built_in:
            raise ToolError(
                "config: dataset.composed: expected of how many images, such as {images: 1000}, "
                f"with source: {BUILT_IN}, and with no other source"
            )
        if not self.is_built_in and "format" not in self._dataset:
            raise ToolError("config: dataset.format: expected voc, coco, yolo or csv, found none")

    @property
    def datasets(self) -> list[str]:
        """The data sets' names."""
        return [self.target]

    @property
    def is_built_in(self) -> bool:
        """Whether the data set is the example that comes with the project."""
        return bool(self._dataset["source"] == BUILT_IN)

    def require_folders(self) -> None:
        """Raise a ToolError if what the data set is made of is not there."""
        folder = self.given_folder(self.target)
        if folder is not None and not Path(folder).is_dir():
            raise ToolError(
                f"config: dataset.source: there is no folder {folder}, seen from {Path.cwd()}; "
                f"expected a folder of images and boxes, or {BUILT_IN}"
            )
        for key in ("classes", "annotations"):
            for path in _listed(self._dataset.get(key)):
                if not Path(path).exists():
                    raise ToolError(
                        f"config: dataset.{key}: there is no {path}, seen from {Path.cwd()}"
                    )

    def given_folder(self, name: str) -> Optional[str]:
        """The user's folder that the data set is made of, None for the built-in one."""
        return None if self.is_built_in else self._dataset["source"]

    def is_listed(self, name: str) -> bool:
        """Whether lists tell the images, and not the folder that they lie in."""
        return False

    @property
    def folder(self) -> str:
        """The folder of the images."""
        return self.given_folder(self.target) or f"results/{self.target}/images"

    @property
    def made_folders(self) -> list[str]:
        """:attr:`folder`, where a rule makes it."""
        return [self.folder] if self.is_built_in else []

    @property
    def compose_options(self) -> list[str]:
        """What ``caffetools.detection.compose`` is told."""
        return options_of(self._dataset.get("composed", {}))

    @property
    def dataset_files(self) -> list[str]:
        """The user's files that tell of the boxes, beside the folder."""
        return [
            path for key in ("classes", "annotations") for path in _listed(self._dataset.get(key))
        ]

    @property
    def dataset_options(self) -> list[str]:
        """What ``caffetools.detection.dataset`` is told of the images, boxes and splits."""
        own, split = self._dataset, dict(self._dataset["split"])
        given = split.pop("given")
        flags = {"--ignore-splits": not given, "--clip": own["clip"],
                 "--keep-empty": own["keep_empty"], "--strict": own["strict"]}  # fmt: skip
        annotations = _listed(own.get("annotations"))
        told = {key: own[key] for key in ("classes", "first_pixel", "max_pixels") if key in own}
        return [
            *options_of({"format": "voc" if self.is_built_in else own["format"], **told}),
            *(["--annotations", *annotations] if annotations else []),
            *options_of({key: split[key] for key in sorted(split)}),
            *(flag for flag, is_set in flags.items() if is_set),
        ]

    @property
    def roidb_options(self) -> list[str]:
        """What ``caffetools.detection.roidb`` is told."""
        learnt = ["--split", *self._dataset["learn"]]
        return learnt + (["--difficult"] if self._dataset["learn_difficult"] else [])

    def file(self, kind: str) -> str:
        """The prototxt ``train``, ``test`` or ``solver`` to start from."""
        own = self._config["model"].get(kind)
        return str(own or f"results/{self.target}/published/{kind}.prototxt")

    @property
    def writes_nets(self) -> bool:
        """Whether the prototxts are Recaffe's own."""
        return "net" in self._config["model"]

    @property
    def net_options(self) -> list[str]:
        """What ``caffetools.detection.nets`` is told."""
        scales = self._config["model"].get("anchor_scales", [])
        return [self._config["model"]["net"], *(["--scales", *map(str, scales)] if scales else [])]

    def settings(self, experiment: str, seed: int) -> dict[str, Any]:
        """The settings for ``caffetools.detection.patch`` of one run."""
        row = self._experiments[experiment]
        return {
            **self._config["image"],
            "mirror": row["mirror"],
            "new_heads": row["new_heads"],
            "suffix": f"_{self.target}",
            "solver": {**row["solver"], "random_seed": seed, "solver_mode": self._solver_mode},
        }

    def weights(self, experiment: str) -> Optional[str]:
        """The weights that a run starts from, None for the fillers'."""
        wanted = self._experiments[experiment]["pretrained"]
        return f"results/{self.target}/pretrained.caffemodel" if wanted else None

    @property
    def detect_options(self) -> list[str]:
        """What ``caffetools.detection.detect`` is told of images and of what counts."""
        image, own = self._config["image"], self._config["evaluation"]
        told = {**{key: image[key] for key in ("scale", "max_size")}, "score": own["least_score"]}
        return [*options_of(told), "--mean", *map(str, image["mean"])]

    @property
    def evaluation_options(self) -> list[str]:
        """What ``caffetools.detection.evaluate`` is told of how to judge."""
        return options_of({key: self._config["evaluation"][key] for key in ("iou", "metric")})

    def figure(self, dataset: str, experiment: str, figure: str) -> list[str]:
        """The command that draws a figure of the first seed's run, and what it is told."""
        run = run_folder(dataset, experiment, self.seeds[0])
        judged = f"{run}/evaluation"
        if figure == "losses":
            return ["caffetools.plots.losses", "--losses", f"{run}/losses.csv"]
        told = {"metrics": f"{judged}/metrics.json"}
        if figure == "precision_recall":
            told = {"curves": f"{judged}/curves.csv", **told}
        elif figure == "gallery":
            tables = ("scores", "judged", "missed")
            told = {"images": self.folder, **{key: f"{judged}/{key}.csv" for key in tables}}
        return [f"caffetools.detection.plots.{figure}", *options_of(told)]

    def labelled_runs(self) -> list[str]:
        """Every run as ``EXPERIMENT:SEED:FOLDER``."""
        return [
            f"{experiment}:{seed}:{run_folder(self.target, experiment, seed)}"
            for experiment in self.experiments
            for seed in self.seeds
        ]


def _listed(value: Any) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)
