import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

# What users are shown must not do what they are warned of; elsewhere tiny nets may.
pytestmark = pytest.mark.filterwarnings("error::skprune.PruningWarning")

README = Path(__file__).parents[1] / "README.md"


def test_the_code_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = "\n".join(re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL))
    assert code.count("import") > 5
    names = {}
    exec(compile(code, str(README), "exec"), names)
    assert "prune__k" in capsys.readouterr().out
    assert names["search"].score(names["X_test"], names["y_test"]) > 0.9
    assert names["plain"].score(names["X_test"], names["y_test"]) > 0.9
    assert len(names["X_kept"]) == pytest.approx(0.3 * len(names["X"]), abs=1)


def test_the_accuracies_of_the_quick_start():
    code = re.search(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)[1]
    names = {}
    exec(code, names)
    pipe, test = names["pipe"], (names["X_test"], names["y_test"])
    changes = [{}, {"prune__k": 1.0}, {"prune__k": 0.4, "prune__strategy": "random"}]
    accuracies = [f"{pipe.set_params(**change).fit(names['X'], names['y']).score(*test):.3f}" for change in changes]
    assert re.findall(r"0\.\d{3}", code) == accuracies


def test_the_printed_tables_have_the_rows_and_columns_of_the_demo():
    from benchmarks import demo

    n_train = 1437  # of the 1797 digits
    nothing = np.zeros((1 + len(demo.SHARES) * len(demo.STRATEGIES), 2))
    head, *lines = demo.describe(nothing, n_train)
    tables = README.read_text().split(f"{head}\n")[1:]
    assert len(tables) == len(demo.NOISE)
    for table in tables:
        for row, line in zip(table.split("\n\n")[0].splitlines(), lines, strict=True):
            assert row.split("|")[1:3] == line.split("|")[1:3]  # k and the number of rows


def test_the_gain_that_the_readme_promises_is_the_one_that_was_measured():
    table = README.read_text().split("<!-- payoff -->\n")[1].split("<!-- /payoff -->")[0]
    assert table.count("\n") > 5
    assert table in (README.parent / "docs" / "benchmarks" / "payoff.md").read_text()


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
