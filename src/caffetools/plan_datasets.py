"""What a configuration asks for of its data sets: where their images are, and how they are stored.

:class:`caffetools.plan.Plan` is made of this and of what is asked for of the experiments.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from caffetools.cli import ToolError
from caffetools.dataset import tables

SPLITS = ("train", "val", "test")
BUILT_IN = ("digits", "letters")

Config = Mapping[str, Any]


class DataSets:
    """The data sets of a checked configuration, with defaults filled in.

    Attributes:
        target: the name of the data set to fine-tune on.
    """

    def __init__(self, dataset: Config) -> None:
        self.target: str = dataset["name"]
        self._datasets = {self.target: dataset}

    def add(self, dataset: Config) -> None:
        """Add a data set beside the target."""
        self._datasets[dataset["name"]] = dataset

    @property
    def datasets(self) -> list[str]:
        """The data sets' names, the target first."""
        return list(self._datasets)

    def dataset(self, name: str) -> Config:
        """The configuration of one data set."""
        return self._datasets[name]

    def is_built_in(self, name: str) -> bool:
        """Whether the data set is one of the examples that come with the project."""
        return self.dataset(name)["source"] in BUILT_IN

    def is_table(self, name: str) -> bool:
        """Whether the data set is a table of addresses, whose images are fetched."""
        return "table" in self.dataset(name)

    def folder(self, name: str) -> str:
        """The folder with one sub-folder a class that the data set is made of."""
        is_made = self.is_built_in(name) or self.is_table(name)
        return f"results/{name}/images" if is_made else self.dataset(name)["source"]

    def table_inputs(self, name: str) -> list[str]:
        """The files that tell a data set's addresses, labels and classes."""
        if not self.is_table(name):
            return []
        names = self.dataset(name)["table"].get("names")
        return [self.dataset(name)["source"], *([names] if names else [])]

    def table_options(self, name: str) -> list[str]:
        """What ``caffetools.url_images`` is told of the table."""
        table = dict(self.dataset(name)["table"])
        placeholders = table.pop("placeholders")
        options = options_of(table)
        return [*options, *(["--placeholder", *placeholders] if placeholders else [])]

    def example_options(self, name: str) -> list[str]:
        """What ``caffetools.examples`` is told to write a built-in data set."""
        source = self.dataset(name)["source"]
        if source == "letters":
            return [source, "--per-class", str(self.dataset(name)["per_class"])]
        return [source]

    def listings(self, name: str) -> dict[str, str]:
        """The files that tell a data set's images or classes, by the option that names them."""
        dataset = self.dataset(name)
        lists = dataset.get("lists", {})
        told = {"list": lists} if isinstance(lists, str) else {f"{k}-list": lists[k] for k in lists}
        return {**told, **{key: dataset[key] for key in ("index", "names") if key in dataset}}

    def is_listed(self, name: str) -> bool:
        """Whether lists or a table tell the images, and not the folders that they lie in."""
        return bool(set(self.listings(name)) - {"names"})

    def listed_paths(self, name: str) -> list[str]:
        """The images that lists or a table tell; none where these are wrong."""
        told = self.listings(name)
        lists = {key: Path(told[key]) for key in told if key.endswith("list")}
        try:
            if "index" in told:
                found, _ = tables.from_table(Path(told["index"]), None)
            else:
                found, _ = tables.from_lists(lists, None)
        except ToolError:
            return []
        return [entry.path for entry in found]

    def split_options(self, name: str) -> list[str]:
        """What ``caffetools.dataset`` is told of the images and their split."""
        dataset = self.dataset(name)
        limits = ("min_per_class", "max_per_class", "max_pixels")
        return [
            *options_of(self.listings(name)),
            *options_of(dataset["split"]),
            *options_of({key: dataset[key] for key in limits if key in dataset}),
            *(["--strict"] if dataset["strict"] else []),
        ]

    def image_options(self, name: str, split: str) -> list[str]:
        """What ``caffetools.lmdb convert`` is told of the images of one split."""
        image = self.dataset(name)["image"]
        options = options_of(
            {key: image[key] for key in ("width", "height", "fit", "encode") if key in image}
        )
        options += ["--gray"] if image["gray"] else []
        # Training needs its classes mixed; the order of a test does not matter.
        seed = str(self.dataset(name)["split"]["seed"])
        return options + (["--shuffle", "--seed", seed] if split == "train" else [])

    def require_folders(self) -> None:
        """Raise a ToolError if a data set's folder of images is not there."""
        for name in self._datasets:
            folder = Path(self.folder(name))
            key = "dataset" if name == self.target else "pretrained.train_on.dataset"
            for file in self.table_inputs(name):
                if not Path(file).is_file():
                    raise ToolError(
                        f"config: {key}: there is no file {file}, seen from {Path.cwd()}; expected "
                        "a table of addresses as source, and as table.names the classes"
                    )
            for file in self.listings(name).values():
                if not Path(file).is_file():
                    raise ToolError(
                        f"config: {key}: there is no file {file}, seen from {Path.cwd()}; expected "
                        "the lists, the table or the names of classes that the configuration tells"
                    )
            is_given = not self.is_built_in(name) and not self.is_table(name)
            if is_given and not folder.is_dir():
                raise ToolError(
                    f"config: {key}.source: there is no folder {folder}, seen from {Path.cwd()}; "
                    f"expected a folder with one sub-folder of images a class, or one of the "
                    f"example sets, {' and '.join(BUILT_IN)}"
                )


def options_of(values: Mapping[str, Any]) -> list[str]:
    """``--key value`` of each, as words of a command."""
    told = ((f"--{key.replace('_', '-')}", str(value)) for key, value in values.items())
    return [word for option in told for word in option]
