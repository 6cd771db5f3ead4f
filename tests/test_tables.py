"""Which benchmark tables are older than their code, told by a small git repository."""

import subprocess

import pytest

from benchmarks.tables import command_of, staleness

TABLE = "docs/benchmarks/speed.md"


@pytest.fixture
def commit(tmp_path, monkeypatch):
    """Write files into a repository in tmp_path and commit them."""
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "A")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "a@example.org")

    def git(*arguments):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True, capture_output=True)

    def commit(**files):
        for name, text in files.items():
            write(tmp_path / PATHS[name], text)
        git("add", ".")
        git("commit", "--quiet", "--message", "A change")

    git("init", "--quiet")
    commit(code="1", library="1", other="1")
    commit(table="`python -m benchmarks.speed --repeats 5`: seconds")
    return commit


PATHS = {
    "table": TABLE,
    "code": "benchmarks/speed.py",
    "library": "skprune/_scores.py",
    "shared": "benchmarks/data.py",
    "other": "benchmarks/scale.py",
}


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_table_made_after_its_code_is_up_to_date(tmp_path, commit):
    assert staleness(tmp_path, tmp_path / TABLE) == ""
    commit(other="2")
    assert staleness(tmp_path, tmp_path / TABLE) == ""


@pytest.mark.parametrize("name", ["code", "library", "shared"])
def test_a_table_is_stale_once_its_code_has_changed(tmp_path, commit, name):
    commit(**{name: "2"})
    commit(**{name: "3"})
    assert "before 2 commits to its code" in staleness(tmp_path, tmp_path / TABLE)
    commit(table="`python -m benchmarks.speed`: made again")
    assert staleness(tmp_path, tmp_path / TABLE) == ""


def test_code_and_table_of_one_commit(tmp_path, commit):
    commit(code="2", table="`python -m benchmarks.speed`: made by it")
    assert staleness(tmp_path, tmp_path / TABLE) == ""


def test_changes_that_are_not_committed(tmp_path, commit):
    write(tmp_path / PATHS["code"], "2")
    assert "before changes to its code that are not committed" in staleness(tmp_path, tmp_path / TABLE)
    write(tmp_path / TABLE, "`python -m benchmarks.speed`: changed")
    assert staleness(tmp_path, tmp_path / TABLE) == "the table is not committed"


def test_a_clone_without_history(tmp_path, commit):
    commit(code="2")
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", "--depth", "1", f"file://{tmp_path}", clone], check=True)
    with pytest.raises(SystemExit, match="git fetch --unshallow"):
        staleness(clone, clone / TABLE)


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ("`python -m benchmarks.scores`: of `X`", ["benchmarks.scores", "--docs", "docs"]),
        (
            "`python -m benchmarks.paper --epochs 12`:",
            ["benchmarks.paper", "--epochs", "12", "--docs", "docs", "--data", "here"],
        ),
        (
            "`python -m benchmarks.transformers --rows 64`:",
            ["benchmarks.transformers", "--rows", "64", "--docs", "docs", "--data", "here", "--model", "there"],
        ),
    ],
)
def test_the_command_that_a_report_names(report, expected):
    assert command_of(f"## Title\n\n{report}", {"data": "here", "model": "there"}) == expected
    without = command_of(report, {"data": None, "model": None})
    assert "--data" not in without
    assert "--model" not in without
