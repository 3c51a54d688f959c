"""What a bench found is kept as it was, and said in one row a case."""

import json
from pathlib import Path

import pytest

from bench import cases, report, results


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> object:
    monkeypatch.setattr("sys.argv", ["drain", "--jobs", "7", "--out", str(tmp_path)])
    return report.asked("", jobs=(100, 1), workers=((1, 2), (1,)))


def test_options_have_defaults_and_a_size_under_smoke(monkeypatch: pytest.MonkeyPatch) -> None:
    for words, expected in [
        ([], {"rounds": 3, "jobs": 100, "workers": (1, 2)}),
        (["--smoke"], {"rounds": 1, "jobs": 1, "workers": (1,)}),
        (["--smoke", "--jobs", "5", "--workers", "3,4"], {"rounds": 1, "jobs": 5, "workers": (3, 4)}),
    ]:
        monkeypatch.setattr("sys.argv", ["drain", *words])
        assert report.asked("", jobs=(100, 1), workers=((1, 2), (1,))).options == expected


def test_rounds_of_a_case_become_one_row_with_medians(asked: object, tmp_path: Path) -> None:
    found = report.Report("drain", asked)
    for rate in (1000.4, 3000.0, 1200.0):
        found.add({"workers": 2}, {"jobs/s": rate, "ms": 0.123456})
    found.add({"workers": 4}, {"jobs/s": 5000.0, "ms": 2.0})
    found.finish()

    kept = json.loads((tmp_path / "drain.json").read_text())
    assert [row["median"] for row in kept["rows"]] == [
        {"jobs/s": 1200, "ms": 0.1235},
        {"jobs/s": 5000, "ms": 2.0},
    ]
    assert [each["jobs/s"] for each in kept["rows"][0]["rounds"]] == [1000, 3000, 1200]
    assert "| 2 | 1,200 | 0.123 | 1,000 · 3,000 · 1,200 |" in report.tables(kept)


def test_the_page_says_of_each_figure_where_it_comes_from(asked: object, tmp_path: Path) -> None:
    found = report.Report("drain", asked)
    found.add({"workers": 2}, {"jobs/s": 1.0})
    found.plot("drain", title="Rate", x="second", y="jobs", lines={"round 1": [(0, 1.0)]})
    found.finish()

    page = results.page(results.documents(tmp_path))

    assert "## How fast does the pool drain" in page
    assert "`python -m bench.drain --jobs 7`; " in page
    assert f"commit {found.document['commit']}; {found.document['machine']['cpu']}" in page
    assert "![Rate](plots/drain.svg)" in page


def test_the_page_is_written_from_what_is_kept() -> None:
    found = results.documents()
    pages = {results.PAGE: results.results_page(found), results.FAULTS_PAGE: results.faults_page(found)}
    for path, text in pages.items():
        assert path.read_text() == text, "run `python -m bench.results`"
    for document in found:
        for name in document["plots"]:
            assert (results.HERE / "plots" / f"{name}.svg").exists()


def test_a_case_that_raises_is_wrong_and_the_others_are_carried_out(asked: object) -> None:
    carried: list[str] = []

    def case(name: str) -> list[str]:
        carried.append(name)
        if name == "first":
            raise RuntimeError("no good")
        return [f"{name} is wrong"]

    wrong = cases.carry_out(["first", "second"], case)
    assert carried == ["first", "second"]
    assert wrong == ["first: RuntimeError: no good", "second is wrong"]
    with pytest.raises(SystemExit, match="second is wrong"):
        cases.finish(report.Report("drain", asked), wrong)  # type: ignore[arg-type]
