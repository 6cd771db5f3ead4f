"""The Python code of the documentation runs, page by page, and prints what the page says."""

import contextlib
import io
import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from datasets import Dataset
from test_huggingface import make_model
from transformers import PrinterCallback, TrainingArguments

# What users are shown must not do what they are warned of; elsewhere tiny nets may.
pytestmark = pytest.mark.filterwarnings("error::skprune.PruningWarning")

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [*(DOCS / name for name in ("index.md", "install.md", "faq.md")), *sorted((DOCS / "user_guide").glob("*.md"))]
BLOCKS = re.compile(r"^```python\n(?P<code>.*?)^```$(?:\n+^```text\n(?P<printed>.*?)^```$)?", re.DOTALL | re.MULTILINE)


@pytest.fixture(autouse=True)
def _figures():
    plt.switch_backend("Agg")
    yield
    plt.close("all")


@pytest.fixture
def given(tmp_path, monkeypatch):
    """What the start page takes for granted: a model, arguments and a dataset for a Trainer, which prints nothing."""
    monkeypatch.setattr(PrinterCallback, "on_log", lambda *args, **kwargs: None)
    rows = {"input_ids": [[row % 20, row % 3] for row in range(30)], "label": [row % 2 for row in range(30)]}
    settings = {"use_cpu": True, "dataloader_pin_memory": False, "save_strategy": "no", "disable_tqdm": True}
    arguments = TrainingArguments(str(tmp_path), report_to="none", **settings)
    return {"model": make_model(), "arguments": arguments, "dataset": Dataset.from_dict(rows)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_code_of(page, given):
    text, names = page.read_text(), {"__name__": page.stem} | given
    for block in BLOCKS.finditer(text):
        line = text.count("\n", 0, block.start("code"))
        code = compile("\n" * line + block["code"], str(page), "exec")
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(code, names)
        assert printed.getvalue() == (block["printed"] or ""), f"{page}, line {line + 1}"


def test_every_page_of_the_guide_has_code():
    for page in PAGES:
        assert page.stem == "index" or "```python" in page.read_text()
        assert page.read_text().count("```python") == sum(1 for _ in BLOCKS.finditer(page.read_text()))
