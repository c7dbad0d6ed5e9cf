"""PASCAL VOC's annotations: an XML file an image.

``Annotations/NAME.xml`` tells the boxes of ``JPEGImages/NAME.jpg`` (or of any other kind of
image), and ``ImageSets/Main/train.txt``, ``val.txt``, ``test.txt`` and ``trainval.txt`` have a name
a line; trainval is train where there is no train. Where these folders are absent, files and
images lie together. VOC counts pixels from 1, so that 1 is subtracted from each corner; tools
that write this format counting from 0 are read with ``first_pixel=0``.

Files are read by expat, without a DTD and thus without entities.
Format: M. Everingham et al., "The PASCAL Visual Object Classes Challenge", development kit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Optional
from xml.parsers import expat
from xml.sax.saxutils import escape

from caffetools.cli import ToolError
from caffetools.dataset.entry import SPLITS
from caffetools.detection.annotated import (
    Annotated,
    Annotations,
    Marked,
    UnreadableError,
    four,
    images_in,
    number,
    read_bytes,
    relative,
    sorted_images,
    unread,
)
from caffetools.detection.manifest import Box
from caffetools.preflight.finding import ERROR, WARNING, Finding

MAX_BYTES = 1 << 24  # of one file
MAX_DEPTH = 32
CORNERS = ("xmin", "ymin", "xmax", "ymax")
_OBJECT = ("annotation", "object")
_LISTED_FIX = "name it in one list of ImageSets/Main"


class Scene(NamedTuple):
    """One file's content; text as it stands there."""

    filename: str
    size: Optional[tuple[float, float]]
    boxes: list[Marked]
    findings: list[Finding]


class _RefusedError(Exception):
    pass


class _Reader:
    """Collects the text of an annotation's elements, and of each object's with its line."""

    def __init__(self) -> None:
        self.top: dict[str, str] = {}
        self.objects: list[tuple[int, dict[str, str]]] = []
        self._path: list[str] = []
        self._text: list[str] = []
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text_append
        self.parser.StartDoctypeDeclHandler = self._doctype

    def _doctype(self, *told: object) -> None:
        raise _RefusedError("a DOCTYPE, which can name entities and other files")

    def _start(self, name: str, attributes: Any) -> None:
        self._path.append(name)
        self._text.clear()
        if len(self._path) > MAX_DEPTH:
            raise _RefusedError(f"elements more than {MAX_DEPTH} deep")
        if len(self._path) == 1 and name != "annotation":
            raise _RefusedError(f"the element {name[:40]!r} at the top and not 'annotation'")
        if tuple(self._path) == _OBJECT:
            self.objects.append((self.parser.CurrentLineNumber, {}))

    def _text_append(self, text: str) -> None:
        self._text.append(text)

    def _end(self, name: str) -> None:
        text = "".join(self._text).strip()
        self._text.clear()
        path = tuple(self._path)
        self._path.pop()
        if path[:2] == _OBJECT:
            self.objects[-1][1].setdefault("/".join(path[2:]), text)
        else:
            self.top.setdefault("/".join(path[1:]), text)


