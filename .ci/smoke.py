"""Tries the installed package, with no more than it requires: python smoke.py, outside of a checkout."""

from importlib import metadata
from pathlib import Path

from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import skprune

folder = Path(skprune.__file__).parent
assert folder.parent.name in ("site-packages", "dist-packages"), (
    f"skprune comes from {folder}, where it isn't installed"
)
assert (folder / "py.typed").exists()
assert metadata.version("skprune") == skprune.__version__
# An index shows the README alone, without files beside it.
text = metadata.metadata("skprune").get_payload()
assert "](docs/" not in text
assert '="docs/' not in text

X, X_test, y, y_test = train_test_split(*load_digits(return_X_y=True), random_state=0)
prune = skprune.ForgettingSelector(k=0.5, random_state=0)
pipe = skprune.make_pipeline(StandardScaler(), prune, LogisticRegression(max_iter=1000)).fit(X, y)
accuracy = pipe.score(X_test, y_test)
assert pipe[1].get_support().sum() == -(-len(y) // 2)
assert accuracy > 0.9, accuracy
print(f"skprune {skprune.__version__} in {folder}: {accuracy:.1%} with half of the rows")
