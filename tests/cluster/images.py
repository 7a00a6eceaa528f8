"""The project's images for a cluster on this machine: `python -m tests.cluster.images` builds them and says where the archives lie.

With a Docker daemon docker builds, else buildah does. Where no registry of images can be reached the base image is made from Debian packages
(debootstrap) under the name that the Dockerfiles ask for; they build unchanged. Everything lies in `~/.cache/tradingsystem/cluster/images/`; it writes
into no other image store, pushes nothing, and rebuilds only what changed.
"""

from __future__ import annotations

import argparse
import dataclasses
import fcntl
import functools
import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.build import cache
from tests.cluster.packages import IMAGE_PACKAGES, Missing, require

ROOT = Path(__file__).resolve().parents[2]
BASE = "docker.io/library/python:3.11-slim-bookworm"
BASE_PACKAGES = "ca-certificates,python3,python3-venv,libpython3.11"  # the last for images/triton-cpu
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


class ImageFailed(Exception):
    """An image could not be built; the text has the end of what was said."""


@dataclasses.dataclass(frozen=True)
class Image:
    """One image of this repository, as pods name it, and where it lies once it is built."""

    part: str

    @property
    def name(self) -> str:
        return f"localhost/tradingsystem/{self.part}:{version()}"  # what the chart names without being told

    @property
    def archive(self) -> Path:
        return folder() / f"{self.part}.tar"


COMPONENTS, OPERATOR, TRITON_CPU = Image("components"), Image("operator"), Image("triton-cpu")
IMAGES = (COMPONENTS, OPERATOR)  # what every cluster needs; the third is some 400 MB to fetch and for systems that ask for Triton alone


@functools.cache
def version() -> str:
    """The project's release, which is the images' tag."""
    found: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return found


def folder() -> Path:
    return cache() / "images"


def build(images: tuple[Image, ...], say: Callable[[str], None]) -> None:
    """Have an archive of each image as the working tree is now. Raises `ImageFailed`, `Missing`."""
    folder().mkdir(parents=True, exist_ok=True)
    builder: Builder = Docker(say) if Docker.answers() else Buildah(say)
    with (folder() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        builder.prepare()
        for image in images:
            began = time.monotonic()
            identity = builder.build(image)
            known = image.archive.with_suffix(".id")
            if not image.archive.exists() or not known.exists() or known.read_text() != identity:
                known.unlink(missing_ok=True)
                image.archive.unlink(missing_ok=True)
                builder.save(image)
                known.write_text(identity)
            size = image.archive.stat().st_size / 2**20
            say(f"{image.part}: {identity[:19]}, {size:.0f} MiB, {time.monotonic() - began:.0f} s")


class Builder:
    """What docker and buildah have in common."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def prepare(self) -> None:
        """Have the base image, where that is needed."""

    def build(self, image: Image) -> str:
        """Build, and return the image's identity."""
        raise NotImplementedError

    def save(self, image: Image) -> None:
        """Write the archive."""
        raise NotImplementedError


class Docker(Builder):
    """Where a Docker daemon answers."""

    @staticmethod
    def answers() -> bool:
        return shutil.which("docker") is not None and not subprocess.run(["docker", "info"], check=False, capture_output=True).returncode

    def build(self, image: Image) -> str:
        _run("docker", "build", "--file", _file(image), "--tag", image.name, ".")
        return _run("docker", "image", "inspect", "--format", "{{.Id}}", image.name).strip()

    def save(self, image: Image) -> None:
        _run("docker", "save", "--output", str(image.archive), image.name)


class Buildah(Builder):
    """Without a daemon, as root, with an image store of its own."""

    def prepare(self) -> None:
        require(IMAGE_PACKAGES, self._say)
        if not self._has(BASE) and not self._pulled():
            with self._rootfs() as rootfs:
                container = self._do("from", "scratch").strip()
                self._do("add", "--quiet", container, str(rootfs), "/")
                self._do("config", "--cmd", "python3", container)
                self._do("commit", "--quiet", "--rm", container, BASE)

    def build(self, image: Image) -> str:
        # Where traffic passes an authority that only this machine knows, pip has to know it too while it installs; it does not stay in the image.
        known = ("--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro") if Path(CERTIFICATES).exists() else ()
        self._do("bud", "--quiet", "--layers", "--pull-never", *known, "--file", _file(image), "--tag", image.name, ".")
        return self._identity(image.name)

    def save(self, image: Image) -> None:
        self._do("push", "--quiet", image.name, f"docker-archive:{image.archive}:{image.name}")

    def _has(self, name: str) -> bool:
        return any(name in (image.get("names") or ()) for image in json.loads(self._do("images", "--json") or "[]") or ())

    def _pulled(self) -> bool:
        try:
            self._do("pull", "--quiet", BASE)
        except ImageFailed:
            self._say(f"{BASE} cannot be pulled here; making it from Debian packages")
            return False
        return True

    def _identity(self, name: str) -> str:
        found: str = json.loads(self._do("inspect", "--type", "image", name))["FromImageID"]
        return found

    @contextmanager
    def _rootfs(self) -> Iterator[Path]:
        rootfs = folder() / "rootfs"
        shutil.rmtree(rootfs, ignore_errors=True)
        began = time.monotonic()
        _run("debootstrap", "--variant=minbase", f"--include={BASE_PACKAGES}", "bookworm", str(rootfs))
        shutil.rmtree(rootfs / "var/cache/apt/archives", ignore_errors=True)
        self._say(f"base: made from Debian packages in {time.monotonic() - began:.0f} s")
        try:
            yield rootfs
        finally:
            shutil.rmtree(rootfs, ignore_errors=True)

    def _do(self, *words: str) -> str:
        store = ("--root", str(folder() / "store"), "--runroot", str(folder() / "run"))
        temporary = folder() / "tmp"  # where its cache mounts lie too
        temporary.mkdir(exist_ok=True)
        return _run("buildah", *store, *words, BUILDAH_ISOLATION="chroot", TMPDIR=str(temporary))


def _file(image: Image) -> str:
    return f"images/{image.part}/Dockerfile"


def _run(*words: str, **variables: str) -> str:
    ran = subprocess.run(words, cwd=ROOT, env=os.environ | variables, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if ran.returncode:
        raise ImageFailed(f"{' '.join(words)}: ended with {ran.returncode}\n{(ran.stdout + ran.stderr)[-3_000:]}")
    return ran.stdout


def main(arguments: list[str]) -> int:
    """Build what every cluster needs, and more when asked; exit 1 with what went wrong."""
    began = time.monotonic()
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.images", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--triton-cpu", action="store_true", help="tritonserver for a CPU as well")
    wanted = (*IMAGES, TRITON_CPU) if parser.parse_args(arguments).triton_cpu else IMAGES

    def say(text: str) -> None:
        sys.stderr.write(f"images {time.monotonic() - began:6.1f} s  {text}\n")

    try:
        build(wanted, say)
    except (ImageFailed, Missing) as error:
        say(f"failed: {error}")
        return 1
    sys.stdout.write("".join(f"{image.name} {image.archive}\n" for image in wanted))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
