"""What Binder would build, read from the Dockerfile that repo2docker writes."""

import subprocess
import sys

import pytest

from house.plan import ROOT


@pytest.fixture(scope="module")
def dockerfile() -> str:
    command = [sys.executable, "-m", "repo2docker", "--no-build", "--debug", str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def test_repo2docker_reads_the_binder_folder(dockerfile):
    assert 'pip install --no-cache-dir -r "binder/requirements.txt"' in dockerfile


def test_the_python_is_one_the_project_supports(dockerfile):
    assert "Building conda environment for python=3.12" in dockerfile


def test_the_library_is_installed_and_torch_is_not():
    lines = (ROOT / "binder/requirements.txt").read_text().splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    assert "-e .[notebook,rag,files]" in wanted
    assert not any("torch" in line or "sentence" in line for line in wanted)
