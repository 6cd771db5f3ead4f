"""ForgettingSelector: parameters in, kept rows out."""

import copy
import time
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import Bunch, check_array, check_random_state, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data
from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier

from skprune._batches import check_columns
from skprune._cache import Lineage, find_store
from skprune._checks import check_is_matrix, check_labels, check_lengths, checkable, is_matrix, refuse_params
from skprune._default_net import make_default_net
from skprune._encoding import check_encoder, encode
from skprune._features import reduce_sparse
from skprune._fitted_rows import FittedRows, check_same_labels, names_of_classes
from skprune._held_out import hold_out
from skprune._judge import Judge
from skprune._label_issues import make_table
from skprune._rating import best_rule
from skprune._rows import take_rows
from skprune._scores import ScoresLike
from skprune._scoring import score_runs, summarise
from skprune._selection import Strategy, check_scores, check_selection, check_training, select
from skprune._strategies import UNTESTED_RULE, count_kept, forgetting_counts
from skprune._warnings import warn

# Parameters that are read when rows are selected.
_SELECTING = ("k", "strategy", "never_learned", "tie_break", "balance", "min_per_class")
_FITTED = (
    *("_selection", "_net", "classes_", "encoder_", "n_epochs_", "n_features_in_", "feature_names_in_", "margins_"),
    *("trust_", "suspects_", "label_noise_", "likely_labels_", "never_learned_", "first_learned_"),
)


def _may_have_features(selector):
    return not hasattr(selector, "_selection") or hasattr(selector, "n_features_in_")


