"""
What is forgotten, and what is not
==================================

Rows that a net keeps forgetting while it learns are the unusual ones, and rows that it never forgets resemble each
other. Here are the handwritten digits of scikit-learn at both ends.
"""

# %%
# Five runs of the built-in net. Counts are summed over runs.
from sklearn.datasets import load_digits

from skprune import ForgettingSelector

X, y = load_digits(return_X_y=True)
selector = ForgettingSelector(k=20, n_runs=5, random_state=0, verbose=1).fit(X, y)

# %%
# The same fitted selector gives both ends: what is kept is decided when rows are selected.
import matplotlib.pyplot as plt

figure = plt.figure(figsize=(9, 4.4), layout="constrained")
for part, strategy in zip(figure.subfigures(1, 2), ("most_forgotten", "least_forgotten"), strict=True):
    rows = selector.set_params(strategy=strategy).get_support(indices=True)
    part.suptitle(strategy.replace("_", " ").capitalize())
    for ax, row in zip(part.subplots(4, 5).flat, rows, strict=True):
        ax.imshow(X[row].reshape(8, 8), cmap="gray_r")
        ax.set_title(f"{y[row]}, {selector.forgetting_scores_[row]} x", fontsize=9)
        ax.axis("off")

# %%
# Above each picture are its label and how often it was forgotten. Most digits are never forgotten, as a distribution
# shows, and the margin tells those apart: rows with equal counts are ranked by it.
from skprune import ForgettingDisplay

_, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
for ax, kind in zip(axes, ("hist", "map"), strict=True):
    ForgettingDisplay.from_selector(selector, kind=kind, ax=ax)
