import math
import re
from pathlib import Path

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


def test_the_printed_table_has_the_rows_and_columns_of_the_demo():
    from benchmarks import demo

    table = README.read_text().split("<!-- demo -->\n")[1].split("\n\n")[0].splitlines()
    assert table[0] == "| k | rows kept | most forgotten | coverage | random | everything | seconds |"
    assert [float(row.split("|")[1]) for row in table[2:]] == list(demo.SHARES)
    # Of the 1797 digits, 1437 are left for training.
    assert [int(row.split("|")[2]) for row in table[2:]] == [math.ceil(k * 1437) for k in demo.SHARES]
