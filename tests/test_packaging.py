"""What is handed out: locks, wheel, image, compose file, and the order of the rooms."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
import yaml

from konnect_server.config import keys, load_config
from tools import bootstrap, image

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PACKAGES = ["protocol", "storage", "konnect_server", "konnect_client"]
VARIABLES = {key.variable for key in keys()}


def _pins(name: str) -> dict[str, str]:
    """Package and marker -> version and hashes."""
    text = re.sub(r"\\\n\s*", " ", (ROOT / name).read_text("utf-8"))
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    return {line.split(" --hash")[0]: line for line in lines}


class TestLocks:
    @pytest.mark.parametrize("name", ["requirements.lock", "requirements-run.lock"])
    def test_they_name_no_index_and_no_path(self, name: str) -> None:
        text = (ROOT / name).read_text("utf-8")
        assert not re.search(r"://|--(extra-)?index|--find-links|^\.|^/|@ file", text, re.MULTILINE)

    @pytest.mark.parametrize("name", ["requirements.lock", "requirements-run.lock"])
    def test_every_pin_has_hashes(self, name: str) -> None:
        for pin, line in _pins(name).items():
            assert "==" in pin
            assert "--hash=sha256:" in line

    def test_what_runs_is_a_part_of_what_is_tested(self) -> None:
        tested = _pins("requirements.lock")
        for pin, line in _pins("requirements-run.lock").items():
            assert tested[pin] == line

    def test_they_hold_what_the_project_asks_for(self) -> None:
        def named(lock: str) -> set[str]:
            return {re.split(r"[=\[]", pin)[0] for pin in _pins(lock)}

        def asked(requirements: list[str]) -> set[str]:
            return {re.split(r"[<>=\[;]", each)[0].strip() for each in requirements}

        project = PROJECT["project"]
        assert asked(project["dependencies"]) <= named("requirements-run.lock")
        assert asked(project["optional-dependencies"]["test"]) <= named("requirements.lock")
        assert asked(PROJECT["build-system"]["requires"]) <= named("requirements-run.lock")


class TestRooms:
    def test_every_room_has_its_place_in_the_order(self) -> None:
        """A room that the contract does not name could import anything."""
        layers = PROJECT["tool"]["importlinter"]["contracts"][0]["layers"]
        named = {name.strip(" ()\n") for layer in layers for name in layer.split("|")}
        rooms = {
            f"konnect_server.{path.stem}"
            for path in (ROOT / "konnect_server").iterdir()
            if (path.suffix == ".py" and path.stem != "__init__") or (path / "__init__.py").exists()
        }
        assert rooms <= named

    @pytest.mark.parametrize(
        ("room", "planted", "said"),
        [
            ("konnect_server/wheel.py", "import konnect_server.server", "server.wheel -> konnect_server.server"),
            ("konnect_server/limiter.py", "import konnect_server.tokens", "server.limiter -> konnect_server.tok"),
            ("storage/keys.py", "import konnect_server.config", "storage.keys -> konnect_server.config"),
            ("storage/keys.py", "import psycopg", "storage.keys -> psycopg"),
            ("protocol/codec.py", "import trio", "protocol.codec -> trio"),
            ("konnect_client/pack.py", "import protocol.codec", "konnect_client.pack -> protocol.codec"),
            ("konnect_server/user.py", "import konnect_client", "konnect_server.user -> konnect_client"),
        ],
    )
    def test_a_planted_import_is_found(self, tmp_path: Path, room: str, planted: str, said: str) -> None:
        for package in PACKAGES:
            shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
        with (tmp_path / room).open("a") as file:
            file.write(f"\n{planted}\n")
        shutil.copy(ROOT / "pyproject.toml", tmp_path)
        lint = "from importlinter.cli import lint_imports_command as lint; lint()"
        done = subprocess.run(
            [sys.executable, "-c", lint, "--no-cache"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert said in " ".join(done.stdout.split())

    @pytest.mark.parametrize("package", PACKAGES)
    def test_every_file_says_what_it_is(self, package: str) -> None:
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text("utf-8")
            assert not text or text.startswith('"""'), path


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    try:
        old = int(version("setuptools").split(".")[0]) < 77
    except PackageNotFoundError:
        old = True
    if old:
        pytest.skip("setuptools 77 or newer is not here; `make test` brings it")
    source = tmp_path_factory.mktemp("source")
    needless = shutil.ignore_patterns("__pycache__", "out", "data")
    for package in [*PACKAGES, "tests", "bench", "tools"]:
        shutil.copytree(ROOT / package, source / package, ignore=needless)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([*build, "-w", "dist", "."], cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = (source / "dist").iterdir()
    with zipfile.ZipFile(wheel) as opened:
        return set(opened.namelist())


class TestWheel:
    def test_it_holds_the_four_packages_whole(self, names: set[str]) -> None:
        for package in PACKAGES:
            for path in (ROOT / package).rglob("*"):
                if path.is_file() and path.suffix in {".py", ".sql", ".html", ".css", ".js", ".typed"}:
                    assert path.relative_to(ROOT).as_posix() in names

    def test_it_holds_no_tests_and_no_bench(self, names: set[str]) -> None:
        tops = {name.split("/")[0] for name in names}
        assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)

    def test_it_brings_the_command(self, names: set[str]) -> None:
        assert any(name.endswith("entry_points.txt") for name in names)
        assert PROJECT["project"]["scripts"] == {"konnect": "konnect_server.cli:main"}


