"""What import contracts cannot see: clocks in core, model strings upward, what the edge pulls in."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PURE = ["sites/core", "sites/wire", "sites/edge/control/kernels", "markets/core", "carbon/core"]
CLOCKS = {"now", "today", "utcnow", "time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "urandom"}
FLOORS = {"sites": 0, "markets": 1, "carbon": 1, "vpp": 2}


def modules(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def pure_modules() -> list[Path]:
    # compiled.py chooses the folder of the compiler's cache; the kernels themselves touch no file.
    shells = {"compiled.py"}
    return [path for path in modules(*PURE) if path.name not in shells]


@pytest.mark.parametrize("path", pure_modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_pure_module_reads_no_clock_file_or_environment(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            assert name not in CLOCKS | {"open", "getenv", "print"}, f"line {node.lineno} calls {name}"
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", "") or ""]
            assert not {"os", "time", "random", "logging"} & {name.partition(".")[0] for name in names}, node.lineno


@pytest.mark.parametrize("path", modules("sites", "markets", "carbon"), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_model_string_points_upward(path):
    floor = FLOORS[path.relative_to(ROOT).parts[0]]
    upward = {"dispatch", "console"} | ({"markets", "carbon"} if floor == 0 else set())
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.count(".") == 1:
            app, model = node.value.split(".")
            assert not (app in upward and model[:1].isupper()), f"line {node.lineno} names {node.value}"


@pytest.mark.parametrize("module", ["sites.edge.__main__", "sites.wire.edge_session", "sites.core.assignments"])
def test_the_edge_runs_without_django(module):
    script = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {{"django", "rest_framework", "channels", "openleadr", "markets", "carbon", "vpp"}}:
            raise ImportError("the edge asked for " + name)
sys.meta_path.insert(0, Refuse())
import {module}
"""
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-800:]


def test_the_controller_starts_without_the_link():
    """What control does not need costs its restart time: MQTT, signatures, the database of the outbox."""
    script = """
import sys
import sites.edge.__main__, sites.edge.control.process, sites.edge.drivers.simulated, sites.edge.link.shared_block
loaded = {name.partition(".")[0] for name in sys.modules}
sys.exit(", ".join(sorted(loaded & {"paho", "cryptography", "google", "sqlite3", "ssl"})) or 0)
"""
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")


def test_no_app_takes_the_label_that_django_owns():
    from django.apps import apps

    ours = [config for config in apps.get_app_configs() if config.name.split(".")[0] in FLOORS]
    assert len(ours) >= 7
    assert "sites" not in {config.label for config in ours}


def test_packages_of_the_edge_are_the_base_dependencies_alone():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    base = {text.split(">")[0].split("=")[0] for text in project["dependencies"]}
    assert base == {"cryptography", "numba", "numpy", "paho-mqtt", "prometheus-client", "protobuf"}


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


def test_no_package_registry_or_built_file_is_tracked():
    # Written in two parts each, so that this file is not its own finding.
    hosts = ["pypi" + ".org", "pythonhosted" + ".org", "npmjs" + ".org", "deb.debian" + ".org"]
    forbidden = [*hosts, '"resolved":' + ' "']
    faults = []
    for path in tracked_files():
        name = path.relative_to(ROOT).as_posix()
        if name.endswith((".min.js", ".min.css")) or "node_modules/" in name or "/dist/" in name:
            faults.append(f"{name} is a built file")
        if path.suffix in {".png", ".npz"}:
            continue
        text = path.read_text(errors="replace")
        faults += [f"{name} names {host}" for host in forbidden if host in text]
    assert faults == []


def test_only_the_fixed_names_stand_at_the_top():
    fixed = {"manage.py", "pyproject.toml", "vpp", "sites", "markets", "carbon", "tests", "deploy"}
    beside = {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "docs", "requirements"}
    top = {path.relative_to(ROOT).parts[0] for path in tracked_files()}
    assert {name for name in top if not name.startswith(".")} <= fixed | beside
