"""The README's two commands, and the environment that both of them make."""

import functools
import hashlib
import http.server
import importlib.util
import json
import re
import subprocess
import sys
import threading

import pytest

from house.plan import ROOT

QUICKSTART = "python3 notebooks/quickstart.py"
TESTS = "python3 tests/run.py"


def load(path):
    """A script of the repository as a module of its own, not the shared one."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """The module of both commands, looking at an empty folder."""
    module = load(ROOT / ".ci/environment.py")
    monkeypatch.setattr(module, "VENV", tmp_path)
    monkeypatch.setattr(module, "PYTHON", tmp_path / "python")
    monkeypatch.setattr(module, "STAMP", tmp_path / "stamp.json")
    module.PYTHON.touch()
    return module


def shell_lines() -> list[str]:
    """Every line of the README that a reader is to paste into a terminal."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(?:sh|bash|console)\n(.*?)^```", text, re.M | re.S)
    return [line for block in blocks for line in block.splitlines() if line]


def test_the_readme_gives_both_commands_on_a_line_each():
    lines = shell_lines()
    assert QUICKSTART in lines
    assert TESTS in lines


def test_ci_runs_the_readmes_own_test_command():
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert script.strip().splitlines()[-1] == TESTS


@pytest.mark.parametrize("command", [QUICKSTART, TESTS])
def test_a_command_runs_a_script_that_is_there(command):
    assert (ROOT / command.split()[1]).is_file()


def test_ci_run_may_be_executed():
    listed = subprocess.run(
        ["bash", "-n", ".ci/run"], cwd=ROOT, capture_output=True, check=False
    )
    assert listed.returncode == 0, listed.stderr
    assert (ROOT / ".ci/run").stat().st_mode & 0o111


def test_an_extra_stands_for_those_it_is_made_of(environment):
    found = environment.closure(["dev"], environment.project_table())
    assert {"dev", "tutorial", "notebook", "rag"} <= found


def test_nothing_is_ready_before_the_first_installation(environment):
    assert not environment.is_ready(["tutorial"])


def test_what_was_installed_is_ready(environment):
    environment.write_stamp(["tutorial"])
    assert environment.is_ready(["tutorial"])
    assert environment.is_ready(["notebook", "rag"])
    assert not environment.is_ready(["dev"])


def test_a_second_installation_adds_to_the_first(environment):
    environment.write_stamp(["rag"])
    environment.write_stamp(["files"])
    assert environment.is_ready(["rag", "files"])


def test_a_changed_dependency_asks_for_a_new_installation(environment, monkeypatch):
    environment.write_stamp(["tutorial"])
    project = environment.project_table()
    project["dependencies"].append("something-new")
    monkeypatch.setattr(environment, "project_table", lambda: project)
    assert not environment.is_ready(["tutorial"])


def test_a_moved_repository_asks_for_a_new_installation(environment, monkeypatch):
    environment.write_stamp(["tutorial"])
    project = environment.project_table()
    monkeypatch.setattr(environment, "project_table", lambda: project)
    assert environment.is_ready(["tutorial"])
    monkeypatch.setattr(environment, "ROOT", ROOT / "elsewhere")
    assert not environment.is_ready(["tutorial"])


def test_a_vanished_python_asks_for_a_new_installation(environment):
    environment.write_stamp(["tutorial"])
    environment.PYTHON.unlink()
    assert not environment.is_ready(["tutorial"])


def test_a_damaged_stamp_is_no_stamp(environment):
    environment.STAMP.write_text(json.dumps(["nonsense"]))
    assert not environment.is_ready(["tutorial"])


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def index(tmp_path, environment, monkeypatch):
    """A package index on this machine that has one wheel of pip."""
    folder = tmp_path / "index"
    (folder / "simple" / "pip").mkdir(parents=True)
    (folder / "files").mkdir()
    (folder / "files" / environment.PIP_WHEEL).write_bytes(b"a wheel")
    page = (
        '<a href="../../files/pip-1.0-py3-none-any.whl">old</a>\n'
        f'<a href="../../files/{environment.PIP_WHEEL}#sha256=0">pip</a>'
    )
    (folder / "simple" / "pip" / "index.html").write_text(page)
    serve = functools.partial(Silent, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_address[1]}/simple"
        monkeypatch.setenv("PIP_INDEX_URL", address)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield address
        server.shutdown()
        thread.join()


def test_pip_is_fetched_where_python_has_none(
    index, environment, tmp_path, monkeypatch
):
    checked = hashlib.sha256(b"a wheel").hexdigest()
    monkeypatch.setattr(environment, "PIP_SHA256", checked)
    assert environment.fetch_pip(tmp_path).read_bytes() == b"a wheel"


def test_a_pip_that_is_not_the_known_one_is_refused(index, environment, tmp_path):
    with pytest.raises(environment.SetupError, match="sha256 differs"):
        environment.fetch_pip(tmp_path)


def test_without_a_network_the_message_says_so(environment, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(environment.SetupError, match="Setting up needs the network"):
        environment.fetch_pip(tmp_path)


@pytest.fixture
def runner(monkeypatch):
    """The test command on a machine that has no chromium and cannot get one."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    module = load(ROOT / "tests/run.py")
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    return module


def test_in_ci_a_missing_browser_is_a_failure(runner, monkeypatch):
    monkeypatch.setenv("CI", "true")
    with pytest.raises(SystemExit, match="The browser tests cannot run"):
        runner.find_chromium()


def test_elsewhere_the_browser_tests_are_left_out(runner, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    [*_, (name, command)] = runner.checks(quick=False, pytest_arguments=[])
    assert name == "tests"
    assert "--ignore=tests/browser" in command


def test_what_is_not_ours_goes_to_pytest(runner, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tests/run.py", "--quick", "-k", "join", "-x"])
    options, rest = runner.read_arguments()
    assert options.quick
    assert rest == ["-k", "join", "-x"]


@pytest.mark.parametrize("script", ["tests/run.py", "notebooks/quickstart.py"])
def test_an_old_python_is_told_so_before_anything_else(script, monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 9, 18))
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "environment", raising=False)
    with pytest.raises(SystemExit, match="stepwell needs Python 3"):
        load(ROOT / script)
