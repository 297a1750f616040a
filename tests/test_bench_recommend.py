"""The dating experiment on made events: what is history, what is to be foretold, and what is told of it."""

import csv
import importlib
import importlib.util
import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from bench import recommend
from bench.dating import INTERESTS, Dating, NoDating, Pairs, read_dating
from bench.dating_allowed import allowed
from bench.dating_run import Course, Judge, baselines

PEOPLE = ("wave", "iid", "gender", "age", "goal", "field_cd", "attr3_1", *INTERESTS)
DATES = ("wave", "woman", "man", "order", "woman_says_yes", "man_says_yes", "match")


def write(path: Path, columns: tuple[str, ...], rows: list[dict[str, Any]]) -> Path:
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return path


def make(folder: Path, waves: int = 3, each: int = 8, seed: int = 1) -> tuple[Path, Path]:
    """Events of *each* women and men, who differ in how easy and how liked they are, and in nothing else."""
    chance = np.random.default_rng(seed)
    people: list[dict[str, Any]] = []
    dates: list[dict[str, Any]] = []
    for wave in range(1, waves + 1):
        ids = range(wave * 100, wave * 100 + 2 * each)
        easy, liked = (dict(zip(ids, chance.normal(0, 1.5, 2 * each), strict=True)) for _ in range(2))
        for iid in ids:
            grades = {name: int(chance.integers(1, 11)) for name in INTERESTS}
            profile = {"wave": wave, "iid": iid, "gender": int(iid >= ids[each]), "age": "" if iid == ids[0] else 25}
            people.append(profile | {"goal": 1, "field_cd": 2, "attr3_1": 7} | grades)
        for woman in ids[:each]:
            for man in ids[each:]:
                hers, his = easy[woman] + liked[man], easy[man] + liked[woman]
                she, he = (int(chance.random() < 1 / (1 + np.exp(-z))) for z in (hers, his))
                said = {"woman_says_yes": she, "man_says_yes": he, "match": she * he}
                dates.append({"wave": wave, "woman": woman, "man": man, "order": (woman + man) % each} | said)
    return write(folder / "people.csv", PEOPLE, people), write(folder / "dates.csv", DATES, dates)


@pytest.fixture
def dating(tmp_path: Path) -> Dating:
    return read_dating(*make(tmp_path))


def test_the_first_half_of_each_event_is_history(dating: Dating) -> None:
    for wave in range(3):
        assert dating.future[dating.wave == wave].tolist() == [False] * 32 + [True] * 32


def test_the_file_decides_between_dates_of_one_order(tmp_path: Path) -> None:
    people = write(tmp_path / "p.csv", ("wave", "iid"), [{"wave": 1, "iid": iid} for iid in (1, 2, 3, 4)])
    rows = [(1, 3, 2), (1, 4, 1), (2, 3, 1), (2, 4, 2)]
    dates = write(tmp_path / "d.csv", DATES, [
        {"wave": 1, "woman": w, "man": m, "order": o, "woman_says_yes": 1, "man_says_yes": 0, "match": 0}
        for w, m, o in rows
    ])  # fmt: skip
    found = read_dating(people, dates)
    assert list(zip(found.woman.tolist(), found.man.tolist(), strict=True)) == [(0, 3), (1, 2), (0, 2), (1, 3)]
    assert found.future.tolist() == [False, False, True, True]


def test_a_score_owes_nothing_to_the_second_half_of_its_own_event(tmp_path: Path) -> None:
    """Answers of the second half of the last event are turned round: its own scores stay what they were."""
    people, dates = make(tmp_path)
    dating = read_dating(people, dates)
    last = (dating.wave == 2) & dating.future
    turned = Dating(dating.people, dating.profiles, dating.wave, dating.waves, dating.woman, dating.man,
                    np.where(last, 1 - dating.woman_yes, dating.woman_yes),
                    np.where(last, 1 - dating.man_yes, dating.man_yes), dating.future)  # fmt: skip
    before, after = Course(dating).foretell(), Course(turned).foretell()
    assert np.array_equal(before[last], after[last])
    assert not np.allclose(before[dating.future & ~last], after[dating.future & ~last])  # of these it is another event
    assert np.isnan(before[~dating.future]).all()
    for hers, turned_hers in zip(Course(dating).as_served().values(), Course(turned).as_served().values(), strict=True):
        assert np.array_equal(hers[last], turned_hers[last])
        assert np.isnan(hers[~dating.future]).all()
    for name, score in baselines(dating).items():
        if name == "similarity":
            assert np.array_equal(score, baselines(turned)[name])


def test_the_model_is_better_than_chance_and_than_similarity(tmp_path: Path) -> None:
    dating = read_dating(*make(tmp_path, waves=4, each=12))
    judge = Judge(dating)
    model = judge.judge(Course(dating).foretell(), rounds=20)
    assert model.auc > 0.65
    assert model.auc > judge.judge(baselines(dating)["similarity"]).auc
    assert model.auc_interval[0] < model.auc < model.auc_interval[1] + 0.01
    assert 0 < model.ndcg <= 1