class TestImage:
    @pytest.fixture
    def instructions(self) -> list[image.Instruction]:
        return image.read(ROOT / "Dockerfile")

    def test_it_runs_as_a_user_of_its_own(self, instructions: list[image.Instruction]) -> None:
        words = [word for word, _ in instructions]
        assert [rest for word, rest in instructions if word == "USER"] == ["konnect"]
        last = len(words) - 1 - words[::-1].index("FROM")
        assert "USER" in words[last:], "in the stage that is shipped"
        assert words.index("USER") < words.index("ENTRYPOINT")

    def test_what_it_copies_is_there_and_let_through(self, instructions: list[image.Instruction]) -> None:
        let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line[0] == "!"}
        copied = {
            source
            for word, rest in instructions
            if word == "COPY" and not rest.startswith("--")
            for source in rest.split()[:-1]
        }
        assert copied == let_through
        assert all((ROOT / source).exists() for source in copied)

    def test_its_settings_are_settings(self, instructions: list[image.Instruction]) -> None:
        found = image.environment_of(instructions, Path("/app"))
        ours = {name: value for name, value in found.items() if name.startswith("KONNECT_")}
        config = load_config(environ=ours)
        assert config.host == "0.0.0.0", "a container's own address is not known beforehand"
        assert [rest for word, rest in instructions if word == "EXPOSE"] == [str(config.port)]
        assert [rest for word, rest in instructions if word == "VOLUME"] == [config.data]

    def test_its_commands_are_lists(self, instructions: list[image.Instruction]) -> None:
        """A shell in between would keep signals to itself."""
        assert image.command_of(instructions, "ENTRYPOINT") == ["konnect"]
        assert image.command_of(instructions, "CMD") == ["serve"]
        assert "/healthz" in image.command_of(instructions, "HEALTHCHECK")[-1]


class TestCompose:
    @pytest.fixture
    def compose(self) -> dict[str, Any]:
        found: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
        return found

    def test_it_is_konnect_and_postgresql_18(self, compose: dict[str, Any]) -> None:
        assert set(compose["services"]) == {"konnect", "database"}
        assert compose["services"]["database"]["image"] == "pgvector/pgvector:pg18"
        assert compose["services"]["konnect"]["build"] == "."
        assert compose["services"]["konnect"]["image"] == f"konnect:{PROJECT['project']['version']}"

    def test_every_service_has_a_health_check_an_init_and_comes_back(self, compose: dict[str, Any]) -> None:
        for service in compose["services"].values():
            assert service["healthcheck"]["test"][0] == "CMD"
            assert service["init"] is True
            assert service["restart"] == "unless-stopped"
        assert compose["services"]["konnect"]["depends_on"] == {"database": {"condition": "service_healthy"}}

    def test_volumes_are_named_and_lie_where_the_images_want_them(self, compose: dict[str, Any]) -> None:
        assert set(compose["volumes"]) == {"keys", "database"}
        data = [rest for word, rest in image.read(ROOT / "Dockerfile") if word == "VOLUME"]
        assert compose["services"]["konnect"]["volumes"] == [f"keys:{data[0]}"]
        assert compose["services"]["database"]["volumes"] == ["database:/var/lib/postgresql"]

    def test_its_settings_are_settings(self, compose: dict[str, Any]) -> None:
        environment = compose["services"]["konnect"]["environment"]
        assert set(environment) <= VARIABLES
        values = {name: re.sub(r"\$\{\w+(:-|:\?)([^}]*)\}", r"\2", value) for name, value in environment.items()}
        values["KONNECT_DATABASE_URL"] = "postgresql://konnect:x@database/konnect"
        assert not load_config(environ=values).embedded

    def test_what_it_asks_for_is_in_the_example(self, compose: dict[str, Any]) -> None:
        text = (ROOT / "compose.yaml").read_text("utf-8")
        asked = set(re.findall(r"\$\{(\w+)", text))
        example = (ROOT / ".env.example").read_text("utf-8")
        given = {line.split("=")[0] for line in example.splitlines() if line and not line.startswith("#")}
        assert asked == given

    def test_the_port_is_opened_to_this_machine_only(self, compose: dict[str, Any]) -> None:
        assert compose["services"]["konnect"]["ports"] == ["${HTTP_BIND:-127.0.0.1:8080}:8080"]


class TestRepository:
    def test_the_integration_runs_what_everybody_runs(self) -> None:
        script = ROOT / ".ci" / "run"
        assert os.access(script, os.X_OK)
        lines = [line for line in script.read_text("utf-8").splitlines() if line and not line.startswith("#")]
        assert lines[-1] == "exec make test"
        assert len(lines) == 3

    def test_every_target_is_a_task_of_the_bootstrap(self) -> None:
        (targets,) = re.findall(r"^(run .*):$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
        assert set(targets.split()) == set(bootstrap.TASKS)

    def test_no_text_names_a_package_index_or_somebodys_machine(self) -> None:
        done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
        if done.returncode:
            pytest.skip("not a git checkout")
        wrong = re.compile("py" + r"pi\.org|python" + r"hosted\.org|(?<![\w.])/(?:ro" + r"ot|wo" + r"rk|op" + "t)/")
        found = []
        for name in done.stdout.decode().split("\0"):
            path = ROOT / name
            if not name or not path.is_file() or path.suffix in {".log", ".gz", ".png"}:
                continue
            text = path.read_text("utf-8", errors="replace")
            found += [f"{name}: {match[0]}" for match in wrong.finditer(text)]
        assert not found
