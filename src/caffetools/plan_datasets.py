"""What a configuration asks for of its data sets: where their images are, and how they are stored.

:class:`caffetools.plan.Plan` is made of this and of what is asked for of the experiments.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

from caffetools.cli import ToolError
from caffetools.dataset import tables

CHECKSUMS = ("sha256", "sha1")
SPLITS = ("train", "val", "test")
SPLIT_KEYS = (*SPLITS, "group", "folds", "fold", "seed")
BUILT_IN = ("digits", "letters")

Config = Mapping[str, Any]


class DataSets:
    """The data sets of a checked configuration, with defaults filled in.

    Attributes:
        target: the name of the data set to fine-tune on.
    """

    def __init__(self, dataset: Config) -> None:
        self.target: str = dataset["name"]
        self._datasets: dict[str, Config] = {}
        self.add(dataset)

    def add(self, dataset: Config) -> None:
        """Add a data set. Raises ToolError where what is told of its source is contradictory."""
        self._datasets[dataset["name"]] = dataset
        require_one_form(dataset, self._key(dataset["name"]))

    def _key(self, name: str) -> str:
        """Where the configuration tells of a data set."""
        return "dataset" if name == self.target else "pretrained.train_on.dataset"

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

    def is_archive(self, name: str) -> bool:
        """Whether the data set lies in an archive."""
        return "archive" in self.dataset(name)

    def is_stored(self, name: str) -> bool:
        """Whether the images lie in files of a format of their own, such as IDX."""
        return str(self.dataset(name)["format"]) != "folders"

    def is_address(self, name: str) -> bool:
        """Whether the data set's archive is fetched."""
        return self.is_archive(name) and _is_address(self.dataset(name)["source"])

    def given_folder(self, name: str) -> Optional[str]:
        """The folder of the user's that a data set is made of, None where it is made of another."""
        is_none = self.is_built_in(name) or self.is_table(name) or self.is_archive(name)
        return None if is_none else self.dataset(name)["source"]

    def folder(self, name: str) -> str:
        """The folder with one sub-folder a class that the data set is made of."""
        if self.is_stored(name) or self.is_built_in(name) or self.is_table(name):
            return f"results/{name}/images"
        return self.given_folder(name) or self.unpacked(name)

    def unpacked(self, name: str) -> str:
        """The folder that a data set's archive is unpacked to."""
        return f"results/{name}/unpacked"

    def made_folders(self, name: str) -> list[str]:
        """:meth:`folder`, where a rule makes it."""
        folder = self.folder(name)
        return [] if folder == self.given_folder(name) else [folder]

    def archive(self, name: str) -> str:
        """The file that a data set's archive is in."""
        if self.is_address(name):
            return f"results/{name}/downloads/archive"
        return str(self.dataset(name)["source"])

    def archive_fetch_options(self, name: str) -> list[str]:
        """What ``caffetools.fetch`` is told of a data set's archive."""
        dataset = self.dataset(name)
        # What unpacks to no more is itself no larger.
        limit = {"max_bytes": dataset["archive"]["limit"]} if "limit" in dataset["archive"] else {}
        return ["--url", dataset["source"], *options_of({**self._checksums(name), **limit})]

    def archive_options(self, name: str) -> list[str]:
        """What ``caffetools.archives`` is told; of what was fetched the checksum is known."""
        archive = self.dataset(name)["archive"]
        checksums = {} if self.is_address(name) else self._checksums(name)
        kept = {key: archive[key] for key in ("folder", "limit") if key in archive}
        return options_of({**checksums, **kept})

    def _checksums(self, name: str) -> dict[str, str]:
        archive = self.dataset(name)["archive"]
        return {key: archive[key] for key in CHECKSUMS if key in archive}

    def stored_source(self, name: str) -> str:
        """The folder with the files of a data set's format."""
        return self.given_folder(name) or self.unpacked(name)

    def stored_inputs(self, name: str) -> list[str]:
        """What is made or given of a data set's format beside the user's own folder."""
        names = self.dataset(name).get("stored", {}).get("names")
        made = [self.unpacked(name)] if self.is_archive(name) else []
        return [*made, *([names] if names else [])]

    def stored_options(self, name: str) -> list[str]:
        """What ``caffetools.stored_images`` is told of the format."""
        dataset = self.dataset(name)
        return [dataset["format"], *options_of(dataset.get("stored", {}))]

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
        told = (
            {"list": lists}
            if isinstance(lists, str)
            else {f"{k}-list": lists[k] for k in SPLITS if k in lists}
        )
        return {**told, **{key: dataset[key] for key in ("index", "names") if key in dataset}}

    def is_listed(self, name: str) -> bool:
        """Whether lists or a table tell the images, and not the folders that they lie in."""
        return bool(set(self.listings(name)) - {"names"})

    def made_index(self, name: str) -> list[str]:
        """The table that tells of images which were brought into folders."""
        made = (self.is_stored(name) or self.is_table(name)) and not self.is_listed(name)
        return [f"results/{name}/images.csv"] if made else []

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
        split = dict(dataset["split"])
        given = split.pop("given")
        limits = ("min_per_class", "max_per_class", "max_pixels")
        return [
            *options_of(self.listings(name)),
            *(word for index in self.made_index(name) for word in ("--index", index)),
            # In one order, however a configuration is written: Snakemake compares the words.
            *options_of({key: split[key] for key in SPLIT_KEYS if key in split}),
            *([] if given else ["--ignore-splits"]),
            *options_of({key: dataset[key] for key in limits if key in dataset}),
            *(["--strict"] if dataset["strict"] else []),
        ]

    def image_options(self, name: str, split: str) -> list[str]:
        """What ``caffetools.lmdb convert`` is told of the images of one split."""
        dataset, image = self.dataset(name), self.dataset(name)["image"]
        told = {key: image[key] for key in ("width", "height", "fit", "encode") if key in image}
        limit = {key: dataset[key] for key in ("max_pixels",) if key in dataset}
        options = options_of({**told, **limit})
        options += ["--gray"] if image["gray"] else []
        # Training needs its classes mixed; the order of a test does not matter.
        seed = str(self.dataset(name)["split"]["seed"])
        return options + (["--shuffle", "--seed", seed] if split == "train" else [])

    def require_folders(self) -> None:
        """Raise a ToolError if what a data set is made of is not there."""
        for name in self._datasets:
            key = self._key(name)
            for file in self.table_inputs(name):
                _require_file(
                    f"config: {key}",
                    file,
                    "a table of addresses as source, and as table.names the classes",
                )
            for option, file in self.listings(name).items():
                expected = "the images" if option != "names" else "a class in each line"
                _require_file(f"config: {key}", file, f"a file with {expected}")
            if self.is_archive(name) and not self.is_address(name):
                expected = "an archive, since dataset.archive is told, or an http: address of one"
                _require_file(f"config: {key}.source", self.archive(name), expected)
            names = self.dataset(name).get("stored", {}).get("names")
            if names:
                _require_file(f"config: {key}.stored.names", names, "a class in each line")
            folder = self.given_folder(name)
            if folder is not None and not Path(folder).is_dir():
                raise ToolError(
                    f"config: {key}.source: there is no folder {folder}, seen from {Path.cwd()}; "
                    f"expected {self._expected_folder(name)}"
                )

    def _expected_folder(self, name: str) -> str:
        if self.is_stored(name):
            return f"a folder with files of the format {self.dataset(name)['format']}"
        return (
            "a folder with one sub-folder of images a class, or one of the example sets, "
            f"{' and '.join(BUILT_IN)}; of an archive say archive: {{}} as well"
        )


