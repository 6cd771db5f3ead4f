"""
How much can be dropped?
========================

:class:`~skprune.PruningCurveDisplay` answers this question for your data. It cross-validates a Pipeline for several shares of
rows and several strategies, and draws their scores together with the score of all rows. The scoring net is trained once per
fold, whatever the number of points.
"""

# %%
# The data are the handwritten digits of scikit-learn. The classifier is a support vector machine, whose training time grows
# faster than the number of rows. The scoring net is the built-in one.
from sklearn.datasets import load_digits
from sklearn.svm import SVC

from skprune import ForgettingSelector, PruningCurveDisplay, make_pipeline

X, y = load_digits(return_X_y=True)
pipe = make_pipeline(ForgettingSelector(random_state=0), SVC())

# %%
# The folds are drawn at random, because the digits are sorted by writer.
from sklearn.model_selection import StratifiedKFold

cv = StratifiedKFold(5, shuffle=True, random_state=0)
display = PruningCurveDisplay.from_estimator(
    pipe, X, y, k=[0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9], cv=cv, scoring="accuracy"
)

# %%
# The lines show means over the folds, and the areas show one standard deviation on either side. If 30% or more are kept, the
# most forgotten rows are about as good as all rows. The rows that they leave out are easy, and the classifier predicts them
# correctly without having seen them. If few rows are kept, the most forgotten rows are a bad sample of the digits. The
# default, ``"coverage"``, takes rows of every difficulty and does not collapse. These are the numbers:
print(f"{'share kept':>15}:", *(f"{share:5.0%} " for share in display.shares))
for strategy, scores in zip(display.strategies, display.scores.mean(-1), strict=True):
    print(f"{strategy:>15}:", *(f"{score:.1%} " for score in scores))
print(f"{'all rows':>15}: {display.full_scores.mean():.1%}")

# %%
# The ring marks the candidate with the fewest rows among those whose mean accuracy is within 0.01 of the best. It answers the
# question in the title:
print(
    f"{display.fewest_rows.strategy} with {display.fewest_rows.share:.0%} of the rows: {display.fewest_rows.score:.1%}"
)