class ForgettingSelector(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Select training rows by what a neural net forgets while it learns.

    A scoring net is trained on all rows. A forgetting event happens when the net misclassifies a row that it classified
    correctly in the previous epoch [1]_. Rows that are never forgotten are often redundant. `fit` selects rows once. If `k`,
    `strategy`, `balance`, `min_per_class`, `never_learned` or `tie_break` have changed since, the fitted selector selects once
    more when it is asked for rows, without training again.

    Parameters
    ----------
    estimator : NeuralNetClassifier or NeuralNetBinaryClassifier, default=None
        The scoring net, of skorch. A clone of it is trained on every row. Its `train_split` holds out rows only if a callback
        monitors a score on these, such as ``EarlyStopping("valid_loss")``. All rows are then predicted at the end of each
        epoch, as with ``record="epoch"``. If None, a small multilayer perceptron that
        standardizes its input is used. It requires `X`, once encoded, to be two-dimensional and numeric. If `X` is sparse
        and has more than 100 columns, the net gets its coordinates along at most 100 singular vectors.
    k : "auto", float in (0, 1] or int >= 1, default="auto"
        How much to keep. ``"auto"`` keeps all rows but the suspects, and at least `min_per_class` of each class, whatever the
        `strategy`. If float, the share of rows, rounded up by the decimal digits of `k`: 0.55 of 100 rows are 55, and 1.0 keeps
        all. If int, the number of rows; 1 keeps one.
    strategy : {"coverage", "most_forgotten", "least_forgotten", "random"} or callable, default="coverage"
        Which rows are kept first if `k` is a number. ``"coverage"`` keeps rows of every difficulty, after [2]_, and drops
        suspects first. The number of hard rows is chosen for each `k`: light models are trained on the rows that several rules
        keep and tested on held-out rows. Random rows are kept unless the best rule leads them by more than two standard errors.
        If nothing can be tested, a fixed rule is used.
        ``"most_forgotten"`` and ``"least_forgotten"`` rank rows by their counts, and ``"random"`` draws them. A callable
        is called as ``strategy(scores, n_keep, rng)`` with a :class:`ForgettingScores`, an int and a
        `numpy.random.Generator`. It must return `n_keep` different row numbers.
    judge : classifier, default=None
        What tests on held-out rows how many of the least trusted rows are better left out. If None, light models do: two ridge
        regressions, nearest neighbors and trees. If a classifier, clones of it are fitted at most 12 times on at most 2,000
        rows. Pass the classifier behind the selector to find what is best for it. If `k` is a number and the strategy is
        ``"coverage"``, the classifier also compares the chosen rule with random rows, which takes 6 more fits.
    judge_scoring : str or callable, default=None
        What `judge` maximizes, as in :func:`~sklearn.model_selection.cross_val_score`, such as ``"balanced_accuracy"``. If None,
        its `score`. It needs a `judge`.
    encoder : "auto", transformer or None, default="auto"
        What turns `X` into numbers for the scoring net and for the models on held-out rows. The rows that are kept stay as
        they are. A transformer is cloned, and fitted to the `X` and `y` of `fit`. None leaves `X` as it is. ``"auto"``
        imputes missing numbers and marks where they were, and encodes columns of words, categories, dates and times with
        the `TableVectorizer` of skrub, which ``pip install "skprune[tables]"`` installs. Numbers without missing values
        are not encoded. If `estimator` is given, only tables with columns that are not numeric are, and nothing is if it
        has a `dataset` of its own. Texts in lists, images, dicts and Datasets are never encoded by ``"auto"``.
    never_learned : {"drop", "count", "max"}, default="drop"
        How to rank rows that were never predicted correctly: after all learned rows (`"drop"`), by their number of
        events, which is 0 (`"count"`), or as if forgotten in every epoch (`"max"`), as in [1]_.
    tie_break : {"margin", "random"}, default="margin"
        How to rank rows with equal counts: by mean margin, with the smallest first if the most forgotten rows are
        kept, or by a seeded draw. Their position is never used.
    balance : bool, default=False
        Whether to keep the same share of every class. The total is still exact. It has no effect on ``k="auto"``, which
        keeps all rows but the suspects, however many of them are in a class.
    min_per_class : int, default=5
        Number of rows that are kept of every class, or all rows of a smaller class, as far as the total allows. 0 sets no
        minimum. It has no effect on ``strategy="random"`` and callables.
    record : {"batch", "epoch"}, default="batch"
        ``"batch"`` uses the predictions that training makes anyway, before each update, without an extra forward
        pass. ``"epoch"`` predicts all rows in evaluation mode at the end of each epoch.
    n_runs : int, default=1
        Number of independent runs, whose counts are summed; [1]_ uses 5. Each run initializes the weights again. If the
        `module` of the net is an instance, all runs start from the weights that it has, and a warning says so.
    n_jobs : int, default=None
        Number of runs to train in parallel with joblib, on the backend that joblib is set to.
    memory : joblib.Memory, str or path-like, default=None
        Folder in which runs are stored, so that none is trained twice. It must be trusted, because it contains pickles. A run
        is identified by the net, its code, the data, the seed, `record` and the versions of packages. What can't be
        identified is trained again, with a warning. If None, clones of one selector share their runs in a temporary folder, so
        that a search over the parameters that select rows trains once a fold. ``joblib.Memory(None)`` stores nothing.
    random_state : int, RandomState instance or None, default=None
        Seed for training and random draws. Pass an int for reproducible results. If None, every fit draws a new seed, except
        for the first fit of a clone: it uses the seed of its original, so that a search compares candidates on the same
        scores. A clone of a fitted selector gets the seed of the last fit.
    verbose : int, default=0
        If 1, print one line after training: rows, runs, epochs, seconds, training accuracy in the last epoch, and the
        shares of rows that were forgotten at least once, were never learned, or are suspects, and what the test on held-out
        rows says. If 2, also show bars.

    Attributes
    ----------
    forgetting_scores_ : ndarray of shape (n_samples,), int64
        Forgetting events summed over runs, with `never_learned` applied, or the scores passed to `fit`.
    margins_ : ndarray of shape (n_samples,), float64
        Probability of the row's class minus the largest other one, averaged over presentations and runs, in [-1, 1].
        If it is negative, the net disagrees with the label on average. nan if `fit` was given scores without margins.
    trust_ : ndarray of shape (n_samples,), float64
        How much the net and the models that have not seen a row speak for its label, in [-1, 1]. See Notes.
    suspects_ : ndarray of shape (n_samples,), bool
        Whether the label of a row is probably wrong: the least trusted rows, as many as `label_noise_` says. Trust is the mean
        of two margins, that of the net, and that of a mixture of models that have not seen the row. See Notes.
    label_noise_ : float
        Estimated share of wrong labels: the share of the least trusted rows without which held-out rows are predicted best. 0 if
        no share is clearly better than 0. nan if nothing can be known; no row is then a suspect.
    likely_labels_ : ndarray of shape (n_samples,)
        The class that the models favor: the label of a row if they trust it, and otherwise the most probable other class.
    held_out_curve_ : :class:`~sklearn.utils.Bunch`
        The `shares` that were left out, the mean `scores` on held-out rows, and the standard `errors` of their differences to
        the first score. The arrays are empty if nothing was tested.
    never_learned_ : ndarray of shape (n_samples,), bool
        Whether a row was never predicted correctly in any run.
    first_learned_ : ndarray of shape (n_samples,), float64
        Epoch of the first correct prediction, counted from 1, averaged over the runs that have one; nan if none has.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    n_features_in_ : int
        Number of features seen during `fit`. Only defined if `X` is two-dimensional.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during `fit`. Only defined if all names of `X` are strings.
    encoder_ : transformer or None
        Encoder that was fitted to `X`. None if nothing was encoded.
    estimator_ : NeuralNetClassifier or NeuralNetBinaryClassifier
        Trained scoring net of the last run. It takes encoded features, ``encoder_.transform(X)``, or those of `X` if
        `encoder_` is None. The built-in net takes any numeric dtype, or the coordinates that it gets of a sparse `X`; other nets
        take their own dtype, such as float32. It predicts positions in `classes_`. If the run was not trained by this fit
        in this process, the net is read when it is asked for, or trained again if it was not kept. A selector that was
        pickled in between has no rows to train on, and raises an AttributeError. Not defined if scores were passed to `fit`.
    n_epochs_ : int
        Number of epochs of the last run. Not defined if scores were passed to `fit`.

    See Also
    --------
    HeldOutCurveDisplay : Draws `held_out_curve_`.
    Pipeline : Applies the selection to X, y and weights while fitting, and not while predicting.
    select_rows : Selects rows by given scores.
    ForgettingRecorder : Records scores while you train a net yourself.

    Notes
    -----
    The models that have not seen a row are leave-one-out ridge regressions on standardized features and on random Fourier
    features, and a forest whose trees predict the rows that they were not trained on. They need a matrix of numbers. If `X` is
    none, such as a list of texts, the net alone tells what is suspect: a row whose margin is below minus the mean margin of its
    class. Nothing is tested then.

    References
    ----------
    .. [1] M. Toneva et al., "An Empirical Study of Example Forgetting during Deep Neural Network
       Learning", ICLR 2019. https://arxiv.org/abs/1812.05159
    .. [2] H. Zheng et al., "Coverage-centric Coreset Selection for High Pruning Rates", ICLR 2023.
       https://arxiv.org/abs/2210.15809

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skprune import ForgettingSelector
    >>> X, y = load_iris(return_X_y=True)
    >>> selector = ForgettingSelector(k=0.2, random_state=0)
    >>> X_kept, y_kept = selector.fit_resample(X, y)
    >>> X_kept.shape
    (30, 4)
    >>> selector.set_params(k=10).transform(X).shape
    (10, 4)
    """

    def __init__(
        self,
        estimator: NeuralNetClassifier | NeuralNetBinaryClassifier | None = None,
        *,
        k: float | str = "auto",
        strategy: Strategy = "coverage",
        judge: Any = None,
        judge_scoring: Any = None,
        encoder: Any = "auto",
        never_learned: str = "drop",
        tie_break: str = "margin",
        balance: bool = False,
        min_per_class: int = 5,
        record: str = "batch",
        n_runs: int = 1,
        n_jobs: int | None = None,
        memory: Any = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.k = k
        self.strategy = strategy
        self.judge = judge
        self.judge_scoring = judge_scoring
        self.encoder = encoder
        self.never_learned = never_learned
        self.tie_break = tie_break
        self.balance = balance
        self.min_per_class = min_per_class
        self.record = record
        self.n_runs = n_runs
        self.n_jobs = n_jobs
        self.memory = memory
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None, forgetting_scores: ScoresLike | None = None, **params: Any) -> Self:
        """Train the scoring net and record what it forgets.

        Parameters
        ----------
        X : {array-like, sparse matrix, DataFrame, tensor, dict of arrays, list, datasets.Dataset, torch Dataset} with \
                n_samples rows
            Training rows, in any form that the scoring net takes. The net gets the columns of a `datasets.Dataset` as a
            dict. If `X` is a torch Dataset, `y` replaces the labels in its samples, and its kept rows are a `Subset`.
            Floating-point features are cast to the dtype of the net, and so are integers unless the net has an
            embedding layer.
        y : array-like of shape (n_samples,)
            Class labels of any type.
        forgetting_scores : ForgettingScores or array-like of shape (n_samples,), default=None
            Scores computed elsewhere. If given, no net is trained.
        **params : dict
            Refused. An error says that `sample_weight` belongs to the classifier behind the selector.

        Returns
        -------
        self : ForgettingSelector
            Fitted selector.

        Raises
        ------
        ValueError
            If a parameter is out of its range; if `X`, `y` and the scores differ in length; if `y` is missing, continuous
            or has one class; if the built-in net gets nan, inf, images or texts; or if the loss of the net becomes nan.
        TypeError
            If `estimator` is not such a net of skorch, `X` has no length, the built-in net gets a dict or Dataset, or
            `params` are given.
        KeyboardInterrupt
            If the training is interrupted by Ctrl-C, or by a callback other than skorch's `EarlyStopping` and its
            subclasses. The selector is then not fitted.
        """
        refuse_params(params, type(self).__name__)
        for name in _FITTED:
            self.__dict__.pop(name, None)
        check_selection(**self._get_selecting())
        check_encoder(self.encoder)
        check_training(self.estimator, self.record, self.n_runs, self.judge, self.judge_scoring)
        y = check_labels(y, type(self).__name__)
        check_lengths(X, y)
        if is_matrix(X):
            validate_data(self, X, skip_check_array=True)  # sets the names and the number of features
        self._fitted_rows = FittedRows(X)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"{type(self).__name__} needs rows of at least two classes, got one class: {self.classes_.tolist()[0]!r}. A "
                "fold or a small sample of sorted or rare labels may have lost the others: shuffle or stratify the rows, as "
                "StratifiedKFold does, or start a halving search with more rows."
            )
        self._codes = codes.astype(np.int64)
        self._selection_seed, *seeds = self._draw_seeds().tolist()
        start = time.perf_counter()
        numbers, self.encoder_ = encode(self.encoder, X, y, self.estimator)
        check_lengths(numbers, y)
        if forgetting_scores is None:
            numbers, scores, recall = self._train(numbers, seeds)
        else:
            # Copied, because a recorder may go on.
            scores = copy.deepcopy(check_scores(forgetting_scores, len(y)))
            recall = _call
        held_out = self._held_out = self._ask_models(numbers, X, y, scores.margins, recall)
        suspects = held_out.suspects(scores.margins, self._codes)
        scores = self._scores = scores.with_held_out(held_out.trust(scores.margins), suspects, held_out.attainable)
        self._selected()
        self.margins_, self.trust_, self.suspects_ = scores.margins, scores.trust, scores.suspects
        self.never_learned_, self.first_learned_ = scores.never_learned, scores.first_learned
        self.label_noise_, self.likely_labels_ = held_out.label_noise, self.classes_[held_out.likely]
        for name in ("margins_", "trust_", "suspects_", "never_learned_", "first_learned_", "likely_labels_"):
            getattr(self, name).flags.writeable = False
        if self.verbose:
            seconds = time.perf_counter() - start
            print(f"[{type(self).__name__}] {summarise(scores, seconds)}; {held_out.describe()}")
        return self

    def transform(self, X: Any) -> Any:
        """Return the kept rows.

        Parameters
        ----------
        X : container with n_samples rows
            The rows passed to `fit`, in the same order and in any representation.

        Returns
        -------
        X_kept : same type as `X`
            The kept rows in their original order.

        Raises
        ------
        ValueError
            If `X` does not contain the rows passed to `fit`: if their number differs, or if they are in the same
            representation, with as many columns, and have other values or names of features. Missing values are not compared.
            Also if a parameter was set out of its range.
        sklearn.exceptions.NotFittedError
            If the selector is not fitted.
        """
        check_is_fitted(self)
        if self._fitted_rows.check(X) and is_matrix(X):
            validate_data(self, X, reset=False, skip_check_array=True)  # names of features
        return take_rows(X, self._selected())

    def fit_resample(
        self, X: Any, y: Any, forgetting_scores: ScoresLike | None = None, **params: Any
    ) -> tuple[Any, Any]:
        """Fit to the data and return the kept rows with their labels.

        Parameters
        ----------
        X, y, forgetting_scores, **params : see :meth:`fit`
            Training rows, their class labels and, optionally, scores computed elsewhere. `params` are refused.

        Returns
        -------
        X_kept : same type as `X`
            The kept rows in their original order.
        y_kept : same type as `y`
            Their labels.

        Raises
        ------
        ValueError, TypeError, KeyboardInterrupt
            As in :meth:`fit`.
        """
        rows = self.fit(X, y, forgetting_scores=forgetting_scores, **params)._selected()
        return take_rows(X, rows), take_rows(y, rows)

    def get_support(self, indices: bool = False) -> NDArray[Any]:
        """Return a mask, or the numbers, of the rows that are kept.

        Parameters
        ----------
        indices : bool, default=False
            If True, return row numbers instead of a mask.

        Returns
        -------
        support : ndarray of shape (n_samples,), bool, or (n_kept,), int64
            Mask, or row numbers in ascending order. A `datasets.Dataset` needs row numbers,
            ``dataset.select(selector.get_support(indices=True))``. It takes True and False for the numbers 1 and 0.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the selector is not fitted.
        """
        check_is_fitted(self)
        rows = self._selected()
        return rows.copy() if indices else np.isin(np.arange(len(self._scores)), rows)

    @available_if(_may_have_features)
    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray[Any]:
        """Return the names of the features, which do not change.

        Not defined if `X` was not two-dimensional, so that `set_output` does not turn kept images or texts into a
        DataFrame.

        Parameters
        ----------
        input_features : array-like of str of shape (n_features,), default=None
            Names of the input features. If None, `feature_names_in_` is used, or x0, x1 and so on.

        Returns
        -------
        names : ndarray of shape (n_features,), object
        """
        return super().get_feature_names_out(input_features)

    margins_: NDArray[np.float64]
    trust_: NDArray[np.float64]
    suspects_: NDArray[np.bool_]
    never_learned_: NDArray[np.bool_]
    first_learned_: NDArray[np.float64]
    label_noise_: float
    likely_labels_: NDArray[Any]

    @property
    def forgetting_scores_(self) -> NDArray[np.int64]:
        check_is_fitted(self)
        return forgetting_counts(self._scores, self.never_learned)

    @property
    def held_out_curve_(self) -> Bunch:
        check_is_fitted(self)
        self._held_out = self._held_out.with_test()
        test = self._held_out.test
        shares, scores, errors = np.zeros((3, 0)) if test is None else test.curve.copy()
        return Bunch(shares=shares, scores=scores, errors=errors)

    @property
    def estimator_(self) -> NeuralNetClassifier | NeuralNetBinaryClassifier:
        if "_net" not in vars(self):
            raise AttributeError(f"{type(self).__name__!r} has no attribute 'estimator_': it has trained no net")
        return self._net.get()

    def label_issues(self, X: Any = None, y: Any = None) -> Any:
        """Return a table of the suspects, the least trusted first.

        Parameters
        ----------
        X : container with n_samples rows, default=None
            The rows passed to `fit`, in any representation, but no torch Dataset. Their columns and their index are added to the
            table. Of a dict of arrays, only those with one dimension are. Other entries, such as pictures, become one column "x".
        y : array-like of shape (n_samples,), default=None
            Labels to show instead of those passed to `fit`: one name for all rows of a class.

        Returns
        -------
        issues : pandas.DataFrame of shape (n_suspects, n_columns)
            With the columns "row", the row number, "label", "likely_label", "trust", in [-1, 1], and those of `X`. There are no
            likely labels of other classes if `X` had no numeric features.

        Raises
        ------
        ImportError
            If pandas is not installed.
        ValueError
            If `X` contains other rows than those passed to `fit`, or `y` has another length or several names for a class.
        TypeError
            If `X` is a torch Dataset.
        """
        check_is_fitted(self)
        if X is not None:
            self._fitted_rows.check(X)
        names = self.classes_ if y is None else names_of_classes(y, self._codes)
        rows = np.flatnonzero(self.suspects_)
        return make_table(rows, names[self._codes], names[self._held_out.likely], self._scores.trust, X)

    # Of selectors that were not cloned, and are no clones. All are set by __sklearn_clone__.
    _lineage: Lineage | None = None
    _entropy: int | None = None
    _is_drawn = False

    def __sklearn_clone__(self) -> Self:
        self.__dict__.setdefault("_lineage", Lineage())
        if self.random_state is None and self._entropy is None:
            self._entropy, self._is_drawn = np.random.randint(2**31), True
        clone = super().__sklearn_clone__()
        clone._lineage = self._lineage
        if self.random_state is None:
            clone._entropy, clone._is_drawn = self._entropy, True
        return clone

    def _draw_seeds(self):
        """Return seeds for the selection and each run. The first fit of a clone uses the number that its original drew."""
        random_state = self.random_state
        if random_state is None:
            random_state = self._entropy = self._entropy if self._is_drawn else np.random.randint(2**31)
            self._is_drawn = False
        return check_random_state(random_state).randint(2**31, size=1 + self.n_runs)

    @property
    def _sampling_type(self):
        # The ensembles of imbalanced-learn ask for this first.
        raise AttributeError(
            f"{type(self).__name__} is no sampler for the ensembles of imbalanced-learn: these put it into a Pipeline that "
            "refuses steps with both transform and fit_resample. Use a skprune.Pipeline of the selector and a classifier as "
            "estimator, as in BalancedBaggingClassifier(make_pipeline(ForgettingSelector(), DecisionTreeClassifier())), or wrap "
            "the selector in a FunctionSampler to replace the sampler."
        )

    def __sklearn_is_fitted__(self):
        return hasattr(self, "_selection")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        if hasattr(self.encoder, "__sklearn_tags__"):
            tags.input_tags = get_tags(self.encoder).input_tags
            return tags
        tags.input_tags.sparse = True
        tags.input_tags.string = tags.input_tags.categorical = self.encoder is not None
        tags.input_tags.allow_nan = self.encoder is not None and self.estimator is None
        return tags

    def _train(self, X, seeds):
        """Train the net on encoded rows; return these as the net got them, its scores, and what stores further results."""
        net = self.estimator
        if net is None:
            check_is_matrix(X)
            check_columns(X)
            X = check_array(checkable(X), accept_sparse="csr", ensure_min_samples=2, estimator=self, input_name="X")
            X = reduce_sparse(X) if sparse.issparse(X) else X
            net = make_default_net(X, len(self.classes_))
        # Without clones and without a seed, no other fit can use the runs.
        is_stored = self._lineage is not None or self.random_state is not None
        store = find_store(self.memory, self._lineage) if is_stored else None
        how = {"record": self.record, "store": store, "n_jobs": self.n_jobs, "progress": self.verbose > 1}
        scores, self._net, self.n_epochs_, recall = score_runs(net, X, self._codes, seeds=seeds, **how)
        return X, scores, recall

    def _ask_models(self, numbers, X, y, margins, recall):
        """Return what models say that have not seen the rows, and let the judge have the last word."""
        same_features = self.estimator is None
        held_out = recall("held out", lambda: hold_out(numbers, self._codes, margins, same_features=same_features))
        self._judge = None
        if self.judge is not None or self._compares_rules():
            held_out = held_out.with_test(recall)
        if self.judge is None or held_out.sample is None or np.isnan(held_out.label_noise):
            return held_out
        rows = held_out.sample.rows
        judge = self._judge = Judge(self.judge, self.judge_scoring, take_rows(X, rows), y[rows])
        share, curve = recall(judge, lambda: judge.find_share(held_out))
        return held_out._replace(label_noise=share, test=held_out.test._replace(curve=curve))

    def _resample_fitted(self, X, y):
        """Return the kept rows of X and y, without a fit; raise if they are others than those passed to `fit`."""
        X_kept = self.transform(X)
        if y is None:
            return X_kept, None
        check_same_labels(check_labels(y, type(self).__name__), self.classes_, self._codes)
        return X_kept, take_rows(y, self._selected())

    def _get_selecting(self):
        return {name: getattr(self, name) for name in _SELECTING}

    def _selected(self):
        """Return the numbers of the kept rows, selected again if a parameter has changed since."""
        params = self._get_selecting()
        check_selection(**params)
        # Types tell 1, one row, from 1.0, all of them. Their names can be pickled.
        key = [(type(value).__name__, value) for value in params.values()]
        if getattr(self, "_selection", (None,))[0] != key:
            if self.k == "auto" and np.isnan(self._held_out.label_noise):
                warn(
                    f"All rows are kept, because {self._held_out.reason}. Give the number or share of rows to keep as k."
                )
            about = {"classes": self.classes_.tolist(), "codes": self._codes, "random_state": self._selection_seed}
            self._selection = key, select(self._scores, **about, **params, rule=self._choose_rule())
        return self._selection[1]

    def _compares_rules(self):
        return self.strategy == "coverage" and self.k != "auto"

    def _choose_rule(self):
        if not self._compares_rules() or self._held_out.sample is None:
            return UNTESTED_RULE
        self._held_out = self._held_out.with_test()
        share = count_kept(self.k, len(self._codes)) / len(self._codes)
        how = {"share": share, "balance": self.balance, "min_per_class": self.min_per_class}
        rule = best_rule(self._held_out, **how)
        return rule if self._judge is None else self._judge.check_rule(rule, self._held_out, **how)


def _call(inputs, function):
    return function()
