"""
Choosing k and strategy by GridSearchCV
=======================================

The number of rows to keep and the strategy are parameters like any other. A search over them trains the scoring net once
per fold, because rows are selected from stored scores. With :class:`~skprune.fewest_rows`, the search refits the candidate
that keeps the fewest rows and is nearly as good as the best.
"""

# %%
# The data are the handwritten digits of scikit-learn. The search varies both parameters, and accepts a loss of one percentage
# point.
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.svm import SVC

from skprune import ForgettingSelector, Pipeline, fewest_rows

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, stratify=y, random_state=0)
pipe = Pipeline([("prune", ForgettingSelector(random_state=0)), ("clf", SVC(gamma=0.001))])
grid = {
    "prune__k": [0.9, 0.7, 0.5, 0.3, 0.1],
    "prune__strategy": ["most_forgotten", "coverage", "random"],
}
search = GridSearchCV(pipe, grid, cv=3, refit=fewest_rows(within=0.01)).fit(X, y)

print("chosen:", search.best_params_)
print(f"rows kept: {search.best_estimator_['prune'].get_support().sum()} of {len(y)}")
print(f"accuracy on test rows: {search.score(X_test, y_test):.1%}")
print(f"accuracy with all training rows: {SVC(gamma=0.001).fit(X, y).score(X_test, y_test):.1%}")

# %%
# The search made 45 fits and a refit, but trained the scoring net only four times: once per fold, and once for the refit. The
# next figure shows the mean accuracies of all candidates. The frame marks the chosen one.
import matplotlib.pyplot as plt
import numpy as np

scores = np.reshape(search.cv_results_["mean_test_score"], (5, 3))
figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
image = ax.imshow(scores, cmap="viridis", aspect="auto", vmin=0.9)
ax.set_xticks(range(3), [name.replace("_", " ") for name in grid["prune__strategy"]])
ax.set_yticks(range(5), [f"{k:.0%}" for k in grid["prune__k"]])
ax.set(xlabel="strategy", ylabel="share of rows kept")
for row, column in np.ndindex(scores.shape):
    color = "white" if image.norm(scores[row, column]) < 0.5 else "black"
    ax.text(column, row, f"{scores[row, column]:.1%}", ha="center", va="center", color=color)
row, column = np.unravel_index(search.best_index_, scores.shape)
ax.add_patch(plt.Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, fill=False, edgecolor="#D55E00", linewidth=3))
_ = figure.colorbar(image, label="Accuracy", extend="min")

# %%
# If 90% of the rows are kept, all strategies are about equally good, and chance decides which has the best mean score. The
# default ``refit=True`` would therefore choose one of these candidates, perhaps ``"random"``, and save hardly any rows. The
# strategies differ if fewer rows are kept. The labels of the digits are clean, so ``"most_forgotten"`` does well down to 30%
# of the rows, where random rows lose more than a point. With 10% it fails: the rows that remain are too hard.
