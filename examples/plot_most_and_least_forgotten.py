"""
What is forgotten, and what is not
==================================

A net forgets unusual rows again and again while it learns. Rows that it never forgets resemble each other. This example shows
the handwritten digits of scikit-learn at both ends.
"""

# %%
# The built-in net is trained five times, and its counts are summed over the runs.
from sklearn.datasets import load_digits

from skprune import ForgettingSelector

X, y = load_digits(return_X_y=True)
selector = ForgettingSelector(k=20, n_runs=5, random_state=0, verbose=1).fit(X, y)

# %%
# The same fitted selector returns both ends, because rows are selected from stored scores. The title of each image shows its
# label and how often it was forgotten. The warning can be ignored: these rows are only displayed, not trained
# on.
import matplotlib.pyplot as plt

figure = plt.figure(figsize=(9, 4.4), layout="constrained")
for part, strategy in zip(figure.subfigures(1, 2), ("most_forgotten", "least_forgotten"), strict=True):
    rows = selector.set_params(strategy=strategy).get_support(indices=True)
    part.suptitle(strategy.replace("_", " ").capitalize())
    for ax, row in zip(part.subplots(4, 5).flat, rows, strict=True):
        ax.imshow(X[row].reshape(8, 8), cmap="gray_r")
        ax.set_title(f"{y[row]}, {selector.forgetting_scores_[row]} times", fontsize=9)
        ax.axis("off")

# %%
# The histogram shows that most digits are never forgotten. The map shows that these differ in their margin, which is why the
# margin ranks rows with equal counts.
from skprune import ForgettingDisplay

_, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
for ax, kind in zip(axes, ("hist", "map"), strict=True):
    ForgettingDisplay.from_selector(selector, kind=kind, ax=ax)
