"""
Choosing k and strategy by GridSearchCV
=======================================

How much to keep, and of what, are parameters like any other. With a ``memory``, a search over them trains the scoring
net once a fold: what is kept is derived from stored scores.
"""

# %%
# The breast cancer data of scikit-learn, and a search over both parameters at once.
import tempfile

from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.preprocessing import StandardScaler

from skprune import ForgettingSelector, Pipeline

X, X_test, y, y_test = train_test_split(*load_breast_cancer(return_X_y=True), random_state=0)
memory = tempfile.TemporaryDirectory()
pipe = Pipeline(
    [
        ("scale", StandardScaler()),
        ("prune", ForgettingSelector(memory=memory.name, random_state=0)),
        ("clf", LogisticRegression(max_iter=1000)),
    ]
)
grid = {
    "prune__k": [0.9, 0.7, 0.5, 0.3, 0.1],
    "prune__strategy": ["most_forgotten", "coverage", "random"],
}
search = GridSearchCV(pipe, grid, cv=5).fit(X, y)

print("best:", search.best_params_)
print(f"cross-validated accuracy: {search.best_score_:.1%}")
print(f"accuracy on test rows: {search.score(X_test, y_test):.1%}")
print(f"rows kept in the end: {search.best_estimator_['prune'].get_support().sum()} of {len(y)}")

# %%
# 75 fits and the last one needed six trainings of the scoring net, one a fold and one for all rows. The mean scores of
# the whole grid:
import matplotlib.pyplot as plt
import numpy as np

scores = np.reshape(search.cv_results_["mean_test_score"], (5, 3))
figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
image = ax.imshow(scores, cmap="viridis", aspect="auto")
ax.set_xticks(range(3), [name.replace("_", " ") for name in grid["prune__strategy"]])
ax.set_yticks(range(5), [f"{k:.0%}" for k in grid["prune__k"]])
ax.set(xlabel="strategy", ylabel="share of rows kept")
for row, column in np.ndindex(scores.shape):
    color = "white" if image.norm(scores[row, column]) < 0.5 else "black"
    ax.text(column, row, f"{scores[row, column]:.1%}", ha="center", va="center", color=color)
figure.colorbar(image, label="Accuracy")
memory.cleanup()

# %%
# Differences at the top are smaller than a percentage point, and random rows may win there; what counts is how little is
# enough. The best score wins whatever it costs. To take the smallest training set that is nearly as good, give ``refit`` a
# function, as scikit-learn's example on balancing model complexity does.
good = np.argwhere(scores >= search.best_score_ - 0.01)
row, column = max(good, key=lambda place: (place[0], scores[tuple(place)]))
k, strategy = grid["prune__k"][row], grid["prune__strategy"][column]
print(f"within a percentage point of the best: {strategy} with {k:.0%} of the rows")
