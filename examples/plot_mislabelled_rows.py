"""
Finding mislabelled rows
========================

A net disagrees with a wrong label for many epochs before it learns it, if it learns it at all. Models that have not seen
the row disagree with it as well. ``suspects_`` marks the rows where both disagree with the label strongly.
"""

# %%
# A tenth of the handwritten digits gets another label at random, and we pretend not to know which.
import numpy as np
from sklearn.datasets import load_digits

X, y_true = load_digits(return_X_y=True)
rng = np.random.default_rng(7)
is_wrong = rng.random(len(y_true)) < 0.1
y = np.where(is_wrong, (y_true + rng.integers(1, 10, len(y_true))) % 10, y_true)

# %%
# The scoring net sees the wrong labels only.
from skprune import ForgettingSelector

selector = ForgettingSelector(n_runs=3, random_state=0, verbose=1).fit(X, y)
suspect = selector.suspects_
print(f"{is_wrong.sum()} labels are wrong, {suspect.sum()} rows are suspects")
print(f"of the suspects {is_wrong[suspect].mean():.0%} are wrong")
print(f"of the wrong labels {suspect[is_wrong].mean():.0%} are suspects")
print(f"of the never-learned rows {is_wrong[selector.never_learned_].mean():.0%} are wrong")

# %%
# A map of the rows shows them at the bottom.
import matplotlib.pyplot as plt

from skprune import ForgettingDisplay

display = ForgettingDisplay.from_selector(selector, kind="map")

# %%
# The 15 rows of which the net is surest that their label is wrong, with the label that they have and the true one.
worst = np.argsort(selector.margins_)[:15]
_, axes = plt.subplots(3, 5, figsize=(7, 5), layout="constrained")
for ax, row in zip(axes.flat, worst, strict=True):
    ax.imshow(X[row].reshape(8, 8), cmap="gray_r")
    ax.set_title(f"label {y[row]}, truly {y_true[row]}", fontsize=9)
    ax.axis("off")

# %%
# The default strategy drops suspects first, so training without them needs no list. Test labels are the true ones.
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

from skprune import make_pipeline

X_train, X_test, y_train, _, _, y_test = train_test_split(X, y, y_true, random_state=0)
nearest = KNeighborsClassifier(1)
pruned = make_pipeline(ForgettingSelector(k=0.8, random_state=0), nearest)
for name, classifier in (("all rows", nearest), ("80% of them", pruned)):
    print(f"nearest neighbour, {name}: {classifier.fit(X_train, y_train).score(X_test, y_test):.1%}")
