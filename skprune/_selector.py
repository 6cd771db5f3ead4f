"""ForgettingSelector: parameters in, kept rows out."""

import copy
import numbers
import time
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import assert_all_finite, check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data
from skorch import NeuralNetClassifier

from skprune._batches import check_columns
from skprune._checks import check_is_matrix, check_labels, check_rows, checkable, is_matrix
from skprune._default_net import make_default_net
from skprune._held_out import consult, reduce_sparse
from skprune._rows import count_rows, is_numeric, take_rows
from skprune._scores import ScoresLike, as_scores
from skprune._scoring import score_runs, summarise
from skprune._selection import Strategy, check_choice, check_selection, forgetting_counts, select_rows


def _may_have_features(selector):
    return not hasattr(selector, "_scores") or hasattr(selector, "n_features_in_")


class ForgettingSelector(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Keep the training rows that a neural net forgets most often while it learns.

    A scoring net is trained on all rows. A forgetting event of a row is a presentation at which the net predicts
    it wrongly after having predicted it correctly at the one before [1]_. Rows that are never forgotten can
    often be dropped without loss. `k`, `strategy`, `balance`, `never_learned` and `tie_break` are read when
    rows are selected, so that a fitted selector takes new ones by ``set_params`` without training.

    Parameters
    ----------
    estimator : NeuralNetClassifier, default=None
        The scoring net, a skorch `NeuralNetClassifier` or subclass. It is cloned and never changed, and trained
        on every row: its own validation split is off unless that is a predefined set. None takes a small
        multilayer perceptron that standardises its input, for two-dimensional numeric `X`.
    k : float in (0, 1] or int >= 1, default=0.5
        How much to keep: a float is a share, ``ceil(k * n_samples)`` rows, an int a number of rows. 1 is one
        row, 1.0 all of them.
    strategy : {"coverage", "most_forgotten", "least_forgotten", "random"} or callable, default="coverage"
        Which rows are kept first. ``"coverage"`` keeps rows of every difficulty, after [2]_, and suspects last. How many
        hard rows it keeps is chosen in `fit`: ridge regressions are trained on what several rules keep, and tested on
        rows that they have not seen. This needs `X` as an array of numbers of any rank, a DataFrame of numbers or a
        sparse matrix. For other containers, such as lists of texts, a fixed mixture is kept.
        ``"most_forgotten"`` and ``"least_forgotten"`` rank by the counts, ``"random"`` draws. A callable ``(scores:
        ForgettingScores, n_keep: int, rng: numpy.random.Generator) -> row numbers`` returns `n_keep` different ones.
    never_learned : {"drop", "count", "max"}, default="drop"
        Where rows rank that were never predicted correctly: after every learned row (`"drop"`), by their
        events, which are none (`"count"`), or as forgotten once an epoch (`"max"`), as in [1]_.
    tie_break : {"margin", "random"}, default="margin"
        How rows with equal counts rank: by mean margin, the smallest first where the most forgotten are kept,
        or by a seeded draw. Never by position.
    balance : bool, default=False
        Keep the same share of every class; the total is still exact.
    record : {"batch", "epoch"}, default="batch"
        ``"batch"`` uses the predictions that training makes anyway, before each update, at no extra forward
        pass. ``"epoch"`` predicts all rows in evaluation mode at the end of each epoch.
    n_runs : int, default=1
        Independent runs whose counts are summed; [1]_ uses 5. Each run initializes its weights anew. A `module` that is
        an instance keeps the weights that it has, so that all runs start from them, with a warning.
    n_jobs : int, default=None
        Runs at the same time, through joblib and whatever backend it is set to.
    memory : joblib.Memory, str or path-like, default=None
        A folder in which trained runs are kept, so that no search over the parameters that select rows trains a run
        twice. None keeps the last runs of this process, 16 MB at most; ``joblib.Memory(None)`` keeps none. A run is
        found again by the net with its code, the data, the seed, `record` and the versions of the libraries. Code of
        installed packages counts by their version. Where it is unsure whether a net is the same, it is trained again.
    random_state : int, RandomState instance or None, default=None
        Seed of trainings and draws. With an int, a fit repeats bit for bit. With None every fit trains anew, whatever
        `memory` is.
    verbose : int, default=0
        1 prints a line of summary after training: rows, runs, epochs, seconds, training accuracy of the last
        epoch, and the shares of rows that were ever forgotten, never learned, and suspects.
        2 shows bars for runs and epochs as well.

    Attributes
    ----------
    forgetting_scores_ : ndarray of shape (n_samples,), int64
        Forgetting events summed over runs, with `never_learned` applied; or the scores that `fit` was given.
    margins_ : ndarray of shape (n_samples,), float64
        Probability of a row's own class minus the largest other one, averaged over presentations and runs, in
        [-1, 1]. Below 0 the net disagrees with the label on average. nan for given scores without margins.
    suspects_ : ndarray of shape (n_samples,), bool
        Rows whose label is probably wrong, by a rule that is calibrated on the data; see :class:`ForgettingScores`.
    never_learned_ : ndarray of shape (n_samples,), bool
        Rows that were predicted correctly in no run.
    first_learned_ : ndarray of shape (n_samples,), float64
        Epoch, counted from 1, of the first correct prediction, averaged over the runs with one; nan where
        never.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    n_features_in_ : int
        Number of features, where `X` is two-dimensional.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features, where `X` has them and all are strings.
    estimator_ : NeuralNetClassifier
        The trained scoring net of the last run. It takes features of its own dtype, such as float32, and predicts
        class numbers, positions in `classes_`. Rebuilt of weights and history, without the state of its optimizer and
        callbacks, where the run was not trained by this fit in this process. Not there after a fit with given scores.
    n_epochs_ : int
        Number of epochs of the last run. Not there after a fit with given scores.

    See Also
    --------
    Pipeline : Applies the selection to X, y and weights while fitting, and not while predicting.
    select_rows : The selection by itself.
    ForgettingRecorder : The recording by itself.

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
        X : {array-like, sparse matrix, DataFrame, tensor, dict of arrays, list, datasets.Dataset, torch Dataset} with \
                n_samples rows
            Training rows; whatever the scoring net takes, the columns of a `datasets.Dataset` as the values of a dict.
            Labels in the samples of a torch Dataset give way to `y`, and its kept rows are a `Subset`.
            Floating features are cast to the net's dtype, and integer ones too unless the net looks them up in
            an embedding.
        y : array-like of shape (n_samples,)
            Class labels of any type.
        forgetting_scores : ForgettingScores or array-like of shape (n_samples,), default=None
            Scores computed elsewhere. Nothing is trained then.

        Returns
        -------
        self : ForgettingSelector

        Raises
        ------
        ValueError
            If a parameter is out of its range, `X`, `y` and scores differ in length, `y` is missing, continuous
            or of one class, or the net's loss becomes nan.
        KeyboardInterrupt
            If the training is interrupted, by Ctrl-C or by a callback other than skorch's `EarlyStopping` and its
            subclasses, which end it as usual. The selector is not fitted then.
        """
        for name in ("_scores", "classes_", "estimator_", "n_epochs_", "n_features_in_", "feature_names_in_"):
            self.__dict__.pop(name, None)
        self._check_parameters()
        y = check_labels(y, type(self).__name__)
        X = self._check_X(X, y, trains=forgetting_scores is None)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"{type(self).__name__} needs rows of at least two classes, got one class: {self.classes_[0]!r}."
            )
        random_state = check_random_state(self.random_state)
        selection_seed, *seeds = random_state.randint(2**31, size=1 + self.n_runs)
        codes = codes.astype(np.int64)
        given = forgetting_scores is not None
        scores = self._given(forgetting_scores, X, codes) if given else self._train(X, codes, seeds)
        self._codes, self._selection_seed = codes, int(selection_seed)
        self._has_features = is_matrix(X) and is_numeric(X)
        self._scores = scores
        return self

    def transform(self, X: Any) -> Any:
        """Return the kept rows.

        Parameters
        ----------
        X : container with n_samples rows
            The fitted rows, in their order, in any representation.

        Returns
        -------
        X_kept : same type as `X`
            The kept rows in their original order.

        Raises
        ------
        ValueError
            If `X` has another number of rows than the fitted one, or of features where both are tables of numbers.
        """
        check_is_fitted(self)
        n_rows = count_rows(X)
        if n_rows != len(self._scores):
            raise ValueError(
                f"X has {n_rows} rows, but {type(self).__name__} was fitted with {len(self._scores)}: transform returns the "
                "kept ones of the fitted rows, given in the same order. To leave rows out while fitting and none while "
                "predicting, make the selector a step of skprune.Pipeline, and see what its last step sees by "
                "pipe.without_selection()[:-1].transform(X). If X is a single row, Reshape your data with X.reshape(1, -1)."
            )
        if self._has_features and is_matrix(X) and is_numeric(X):
            validate_data(self, X, reset=False, skip_check_array=True)
            if self.estimator is None and getattr(getattr(X, "dtype", None), "kind", "") == "f":
                assert_all_finite(checkable(X), input_name="X")  # as in fit
        return take_rows(X, self._selected())

    def fit_resample(self, X: Any, y: Any, forgetting_scores: ScoresLike | None = None) -> tuple[Any, Any]:
        """Fit and return the kept rows with their labels.

        Parameters
        ----------
        X, y, forgetting_scores : as in :meth:`fit`

        Returns
        -------
        X_kept : same type as `X`
        y_kept : same type as `y`
        """
        rows = self.fit(X, y, forgetting_scores=forgetting_scores)._selected()
        return take_rows(X, rows), take_rows(y, rows)

    def get_support(self, indices: bool = False) -> NDArray[Any]:
        """Return which rows are kept.

        Parameters
        ----------
        indices : bool, default=False
            Return row numbers instead of a mask.

        Returns
        -------
        support : ndarray of shape (n_samples,), bool, or (n_kept,), int64
            Row numbers are ascending.
        """
        check_is_fitted(self)
        rows = self._selected()
        if indices:
            return rows
        mask = np.zeros(len(self._scores), dtype=bool)
        mask[rows] = True
        return mask

    @available_if(_may_have_features)
    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray[Any]:
        """Return the names of the features, which stay as they are.

        Not there where `X` was not two-dimensional, so that kept pictures or texts become no DataFrame by
        `set_output`.

        Parameters
        ----------
        input_features : array-like of str of shape (n_features,), default=None
            Names; None takes `feature_names_in_`, or x0, x1 and so on.

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
        tags.input_tags.sparse = True
        return tags

    def _check_parameters(self):
        check_selection(self.k, self.strategy, self.never_learned, self.tie_break, self.balance)
        check_choice("record", self.record, ("batch", "epoch"))
        if isinstance(self.n_runs, bool) or not isinstance(self.n_runs, numbers.Integral) or self.n_runs < 1:
            raise ValueError(f"n_runs must be an int >= 1; got {self.n_runs!r}.")
        if self.estimator is not None and not isinstance(self.estimator, NeuralNetClassifier):
            raise TypeError(
                "estimator must be a skorch NeuralNetClassifier, which trains in epochs, or None for the built-in net; got "
                f"{self.estimator!r}. Any classifier can use the kept rows: make it the step behind the selector."
            )

    def _check_X(self, X, y, trains):
        check_rows(X, y)
        if self.estimator is None and trains:
            check_is_matrix(X)
            check_columns(X)
            X = validate_data(self, checkable(X), accept_sparse="csr", ensure_min_samples=2)
        elif is_matrix(X):
            validate_data(self, X, skip_check_array=True)
        return X

    def _given(self, forgetting_scores, X, y):
        scores = as_scores(forgetting_scores)
        n_rows = len(y)
        if len(scores) != n_rows:
            raise ValueError(
                f"forgetting_scores has {len(scores)} entries for {n_rows} rows. In cross-validation an array is cut with the "
                "rows, a ForgettingScores is not: pass its events, or fit on the rows that were scored."
            )
        scores = copy.deepcopy(scores)
        return consult(scores, X, y) if scores.ratings is None else scores

    def _train(self, X, y, seeds):
        start = time.perf_counter()
        if self.estimator is None:
            X = reduce_sparse(X) if sparse.issparse(X) else X
            net = make_default_net(X, len(self.classes_))
        else:
            net = self.estimator
        scores, self.estimator_, self.n_epochs_ = score_runs(
            net,
            X,
            y,
            record=self.record,
            seeds=seeds,
            recalls=self.random_state is not None,
            n_jobs=self.n_jobs,
            memory=self.memory,
            progress=self.verbose > 1,
        )
        if self.verbose:
            print(f"[{type(self).__name__}] {summarise(scores, time.perf_counter() - start)}")
        return scores

    def _selected(self):
        return select_rows(
            self._scores,
            self.k,
            y=self._codes,
            strategy=self.strategy,
            never_learned=self.never_learned,
            tie_break=self.tie_break,
            balance=self.balance,
            random_state=self._selection_seed,
        )
