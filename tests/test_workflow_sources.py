"""Archives and files of other formats in the workflow, from the source to the LMDB."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import pytest
from loopback import Server
from miniature import Miniature
from test_archives import found, member, tar, zipped
from test_stored_images import write_cifar10, write_idx

from caffetools.databases import lmdb_entries

pytestmark = pytest.mark.slow

TRAIN, DATASET = "results/bars/lmdb/train.json", "results/bars/dataset/summary.json"


@pytest.fixture
def bare(tmp_path: Path) -> Miniature:
    return Miniature(tmp_path / "bare")


def photos(miniature: Miniature) -> dict[str, bytes]:
    """The photographs of the miniature, as an archive has them."""
    return {f"set/{name}": content for name, content in found(miniature.folder / "photos").items()}


def told(miniature: Miniature, **keys: object) -> None:
    miniature.config["dataset"].update(keys)


def test_an_archive_by_address(server: Server, bare: Miniature) -> None:
    server.content = tar(photos(bare))
    sha256 = hashlib.sha256(server.content).hexdigest()
    told(bare, source=f"{server.url}/answer", archive={"sha256": sha256})
    said = bare.run("--", TRAIN)
    assert [rule in said for rule in ("rule fetch_archive", "rule unpack")] == [True, True]
    unpacked = found(bare.path("unpacked"))
    del unpacked[".snakemake_timestamp"]
    assert unpacked == found(bare.folder / "photos")
    assert server.requests == ["/answer"]
    assert bare.planned("--", TRAIN) == {}
    told(bare, archive={"sha256": sha256, "limit": 10**6})
    # The limit holds for what is fetched as well.
    assert set(bare.planned("--", TRAIN)) == {"fetch_archive", "unpack", "dataset", "lmdb"}


def test_another_archive_at_the_address_is_refused(server: Server, bare: Miniature) -> None:
    server.content = tar(photos(bare))
    told(bare, source=f"{server.url}/answer", archive={"sha256": "0" * 64})
    done = bare.snakemake("--", DATASET)
    assert done.returncode == 1
    assert f"expected {'0' * 64}" in bare.log("fetch_archive")
    assert not bare.path("downloads/archive").exists()


def test_an_archive_that_leads_elsewhere_stops_the_run(bare: Miniature) -> None:
    path = bare.folder / "set.tar"
    told(bare, source="set.tar", archive={})
    path.write_bytes(tar({**photos(bare), "set/../../../escaped": b"x"}))
    assert bare.snakemake("--", DATASET).returncode == 1
    assert "set.tar: entry 'set/../../../escaped' leads upwards by '..'" in bare.log("unpack")
    path.write_bytes(tar(photos(bare), member("set/x", b"2", linkname="/etc")))
    assert bare.snakemake("--", DATASET).returncode == 1
    assert "entry 'set/x' is a symbolic link" in bare.log("unpack")
    assert "Traceback" not in bare.log("unpack")
    assert not bare.path("unpacked").exists()
    assert not list(bare.folder.parent.rglob("escaped"))
    path.write_bytes(tar(photos(bare)))
    bare.run("--", DATASET)


def test_names_in_an_archive_are_no_words_of_a_shell(bare: Miniature) -> None:
    files = photos(bare)
    odd = {"set/low": "set/$(touch owned) ; `touch owned`", "set/high": "set/-x 'y' \"z\" & *"}
    renamed = {}
    for name, content in files.items():
        folder, _, file = name.rpartition("/")
        renamed[f"{odd.get(folder, folder)}/{file}"] = content
    (bare.folder / "a $(touch owned).zip").write_bytes(zipped(renamed))
    told(bare, source="a $(touch owned).zip", archive={})
    bare.run("--", TRAIN)
    assert not list(bare.folder.rglob("owned"))
    classes = bare.path("dataset/classes.txt").read_text().splitlines()
    assert classes == sorted(Path(name).name for name in (*odd.values(), "middle"))


def test_cifar_in_an_archive(bare: Miniature, tmp_path: Path) -> None:
    write_cifar10(tmp_path / "cifar")
    files = found(tmp_path / "cifar" / "source")
    packed = tar({f"cifar-10-batches-bin/{name}": content for name, content in files.items()})
    (bare.folder / "cifar.tar").write_bytes(packed)
    told(bare, source="cifar.tar", archive={}, format="cifar10")
    told(bare, split={"train": 2, "val": 1, "test": "rest"}, image={"gray": True})
    bare.run("--", TRAIN)
    with bare.path("images.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [sum(row["split"] == split for row in rows) for split in ("train", "test")] == [50, 13]
    assert all((bare.path("images") / row["path"]).is_file() for row in rows)
    # The files' own splits stay, and one of ten classes' each is taken from train for val.
    facts = json.loads((bare.folder / DATASET).read_text())
    assert facts["given"] == ["train", "test"]
    assert facts["totals"] == {"train": 40, "val": 10, "test": 13}
    assert lmdb_entries(bare.path("lmdb/train")) == 40
    assert bare.planned("--", TRAIN) == {}
    told(bare, split={"train": 2, "val": 1, "test": "rest", "given": False})
    bare.run("--", DATASET)
    totals = json.loads((bare.folder / DATASET).read_text())["totals"]
    assert totals == {"train": 20, "val": 10, "test": 33}


def test_idx_files_in_a_folder(bare: Miniature) -> None:
    write_idx(bare.folder / "mnist")
    names = bare.folder / "names.txt"
    names.write_text("".join(f"number {n}\n" for n in range(10)))
    told(bare, source="mnist/source", format="idx", stored={"names": "names.txt"})
    told(bare, split={"train": 1, "val": 0, "test": "rest"})
    bare.run("--", DATASET)
    assert bare.path("dataset/classes.txt").read_text() == names.read_text()
    assert bare.planned("--", DATASET) == {}
    path = bare.folder / "mnist" / "source" / "train-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    assert set(bare.planned("--", DATASET)) == {"stored_images", "dataset"}
    assert bare.snakemake("--", DATASET).returncode == 1
    assert "train-images-idx3-ubyte.gz: is cut off or damaged" in bare.log("stored_images")
    assert "Traceback" not in bare.log("stored_images")
