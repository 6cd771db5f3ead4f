"""
Finding mislabeled rows
=======================

A net disagrees with a wrong label for many epochs, and may never learn it. Models that have not seen the row disagree with the
label as well. ``suspects_`` marks the rows for which a weighted mean of both margins is clearly negative.
"""

# %%
# A tenth of the handwritten digits gets a random wrong label.
import numpy as np
from sklearn.datasets import load_digits

X, y_true = load_digits(return_X_y=True)
rng = np.random.default_rng(7)
is_wrong = rng.random(len(y_true)) < 0.1
y = np.where(is_wrong, (y_true + rng.integers(1, 10, len(y_true))) % 10, y_true)

# %%
# The selector gets only these labels, and is not told which are wrong.
from skprune import ForgettingSelector

selector = ForgettingSelector(n_runs=3, random_state=0, verbose=1).fit(X, y)
suspect = selector.suspects_
print(f"{is_wrong.sum()} labels are wrong, {suspect.sum()} rows are suspects")
print(f"{is_wrong[suspect].mean():.0%} of the suspects have a wrong label")
print(f"{suspect[is_wrong].mean():.0%} of the wrong labels are suspects")
print(f"{is_wrong[selector.never_learned_].mean():.0%} of the never-learned rows have a wrong label")

# %%
# In a map of the rows, those with a small margin are at the bottom. Many of them were never learned.
import matplotlib.pyplot as plt

from skprune import ForgettingDisplay

display = ForgettingDisplay.from_selector(selector, kind="map")

# %%
# These are the 15 rows with the smallest margins, with their given and their true label.
worst = np.argsort(selector.margins_)[:15]
_, axes = plt.subplots(3, 5, figsize=(7, 5), layout="constrained")
for ax, row in zip(axes.flat, worst, strict=True):
    ax.imshow(X[row].reshape(8, 8), cmap="gray_r")
    ax.set_title(f"label {y[row]}, true {y_true[row]}", fontsize=9)
    ax.axis("off")

# %%
# The default strategy drops suspects first. A Pipeline with a selector therefore trains on cleaner labels. The test labels are
# the true ones.
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

from skprune import make_pipeline

X_train, X_test, y_train, _, _, y_test = train_test_split(X, y, y_true, random_state=0)
nearest = KNeighborsClassifier(1)
pruned = make_pipeline(ForgettingSelector(k=0.8, random_state=0), nearest)
for name, classifier in (("all rows", nearest), ("80% of them", pruned)):
    print(f"nearest neighbor, {name}: {classifier.fit(X_train, y_train).score(X_test, y_test):.1%}")
