"""Images in folders, one folder a class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from caffetools.cli import ToolError
from caffetools.dataset.entry import Entry, unlistable
from caffetools.folders import lies_inside
from caffetools.images import EXTENSIONS, is_image


def find_classes(source: Path) -> list[str]:
    """The names of the class folders in ``source``, sorted; hidden folders do not count.

    Raises :class:`ToolError` if there are fewer than two or one cannot be used.
    """
    names = sorted(entry.name for entry in source.iterdir() if entry.is_dir())
    classes = [name for name in names if not name.startswith(".")]
    if len(classes) < 2:
        raise ToolError(_too_few_classes(source, classes))
    for name in classes:
        if reason := unlistable(name):
            raise ToolError(f"{source}: class folder {name!r} {reason}; rename it")
        if not lies_inside(source / name, source):
            raise ToolError(
                f"{source / name}: this class folder is a link that leads out of the source "
                "folder; put the folder itself there"
            )
    return classes


def _too_few_classes(source: Path, classes: Sequence[str]) -> str:
    if classes:
        return (
            f"{source}: expected at least two classes, found one, {classes[0]!r}; "
            "add a sub-folder for each further class"
        )
    images = sum(1 for entry in source.iterdir() if _is_image_name(entry.name))
    return (
        f"{source}: expected one sub-folder a class, found no sub-folder and {images} images; "
        "move each image into a sub-folder named after its class, or tell a list of them"
    )


def _is_image_name(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in EXTENSIONS


def find_images(source: Path, class_name: str, label: int) -> list[Entry]:
    """The images of one class by name, not yet opened. Raises :class:`ToolError` if none.

    A file counts if it is named as an image, or is one whatever its name.
    """
    folder = source / class_name
    names = sorted(entry.name for entry in folder.iterdir() if _is_image(entry))
    if not names:
        deeper = sum(1 for entry in folder.iterdir() if entry.is_dir())
        hint = f" and {deeper} sub-folders, which are not searched" if deeper else ""
        raise ToolError(
            f"{folder}: expected images of class {class_name!r}, found none{hint}; "
            "add images or remove the folder"
        )
    return [Entry(f"{class_name}/{name}", label, class_name) for name in names]


def _is_image(path: Path) -> bool:
    if _is_image_name(path.name):
        return True
    return not path.name.startswith(".") and path.is_file() and is_image(path)


def find(source: Path) -> tuple[list[Entry], list[str]]:
    """Every image of ``source`` by class and name, and the classes."""
    classes = find_classes(source)
    found = [e for label, name in enumerate(classes) for e in find_images(source, name, label)]
    return found, classes
