"""
How much can be dropped?
========================

One call answers it: :class:`~skprune.PruningCurveDisplay` cross-validates a pruning Pipeline over the share of rows
that is kept, for several strategies, and draws the score with all rows beside them. The scoring net is trained once a
fold, whatever the number of points.
"""

# %%
# The data are the handwritten digits that come with scikit-learn, and the classifier is a support vector machine,
# whose training time grows faster than the number of rows. The scoring net is the built-in one.
from sklearn.datasets import load_digits
from sklearn.svm import SVC

from skprune import ForgettingSelector, PruningCurveDisplay, make_pipeline

X, y = load_digits(return_X_y=True)
pipe = make_pipeline(ForgettingSelector(random_state=0), SVC())

# %%
# Folds are drawn at random, since the digits are sorted by their writers.
from sklearn.model_selection import StratifiedKFold

cv = StratifiedKFold(5, shuffle=True, random_state=0)
display = PruningCurveDisplay.from_estimator(
    pipe, X, y, k=[0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9], cv=cv, scoring="accuracy"
)

# %%
# The lines are means over folds, the areas a standard deviation to both sides. With 40% or more kept, the most
# forgotten rows do about as well as all rows: what they leave out is easy, and the machine would have got it right
# anyway. With little kept, the most forgotten rows alone are a bad sample of the digits, and ``"coverage"``, which takes
# rows of every difficulty, is the safer choice. The same as numbers:
print(f"{'share kept':>15}:", *(f"{share:5.0%} " for share in display.shares))
for strategy, scores in zip(display.strategies, display.scores.mean(-1), strict=True):
    print(f"{strategy:>15}:", *(f"{score:.1%} " for score in scores))
print(f"{'all rows':>15}: {display.full_scores.mean():.1%}")

# %%
# The ring marks the fewest rows whose mean accuracy is within 0.01 of the best. It answers the question in the title:
print(
    f"{display.fewest_rows.strategy} with {display.fewest_rows.share:.0%} of the rows: {display.fewest_rows.score:.1%}"
)