def scene(content: bytes, place: str, first_pixel: int = 1) -> Scene:
    """The boxes of one file; ``place`` is what findings call it.

    Raises :class:`UnreadableError` with the line where it is no annotation.
    """
    reader = _Reader()
    try:
        reader.parser.Parse(content, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        line = getattr(error, "lineno", reader.parser.CurrentLineNumber)
        raise UnreadableError(f"{place}:{line}", f"expected XML, found none ({error})") from error
    except _RefusedError as error:
        line = reader.parser.CurrentLineNumber
        raise UnreadableError(
            f"{place}:{line}", f"expected VOC's annotation, found {error}"
        ) from error
    boxes, findings = [], []
    for line, told in reader.objects:
        missing = [name for name in CORNERS if f"bndbox/{name}" not in told]
        if "name" not in told or missing:
            lacks = "name" if "name" not in told else f"bndbox/{missing[0]}"
            findings.append(unread(f"{place}:{line}", f"an object without {lacks}", "add it"))
            continue
        x1, y1, x2, y2 = (
            value - first_pixel for value in four([told[f"bndbox/{name}"] for name in CORNERS])
        )
        flags = (told.get(name) == "1" for name in ("difficult", "truncated"))
        boxes.append(Marked(told["name"], (x1, y1, x2, y2), f"{place}:{line}", *flags))
    size = tuple(number(reader.top.get(f"size/{name}", "")) for name in ("width", "height"))
    told_size = (size[0], size[1]) if min(size) > 0 else None
    return Scene(reader.top.get("filename", ""), told_size, boxes, findings)


def read(source: Path, annotations: Optional[Path] = None, first_pixel: int = 1) -> Annotations:
    """All annotations of a folder in VOC's form; ``annotations`` is the folder of XML files.

    Raises :class:`ToolError` where there are none.
    """
    folder = annotations or _folder(source, "Annotations")
    files = sorted(path for path in folder.glob("*.xml") if path.is_file())
    if not files:
        raise ToolError(f"{folder}: expected VOC's annotations, a NAME.xml an image, found none")
    images = images_in(_folder(source, "JPEGImages"), source)
    by_stem: dict[str, list[str]] = {}
    for path in images:
        by_stem.setdefault(Path(path).stem, []).append(path)
    by_name = {Path(path).name: path for path in images}
    splits, findings, lists = _splits(source / "ImageSets" / "Main")
    found = []
    for file in files:
        image, complaints = _annotated(file, source, first_pixel, by_stem, by_name)
        findings += complaints
        if image:
            found.append(image._replace(split=splits.get(file.stem, "")))
    annotated = {image.path for image in found}
    found += [
        Annotated(path, split=splits.get(Path(path).stem, ""))
        for path in images
        if path not in annotated
    ]
    known = {file.stem for file in files} | set(by_stem)
    for name in sorted(set(splits) - known):
        place = f"ImageSets/Main/{splits[name]}.txt"
        lacking = f"{name[:80]!r} is listed, and there is neither an annotation nor an image of it"
        findings.append(Finding(ERROR, "image", place, lacking, "add both, or take out the line"))
    return Annotations(sorted_images(found), findings, [*files, *lists])


def _folder(source: Path, name: str) -> Path:
    return source / name if (source / name).is_dir() else source


def _annotated(
    file: Path,
    source: Path,
    first_pixel: int,
    by_stem: dict[str, list[str]],
    by_name: dict[str, str],
) -> tuple[Optional[Annotated], list[Finding]]:
    """The image of one file, or None where it is not there, and what is wrong with the file."""
    place = relative(file, source)
    own = by_stem.get(file.stem, [])
    try:
        told = scene(read_bytes(file, MAX_BYTES), place, first_pixel)
    except UnreadableError as error:
        where = place if error.place == str(file) else error.place
        finding = unread(where, error.found, "mend the file, or take it and its image out")
        broken = [Annotated(path, source=place, dropped="has a broken annotation") for path in own]
        return (broken[0] if broken else None), [finding]
    findings = list(told.findings)
    named = by_name.get(told.filename)
    if named and own and named not in own:
        findings.append(
            Finding(
                WARNING,
                "image",
                place,
                f"tells the image {told.filename[:80]!r}, and {Path(own[0]).name!r} bears the "
                "file's own name; the latter is taken, as VOC's code does",
                "rename the file, or mend its element 'filename'",
            )
        )
    path = named if named and (named in own or not own) else (own[0] if own else None)
    if path is None:
        looked = f"no image is called {file.stem!r} or {told.filename[:80]!r}"
        findings.append(Finding(ERROR, "image", place, looked, "add the image"))
        return None, findings
    return Annotated(path, told.boxes, source=place, size=told.size), findings


def _splits(folder: Path) -> tuple[dict[str, str], list[Finding], list[Path]]:
    """Each name's split by the lists, the names that are in two, and the lists."""
    names = {name: folder / f"{name}.txt" for name in SPLITS}
    if not names["train"].is_file():
        names["train"] = folder / "trainval.txt"
    splits: dict[str, str] = {}
    findings: list[Finding] = []
    lists = {split: path for split, path in names.items() if path.is_file()}
    for split, path in lists.items():
        text = read_bytes(path, 1 << 28).decode("utf-8", "surrogateescape")
        for line, row in enumerate(text.split("\n"), 1):
            name = row.strip()
            if name and splits.setdefault(name, split) != split:
                where = f"ImageSets/Main/{path.name}:{line}"
                twice = f"{name[:80]!r} is in {splits[name]} as well, where it stays"
                findings.append(Finding(ERROR, "split", where, twice, _LISTED_FIX))
    return splits, findings, list(lists.values())


def document(filename: str, size: tuple[int, int], boxes: Sequence[Box]) -> str:
    """One file's text, of an image's name, its width and height, and its boxes."""
    return "\n".join(_lines(filename, size, boxes)) + "\n"


def _lines(filename: str, size: tuple[int, int], boxes: Sequence[Box]) -> Iterable[str]:
    yield "<annotation>"
    yield f"  <filename>{escape(filename)}</filename>"
    width, height = size
    yield f"  <size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    for box in boxes:
        corners = "".join(
            f"<{name}>{value + 1:.12g}</{name}>" for name, value in zip(CORNERS, box.corners)
        )
        yield "  <object>"
        yield f"    <name>{escape(box.class_name)}</name>"
        yield f"    <truncated>{int(box.truncated)}</truncated>"
        yield f"    <difficult>{int(box.difficult)}</difficult>"
        yield f"    <bndbox>{corners}</bndbox>"
        yield "  </object>"
    yield "</annotation>"
