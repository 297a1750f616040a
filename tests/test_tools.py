"""The developers' tools: setting up says what is wrong, checking forgets nothing and can fail."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools import bootstrap, check
from tools.check import Outcome, Step

ROOT = Path(__file__).parent.parent


class TestBootstrap:
    def test_pythons_that_are_too_old_can_still_read_it(self) -> None:
        """No f-strings, no annotations: 3.5 is as old as this parser judges; 2.7 and 3.6 were tried by hand."""
        for name in ("bootstrap.py", "__init__.py"):
            tree = ast.parse((ROOT / "tools" / name).read_text("utf-8"), feature_version=(3, 5))
            functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
            assert not any(made.returns or any(each.annotation for each in made.args.args) for made in functions)

    def test_a_python_that_is_too_old_is_told_in_one_sentence(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "version_info", (3, 9, 2, "final", 0))
        with pytest.raises(SystemExit) as caught:
            bootstrap.main(["run"])
        assert caught.value.code == "Konnect needs Python 3.11 or newer, and this is 3.9.2; try: make run PY=python3.13"

    @pytest.mark.parametrize("arguments", [[], ["fly"]])
    def test_a_task_that_is_none_is_told(self, arguments: list[str]) -> None:
        with pytest.raises(SystemExit) as caught:
            bootstrap.main(arguments)
        assert str(caught.value.code).startswith("Say what to do: python3 -m tools.bootstrap run|test")

    def test_it_installs_again_when_a_lock_changes_and_only_then(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("requirements.lock", "requirements-run.lock", "pyproject.toml"):
            (tmp_path / name).write_text(name)
        monkeypatch.setattr(bootstrap, "ROOT", str(tmp_path))
        venv = tmp_path / "venv"
        venv.mkdir()
        assert not bootstrap.is_installed("run", str(venv))
        for level in ("run", "test"):
            Path(bootstrap.stamp(level, str(venv))).write_text(bootstrap.fingerprint(level, str(venv)))
        assert bootstrap.is_installed("run", str(venv))
        assert bootstrap.is_installed("test", str(venv))
        (tmp_path / "requirements.lock").write_text("newer")
        assert bootstrap.is_installed("run", str(venv))
        assert not bootstrap.is_installed("test", str(venv))
        (tmp_path / "pyproject.toml").write_text("newer")
        assert not bootstrap.is_installed("run", str(venv))

    def test_a_set_up_that_was_cut_off_is_not_taken_for_one(self, tmp_path: Path) -> None:
        assert not bootstrap.is_usable(str(tmp_path))
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "python").symlink_to(sys.executable)
        assert not bootstrap.is_usable(str(tmp_path)), "this one leads to another environment"
        assert bootstrap.is_usable(sys.prefix)

    def test_what_a_failing_command_said_is_shown(self, capfd: pytest.CaptureFixture[str]) -> None:
        bootstrap.quietly([sys.executable, "-c", "print('all is well')"])
        assert capfd.readouterr() == ("", "")
        with pytest.raises(subprocess.CalledProcessError):
            bootstrap.quietly([sys.executable, "-c", "import sys; sys.exit('no network')"])
        assert "no network" in capfd.readouterr().err


class TestCheck:
    def _step(self, code: str, limit_s: float = 60) -> Outcome:
        return check._run(Step("a step", limit_s, lambda: [sys.executable, "-c", code]))

    def test_a_step_that_ends_well_passed(self) -> None:
        outcome = self._step("print('one'); print('two')")
        assert (outcome.good, outcome.mark, outcome.counts) == (True, "ok", {"passed": 1})
        assert outcome.said == "one\ntwo\n"

    def test_a_step_that_fails_failed_and_all_it_said_is_kept(self) -> None:
        outcome = self._step("import sys; print('one'); sys.exit('two')")
        assert (outcome.good, outcome.mark, outcome.counts) == (False, "FAILED", {"failed": 1})
        assert outcome.said == "one\ntwo\n"

    def test_a_step_that_does_not_end_is_ended(self) -> None:
        outcome = self._step("import time; print('begun', flush=True); time.sleep(600)", 1.0)
        assert not outcome.good
        assert outcome.said.startswith("begun")
        assert outcome.said.endswith("ended after 1 s, its limit")

    def test_a_step_may_say_why_it_is_left_out(self) -> None:
        outcome = check._run(Step("a step", 1, lambda: "no Python 4.0 found"))
        assert (outcome.good, outcome.mark, outcome.said) == (True, "left out", "no Python 4.0 found")
        outcome = self._step("import sys; sys.exit(77)")
        assert (outcome.good, outcome.mark) == (True, "left out")

    def test_pytest_is_counted_by_its_own_words(self, tmp_path: Path) -> None:
        (tmp_path / "test_three.py").write_text(
            "import pytest\n"
            "def test_good(): pass\n"
            "def test_bad(): assert 0\n"
            "def test_skipped(): pytest.skip('no')\n"
            "def test_error(nothing): pass\n"
        )
        command = [sys.executable, "-m", "pytest", "--color=no", "-p", "no:cacheprovider", str(tmp_path)]
        outcome = check._run(Step("tests", 60, lambda: command))
        assert outcome.counts == {"failed": 2, "passed": 1, "skipped": 1}

    def test_no_tests_at_all_is_a_failure(self, tmp_path: Path) -> None:
        command = [sys.executable, "-m", "pytest", "--color=no", "-p", "no:cacheprovider", str(tmp_path)]
        assert not check._run(Step("tests", 60, lambda: command)).good

    def test_the_last_line_adds_everything_up(self, capsys: pytest.CaptureFixture[str]) -> None:
        outcomes = [
            Outcome("tests", {"passed": 10, "skipped": 2}, 3.0, ""),
            Outcome("mypy", {"passed": 1}, 2.0, ""),
            Outcome("other", {"skipped": 1}, 0.0, "not here"),
        ]
        assert check._summary(outcomes, 4.0) == 0
        assert capsys.readouterr().out.splitlines()[-1] == "11 passed, 0 failed, 3 skipped in 4.0s"
        assert check._summary([*outcomes, Outcome("ruff", {"failed": 1}, 1.0, "")], 5.0) == 1
        said = capsys.readouterr().out
        assert "FAILED: ruff" in said
        assert said.splitlines()[-1] == "11 passed, 1 failed, 3 skipped in 5.0s"

    def test_a_python_that_is_there_and_does_not_run_is_passed_over(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A pyenv shim exists for every version that any folder may use, and fails in the others."""
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        shims, real = tmp_path / "shims", tmp_path / "versions" / f"{version}.1" / "bin"
        shims.mkdir()
        real.mkdir(parents=True)
        shim = shims / f"python{version}"
        shim.write_text("#!/bin/sh\necho 'pyenv: not set' >&2\nexit 127\n")
        shim.chmod(0o755)
        (real / f"python{version}").symlink_to(os.path.realpath(sys.executable))
        monkeypatch.setenv("PATH", str(shims))
        monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
        monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path / "nothing"))
        assert list(check._interpreters(version)) == [str(real / f"python{version}")]
        assert list(check._interpreters("9.9")) == []

    def test_a_developers_own_settings_stay_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KONNECT_PORT", "1")
        monkeypatch.setenv("KEPT", "1")
        assert "KONNECT_PORT" not in check._environment()
        assert check._environment()["KEPT"] == "1"

    def test_everything_is_run(self) -> None:
        assert [step.name for step in check._first()] == ["ruff", "import order", "simulated world"]
        names = [step.name for lane in check._lanes() for step in lane]
        assert {"fuzz", "mypy", "the Dockerfile's steps"} < set(names)
        assert sum(name.startswith("tests, Python") for name in names) == (2 if sys.version_info < (3, 13) else 1)
        lanes = [sum(step.limit_s for step in lane) for lane in check._lanes()]
        first = sum(step.limit_s for step in check._first())
        assert first + max(lanes) <= 60 * 60, "even when everything hangs, it ends within an hour"