def require_one_form(dataset: Config, key: str) -> None:
    """Raise a ToolError where a data set's source is told to be of two forms, or of a part of one.

    ``key`` is where the configuration tells of it.
    """
    source, form = dataset["source"], dataset["format"]
    told = [word for word in ("table", "archive") if word in dataset]
    told += [f"format: {form}"] if form != "folders" else []
    if source in BUILT_IN and told:
        raise ToolError(
            f"config: {key}: {source!r} comes with the project, so {told[0]} tells nothing of it; "
            f"leave it out, or write ./{source} for a file or folder of that name"
        )
    if "table" in told and len(told) > 1:
        raise ToolError(f"config: {key}: found both table and {told[1]}; expected one of them")
    _require_stored(dataset.get("stored", {}), form, f"config: {key}.stored")
    if not _is_address(source):
        return
    if "archive" not in dataset:
        raise ToolError(
            f"config: {key}.source: {source} is fetched where it is an archive; say so by "
            "archive: {sha256: ...}"
        )
    if not set(CHECKSUMS) & set(dataset["archive"]):
        raise ToolError(
            f"config: {key}.archive: expected sha256 (or sha1), by which what is fetched from "
            f"{source} can be verified"
        )


def _require_stored(stored: Config, form: str, place: str) -> None:
    allowed = {
        "folders": (),
        "parquet": ("names", "image", "label"),
        "cifar100": ("names", "label"),
    }.get(form, ("names",))
    for word in stored:
        if word not in allowed:
            raise ToolError(
                f"{place}.{word}: tells nothing of format: {form}, of which "
                f"{', '.join(allowed) or 'nothing'} can be told"
            )
    label = stored.get("label", "fine")
    if form == "cifar100" and label not in ("fine", "coarse"):
        raise ToolError(f"{place}.label: expected fine or coarse of cifar100, found {label!r}")


def _is_address(source: str) -> bool:
    return urllib.parse.urlsplit(source).scheme in ("http", "https")


def _require_file(place: str, file: str, expected: str) -> None:
    if not Path(file).is_file():
        raise ToolError(
            f"{place}: there is no file {file}, seen from {Path.cwd()}; expected {expected}"
        )


def options_of(values: Mapping[str, Any]) -> list[str]:
    """``--key value`` of each, as words of a command."""
    told = ((f"--{key.replace('_', '-')}", str(value)) for key, value in values.items())
    return [word for option in told for word in option]
