import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

# What users are shown must not do what they are warned of; elsewhere tiny nets may.
pytestmark = pytest.mark.filterwarnings("error::skprune.PruningWarning")

README = Path(__file__).parents[1] / "README.md"


def test_the_code_of_the_readme_prints_the_figures_in_its_comments(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = "\n".join(re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL))
    names = {}
    exec(compile(code, str(README), "exec"), names)
    printed = capsys.readouterr().out
    figures = re.findall(r"print\(f\".*# ([0-9.]+%)", code)
    assert len(figures) == 3
    assert printed.split("\n")[:3] == figures
    assert "{'prune__k': 0.6} 98.9%" in printed

    X, y_true, test = names["X"], names["y_true"], (names["X_test"], names["y_test"])
    wrong = np.mean(names["y"] != y_true)
    right = LogisticRegression(max_iter=2000).fit(X, y_true).score(*test)
    stated = (
        f"{wrong:.0%} are wrong",
        f"right labels give {right:.1%}",
        f"; {SVC().fit(X, y_true).score(*test):.1%} with all",
    )
    assert all(figure in code for figure in stated)
    with_suspects, without = SVC().fit(X, names["y"]), names["pipe"].fit(X, names["y"])  # an SVC that gains little
    assert abs(without.score(*test) - with_suspects.score(*test)) < 0.005


def test_the_readme_is_short():
    assert len(README.read_text().split()) <= 900


def test_tables_of_the_readme_are_those_that_benchmarks_printed():
    """A table of docs/benchmarks/NAME.md stands between the comments NAME and /NAME."""
    tables = re.findall(r"<!-- (\w+) -->\n(.*?)<!-- /\1 -->", README.read_text(), flags=re.DOTALL)
    assert any(table for _, table in tables)
    for name, table in tables:
        assert table in (README.parent / "docs" / "benchmarks" / f"{name}.md").read_text()


def test_links_of_the_readme_work_on_a_package_index():
    links = re.compile(r"\]\(([^)\s]+)|\b(?:src|href)=\"([^\"]+)")
    text = README.read_text()
    relative = {"".join(link) for link in links.findall(text) if not re.match("https://|#", "".join(link))}
    assert relative
    assert all((README.parent / link.partition("#")[0]).exists() for link in relative)
    project = tomllib.loads((README.parent / "pyproject.toml").read_text())
    hook = project["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    for substitution in hook["substitutions"]:
        text = re.sub(substitution["pattern"], substitution["replacement"], text)
    found = {"".join(link) for link in links.findall(text)}
    ours = "https://github.com/skprune/skprune/blob/", "https://raw.githubusercontent.com/skprune/skprune/"
    for link in relative:
        is_image = link.endswith((".png", ".svg", ".gif"))
        assert f"{ours[is_image]}v$HFPR_VERSION/{link}" in found
    assert all(re.match("https://|#", link) for link in found)
