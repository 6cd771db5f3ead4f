"""
Finding mislabeled rows
=======================

A net disagrees with a wrong label for many epochs, and models that have not seen the row disagree with it as well. The selector
estimates how many labels are wrong, and lists the rows with the least trusted labels.
"""

# %%
# A fifth of the training labels of the handwritten digits are wrong. The test labels are right.
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

X, X_test, y_true, y_test = train_test_split(*load_digits(return_X_y=True), random_state=0)
rng = np.random.default_rng(7)
is_wrong = rng.random(len(y_true)) < 0.2
y = np.where(is_wrong, (y_true + rng.integers(1, 10, len(y_true))) % 10, y_true)

# %%
# Fit. The selector gets only these labels, and is not told which are wrong.
from skprune import ForgettingSelector

selector = ForgettingSelector(random_state=0, verbose=1).fit(X, y)
print(f"{is_wrong.mean():.1%} of the labels are wrong, estimated {selector.label_noise_:.1%}")

# %%
# Look. ``label_issues`` returns the suspects as a DataFrame, the least trusted first.
issues = selector.label_issues()
print(issues.head().round(2).to_string(index=False))
print(f"{is_wrong[issues['row']].mean():.0%} of the {len(issues)} suspects have a wrong label")
print(f"{selector.suspects_[is_wrong].mean():.0%} of the wrong labels are suspects")
print(f"{(issues['likely_label'] == y_true[issues['row']]).mean():.0%} of the likely labels are the true ones")

# %%
# These are 20 of the suspects, from the least to the most trusted.
import matplotlib.pyplot as plt

_, axes = plt.subplots(2, 10, figsize=(10, 3), layout="constrained")
some = issues.iloc[np.linspace(0, len(issues) - 1, 20).astype(int)]
for ax, issue in zip(axes.flat, some.itertuples(), strict=True):
    ax.imshow(X[issue.row].reshape(8, 8), cmap="gray_r")
    ax.set_title(f"given {issue.label}\nlikely {issue.likely_label}", fontsize=9)
    ax.axis("off")

# %%
# A test on held-out rows limits how many rows are suspects. The curve shows how well light models predict these rows if more and
# more of the least trusted rows are left out. It rises as long as most of these have wrong labels.
from skprune import HeldOutCurveDisplay

display = HeldOutCurveDisplay.from_selector(selector)

# %%
# Drop or correct, and refit. A Pipeline with ``ForgettingSelector()`` drops the suspects by itself. Classifiers differ in what
# they gain: a nearest neighbor believes every label, and a support vector machine averages over wrong ones.
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

kept = selector.get_support()
corrected = y.copy()
corrected[issues["row"]] = issues["likely_label"]
for classifier in (KNeighborsClassifier(1), LogisticRegression(max_iter=5000), SVC()):
    scores = [
        clone(classifier).fit(*rows).score(X_test, y_test) for rows in ((X, y), (X[kept], y[kept]), (X, corrected))
    ]
    print(
        f"{type(classifier).__name__:>20}: all rows {scores[0]:.1%}, dropped {scores[1]:.1%}, corrected {scores[2]:.1%}"
    )