def test_a_page_owes_nothing_to_what_the_other_one_answered_but_for_mutual_yes(tmp_path: Path) -> None:
    """What men said in the first half of the last event to women who said no is turned round: what women are shown
    stays as it was."""
    dating = read_dating(*make(tmp_path))
    secret = (dating.wave == 2) & ~dating.future & (dating.woman_yes == 0)
    turned = Dating(dating.people, dating.profiles, dating.wave, dating.waves, dating.woman, dating.man,
                    dating.woman_yes, np.where(secret, 1 - dating.man_yes, dating.man_yes), dating.future)  # fmt: skip
    rows = (dating.wave == 2) & dating.future
    before, after = (Course(one).as_served() for one in (dating, turned))
    assert np.array_equal(before["her page"][rows], after["her page"][rows])
    assert not np.array_equal(before["his page"][rows], after["his page"][rows])


def test_gender_and_race_are_no_tags(tmp_path: Path) -> None:
    people, _ = make(tmp_path)
    text = people.read_text().splitlines()
    people.write_text("\n".join([text[0] + ",race,imprace", *(line + ",2,9" for line in text[1:])]))
    names = read_dating(people, tmp_path / "dates.csv").people.names
    assert names
    assert not [name for name in names if name.startswith(("gender", "race", "imprace"))]


def test_pairs_are_symmetrical_within_0_and_1_and_in_the_middle_where_nothing_is_told(dating: Dating) -> None:
    pairs = Pairs(dating.profiles)
    there, back = pairs(dating.woman, dating.man), pairs(dating.man, dating.woman)
    assert np.allclose(there, back)
    assert there.min() >= 0
    assert there.max() <= 1
    assert set(there[dating.woman == 0, 1]) == {0.5}  # who did not tell her age


def test_a_group_is_one_persons_list_and_lies_in_one_event(dating: Dating) -> None:
    judge = Judge(dating)
    people = np.unique(judge.groups)
    assert len(people) == len(judge.wave_of_group) == 48
    assert judge.wave_of_group.tolist() == [int(dating.profiles[row]["wave"]) - 1 for row in people]


def test_what_the_data_allow_is_more_for_who_knows_all(dating: Dating) -> None:
    found = allowed(dating, rounds=4)
    assert found.known[0] > found.learned[0] > 0.5


def run(*arguments: str) -> Any:
    return CliRunner().invoke(recommend.main, arguments)


def test_the_last_line_is_one_object_and_a_picture_is_drawn_if_there_is_matplotlib(tmp_path: Path) -> None:
    people, dates = make(tmp_path, waves=2, each=6)
    out = tmp_path / "picture.svg"
    picture = ["--plot", str(out)] if importlib.util.find_spec("matplotlib") else []
    result = run("--people", str(people), "--dates", str(dates), "--json", "--bootstrap", "5", *picture)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout.splitlines()[-1])
    assert set(told["baselines"]) == {"similarity", "popularity", "reciprocal"}
    assert set(told["served"]) == {"her page", "his page"}
    for one in (*told["baselines"].values(), told["model"], *told["served"].values()):
        assert 0 <= one["auc"] <= 1
        assert 0 <= one["ndcg_at_5"] <= 1
        assert len(one["auc_interval"]) == 2
    assert set(told["without"]) >= {"selectivity", "popularity", "leaning", "interests"}
    assert not picture or "<svg" in out.read_text()


def test_without_the_data_it_says_so_and_asks_the_simulator(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[int, bool]] = []
    real = importlib.import_module

    def import_module(name: str) -> ModuleType | SimpleNamespace:
        if name != "bench.recommend_world":
            return real(name)
        return SimpleNamespace(run_world=lambda size, as_json: asked.append((size, as_json)))

    monkeypatch.setattr(recommend, "BESIDE", tmp_path / "nowhere")
    monkeypatch.setattr(importlib, "import_module", import_module)
    result = run("--json")
    assert result.exit_code == 0
    assert "simulator" in result.stderr
    assert asked == [(recommend.SMALL, True)]
    assert run("--size", "500").exit_code == 0
    assert asked[1] == (500, False)


@pytest.mark.parametrize("spoil", ["one event", "no column", "unknown person", "no number", "no dates"])
def test_files_that_are_no_experiment_are_refused_in_one_sentence(tmp_path: Path, spoil: str) -> None:
    people, dates = make(tmp_path, waves=1 if spoil == "one event" else 2, each=3)
    lines = dates.read_text().splitlines()
    if spoil == "no column":
        dates.write_text("\n".join(line.rsplit(",", 2)[0] for line in lines))
    elif spoil == "unknown person":
        dates.write_text("\n".join([*lines, "1,999,104,1,0,0,0"]))
    elif spoil == "no number":
        dates.write_text("\n".join([*lines, "1,100,104,first,0,0,0"]))
    elif spoil == "no dates":
        dates.write_text(lines[0])
    result = run("--people", str(people), "--dates", str(dates))
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert isinstance(result.exception, SystemExit)


def test_people_and_dates_come_together(tmp_path: Path) -> None:
    people, _ = make(tmp_path, waves=1, each=2)
    assert run("--people", str(people)).exit_code == 2
    with pytest.raises(NoDating, match="cannot be read"):
        read_dating(people, tmp_path / "nothing.csv")
