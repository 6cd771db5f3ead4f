"""ForgettingSelector: parameters in, kept rows out."""

import copy
import numbers
import time
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import check_array, check_random_state, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data
from skorch import NeuralNetClassifier

from skprune._batches import check_columns
from skprune._checks import check_is_matrix, check_labels, check_rows, checkable, is_matrix
from skprune._default_net import make_default_net
from skprune._encoding import check_encoder, encode
from skprune._held_out import consult, reduce_sparse
from skprune._rows import count_rows, is_numeric, take_rows
from skprune._scores import ScoresLike, as_scores
from skprune._scoring import score_runs, summarise
from skprune._selection import Strategy, check_choice, check_selection, forgetting_counts, select_rows


def _may_have_features(selector):
    return not hasattr(selector, "_scores") or hasattr(selector, "n_features_in_")


class ForgettingSelector(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Select training rows by what a neural net forgets while it learns.

    A scoring net is trained on all rows. A forgetting event happens when the net misclassifies a row that it classified
    correctly in the previous epoch [1]_. Rows that are never forgotten are often redundant. `k`, `strategy`, `balance`,
    `never_learned` and `tie_break` are read when rows are selected. After ``set_params``, a fitted selector uses their
    new values without training again.

    Parameters
    ----------
    estimator : NeuralNetClassifier, default=None
        The scoring net, a skorch `NeuralNetClassifier` or subclass. A clone of it is trained on every row. Its own
        validation split is switched off unless it is a predefined set. If None, a small multilayer perceptron that
        standardizes its input is used. It requires `X`, once encoded, to be two-dimensional and numeric. If `X` is sparse
        and has more than 100 columns, the net gets its coordinates along at most 100 singular vectors.
    k : float in (0, 1] or int >= 1, default=0.5
        How much to keep. If float, the share of rows, rounded up by the decimal digits of `k`: 0.55 of 100 rows are 55,
        and 1.0 keeps all. If int, the number of rows; 1 keeps one.
    strategy : {"coverage", "most_forgotten", "least_forgotten", "random"} or callable, default="coverage"
        Which rows are kept first. ``"coverage"`` keeps rows of every difficulty, after [2]_, and drops suspects first.
        The number of hard rows is chosen in `fit`: ridge regressions are trained on the rows that several rules keep,
        and tested on held-out rows. A fixed rule is used instead if `X`, once encoded, contains texts, nan or inf, or is
        a dict or a Dataset; if it has fewer than 30 rows; if 1,000 of its dense rows, or all if there are fewer, have more than
        ``2**24`` numbers; or if the training accuracy of `estimator` is more than 15 points above that of the regressions.
        ``"most_forgotten"`` and ``"least_forgotten"`` rank rows by their counts, and ``"random"`` draws them. A callable
        is called as ``strategy(scores, n_keep, rng)`` with a :class:`ForgettingScores`, an int and a
        `numpy.random.Generator`. It must return `n_keep` different row numbers.
    encoder : "auto", transformer or None, default="auto"
        What turns `X` into numbers for the scoring net and for the held-out regressions. The rows that are kept stay as
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
        Whether to keep the same share of every class. The total is still exact.
    record : {"batch", "epoch"}, default="batch"
        ``"batch"`` uses the predictions that training makes anyway, before each update, without an extra forward
        pass. ``"epoch"`` predicts all rows in evaluation mode at the end of each epoch.
    n_runs : int, default=1
        Number of independent runs, whose counts are summed; [1]_ uses 5. Each run initializes the weights again. If the
        `module` of the net is an instance, all runs start from the weights that it has, and a warning says so.
    n_jobs : int, default=None
        Number of runs to train in parallel with joblib, on the backend that joblib is set to. If a worker might train
        another net than this process has, the run is trained here, with a warning.
    memory : joblib.Memory, str or path-like, default=None
        Folder in which trained runs are stored, so that a search over the parameters that select rows trains each run
        once. If None, the last runs of this process are kept in memory, 16 MB at most. ``joblib.Memory(None)`` keeps
        none. A run is identified by the net, its code, the data, the seed and `record`. In doubt, it is trained again.
    random_state : int, RandomState instance or None, default=None
        Seed for training and random draws. Pass an int for reproducible results. If None, every fit trains the net
        again, and `memory` is not used.
    verbose : int, default=0
        If 1, print one line after training: rows, runs, epochs, seconds, training accuracy in the last epoch, and the
        shares of rows that were forgotten at least once, were never learned, or are suspects. If 2, also show bars.

    Attributes
    ----------
    forgetting_scores_ : ndarray of shape (n_samples,), int64
        Forgetting events summed over runs, with `never_learned` applied, or the scores passed to `fit`.
    margins_ : ndarray of shape (n_samples,), float64
        Probability of the row's class minus the largest other one, averaged over presentations and runs, in [-1, 1].
        If it is negative, the net disagrees with the label on average. nan if `fit` was given scores without margins.
    suspects_ : ndarray of shape (n_samples,), bool
        Whether the label of a row is probably wrong, by the rule in the notes of :class:`ForgettingScores`.
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
    estimator_ : NeuralNetClassifier
        Trained scoring net of the last run. It takes encoded features, ``encoder_.transform(X)``, or those of `X` if
        `encoder_` is None. They have the dtype of the net, such as float32, or are the coordinates that the built-in net
        gets of a sparse `X`. It predicts positions in `classes_`. If the run was not trained by this fit
        in this process, the net is rebuilt from its weights and history, without optimizer and callback state. Not
        defined if scores were passed to `fit`.
    n_epochs_ : int
        Number of epochs of the last run. Not defined if scores were passed to `fit`.

    See Also
    --------
    Pipeline : Applies the selection to X, y and weights while fitting, and not while predicting.
    select_rows : Selects rows by given scores.
    ForgettingRecorder : Records scores while you train a net yourself.

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
        estimator: NeuralNetClassifier | None = None,
        *,
        k: float = 0.5,
        strategy: Strategy = "coverage",
        encoder: Any = "auto",
        never_learned: str = "drop",
        tie_break: str = "margin",
        balance: bool = False,
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
        self.encoder = encoder
        self.never_learned = never_learned
        self.tie_break = tie_break
        self.balance = balance
        self.record = record
        self.n_runs = n_runs
        self.n_jobs = n_jobs
        self.memory = memory
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None, forgetting_scores: ScoresLike | None = None) -> Self:
        """Train the scoring net and record what it forgets.

        Parameters
        ----------
        X : {array-like, sparse matrix, DataFrame, pyarrow Table, tensor, dict of arrays, list, datasets.Dataset, \
                torch Dataset} with n_samples rows
            Training rows, in any form that the scoring net takes, or that `encoder` turns into one. The net gets the
            columns of a `datasets.Dataset` as a dict. If `X` is a torch Dataset, `y` replaces the labels in its samples,
            and its kept rows are a `Subset`. Floating-point features are cast to the dtype of the net, and so are
            integers unless the net has an embedding layer.
        y : array-like of shape (n_samples,)
            Class labels of any type.
        forgetting_scores : ForgettingScores or array-like of shape (n_samples,), default=None
            Scores computed elsewhere. If given, no net is trained.

        Returns
        -------
        self : ForgettingSelector
            Fitted selector.

        Raises
        ------
        ValueError
            If a parameter is out of its range; if `X`, `y` and the scores differ in length; if `y` is missing, continuous
            or has one class; if the built-in net gets inf, images or texts; or if the loss of the net becomes nan.
        TypeError
            If `estimator` is not a skorch `NeuralNetClassifier`; if `X` has no length, or a column that can't be encoded; or
            if the built-in net gets a dict or Dataset.
        ImportError
            If `X` has columns to encode, and skrub is not installed.
        KeyboardInterrupt
            If the training is interrupted by Ctrl-C, or by a callback other than skorch's `EarlyStopping` and its
            subclasses. The selector is then not fitted.
        """
        for name in (
            "_scores",
            "classes_",
            "encoder_",
            "estimator_",
            "n_epochs_",
            "n_features_in_",
            "feature_names_in_",
        ):
            self.__dict__.pop(name, None)
        self._check_parameters()
        y = check_labels(y, type(self).__name__)
        self._check_rows(X, y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"{type(self).__name__} needs rows of at least two classes, got one class: {self.classes_[0]!r}."
            )
        selection_seed, *seeds = check_random_state(self.random_state).randint(2**31, size=1 + self.n_runs)
        codes = codes.astype(np.int64)
        encoded, self.encoder_ = encode(self.encoder, X, y, self.estimator)
        if forgetting_scores is None:
            scores = self._train(self._check_encoded(encoded, y), codes, seeds)
        else:
            scores = self._given(forgetting_scores, encoded, codes)
        self._codes, self._selection_seed = codes, int(selection_seed)
        self._has_features = is_matrix(X) and is_numeric(X)
        self._scores = scores
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
            If the number of rows differs from that in `fit`; if the number of features does and both are numeric; or
            if a parameter was set out of its range.
        sklearn.exceptions.NotFittedError
            If the selector is not fitted.
        """
        check_is_fitted(self)
        n_rows = count_rows(X)
        if n_rows != len(self._scores):
            raise ValueError(
                f"X has {n_rows} rows, but {type(self).__name__} was fitted with {len(self._scores)}. transform expects the rows "
                "passed to fit, in the same order, and returns those that are kept. To drop rows while fitting but not while "
                "predicting, make the selector a step of skprune.Pipeline; pipe.without_selection()[:-1].transform(X) then "
                "returns what its last step gets. Reshape your data with X.reshape(1, -1) if X is a single row."
            )
        if self._has_features and is_matrix(X) and is_numeric(X):
            validate_data(self, X, reset=False, skip_check_array=True)
        return take_rows(X, self._selected())

    def fit_resample(self, X: Any, y: Any, forgetting_scores: ScoresLike | None = None) -> tuple[Any, Any]:
        """Fit to the data and return the kept rows with their labels.

        Parameters
        ----------
        X, y, forgetting_scores : see :meth:`fit`
            Training rows, their class labels and, optionally, scores computed elsewhere.

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
        rows = self.fit(X, y, forgetting_scores=forgetting_scores)._selected()
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
            Mask, or row numbers in ascending order.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the selector is not fitted.
        """
        check_is_fitted(self)
        rows = self._selected()
        mask = np.zeros(len(self._scores), dtype=bool)
        mask[rows] = True
        return rows if indices else mask

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

    @property
    def forgetting_scores_(self) -> NDArray[np.int64]:
        check_is_fitted(self)
        return forgetting_counts(self._scores, self.never_learned)

    @property
    def margins_(self) -> NDArray[np.float64]:
        check_is_fitted(self)
        return self._scores.margins

    @property
    def suspects_(self) -> NDArray[np.bool_]:
        check_is_fitted(self)
        return self._scores.suspects

    @property
    def never_learned_(self) -> NDArray[np.bool_]:
        check_is_fitted(self)
        return self._scores.never_learned

    @property
    def first_learned_(self) -> NDArray[np.float64]:
        check_is_fitted(self)
        return self._scores.first_learned

    def __sklearn_is_fitted__(self):
        return hasattr(self, "_scores")

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

    def _check_parameters(self):
        check_selection(self.k, self.strategy, self.never_learned, self.tie_break, self.balance)
        check_encoder(self.encoder)
        check_choice("record", self.record, ("batch", "epoch"))
        if isinstance(self.n_runs, bool) or not isinstance(self.n_runs, numbers.Integral) or self.n_runs < 1:
            raise ValueError(f"n_runs must be an int >= 1; got {self.n_runs!r}.")
        if self.estimator is not None and not isinstance(self.estimator, NeuralNetClassifier):
            raise TypeError(
                "estimator must be a skorch NeuralNetClassifier, which trains in epochs, or None for the built-in net; got "
                f"{self.estimator!r}. To train another classifier on the kept rows, make it the step after the selector."
            )

    def _check_rows(self, X, y):
        check_rows(X, y)
        if is_matrix(X):
            validate_data(self, X, skip_check_array=True)  # sets the names and the number of features

    def _check_encoded(self, X, y):
        """Return encoded rows as the net gets them, after the checks that the built-in net needs."""
        if self.encoder_ is not None:
            check_rows(X, y)
        if self.estimator is not None:
            return X
        check_is_matrix(X)
        check_columns(X)
        return check_array(checkable(X), accept_sparse="csr", ensure_min_samples=2, estimator=self, input_name="X")

    def _given(self, forgetting_scores, X, y):
        scores = as_scores(forgetting_scores)
        if len(scores) != len(y):
            raise ValueError(
                f"forgetting_scores has {len(scores)} entries for {len(y)} rows. Cross-validation splits an array along with X, "
                "but not a ForgettingScores: pass its events, or fit on the rows that were scored."
            )
        scores = copy.deepcopy(scores)
        return consult(scores, X, y) if scores.ratings is None else scores

    def _train(self, X, y, seeds):
        start = time.perf_counter()
        net = self.estimator
        if net is None:
            X = reduce_sparse(X) if sparse.issparse(X) else X
            net = make_default_net(X, len(self.classes_))
        how = {"record": self.record, "recalls": self.random_state is not None, "progress": self.verbose > 1}
        scores, self.estimator_, self.n_epochs_ = score_runs(
            net, X, y, seeds=seeds, n_jobs=self.n_jobs, memory=self.memory, **how
        )
        if self.verbose:
            print(f"[{type(self).__name__}] {summarise(scores, time.perf_counter() - start)}")
        return scores

    def _selected(self):
        how = {name: getattr(self, name) for name in ("strategy", "never_learned", "tie_break", "balance")}
        return select_rows(self._scores, self.k, y=self._codes, random_state=self._selection_seed, **how)
