"""A scikit-learn Pipeline in which steps may select rows while fitting."""

from collections.abc import Callable
from functools import update_wrapper
from typing import Any, Self, TypeVar

import sklearn.pipeline
from numpy.typing import NDArray
from sklearn import get_config
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils.metadata_routing import get_routing_for_object, process_routing
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_memory

from skprune._cache import is_off, recall
from skprune._callbacks import subtask, task_of, with_callbacks
from skprune._rows import row_wise
from skprune._steps import (
    can_fit_resample,
    can_fit_transform,
    can_inverse_transform,
    can_transform,
    check_order,
    check_steps,
    combine,
    fit_resample,
    kept_rows,
    last_step_has,
    parts_of,
    resample_fitted,
    selects,
    take_kept,
)

_Method = TypeVar("_Method", bound=Callable[..., Any])


def _documented_as_inherited(method: _Method) -> _Method:
    inherited = getattr(sklearn.pipeline.Pipeline, method.__name__)
    update_wrapper(method, getattr(inherited, "__wrapped__", inherited))
    return method


def _passed_over(step):
    """Return a step that does not select rows. For a Pipeline, this is a plain one of the same fitted steps."""
    if selects(step) and isinstance(step, FrozenEstimator):
        step = step.estimator
    if isinstance(step, Pipeline) or (selects(step) and isinstance(step, sklearn.pipeline.Pipeline)):
        steps = [(name, _passed_over(part)) for name, part in step.steps]
        return sklearn.pipeline.Pipeline(steps, transform_input=step.transform_input)
    return "passthrough" if selects(step) else step


def _without_selection(name):
    """Return the method `name` of scikit-learn's Pipeline with selecting steps skipped."""

    def method(self, *args, **kwargs):
        selects_nothing = super(Pipeline, self) if self._first_selecting() is None else _passed_over(self)
        return getattr(selects_nothing, name)(*args, **kwargs)

    method.__name__ = name
    return _documented_as_inherited(method)


class Pipeline(sklearn.pipeline.Pipeline):
    """A scikit-learn Pipeline whose steps may select rows while fitting.

    A step with `fit_resample`, such as :class:`ForgettingSelector` or a sampler of imbalanced-learn [1]_, selects rows
    while fitting. The later steps get X, y and row-wise fit parameters cut to these rows. At `predict`, `transform`,
    `score` and the like, the step does nothing. If it is wrapped in a `FrozenEstimator`, it keeps the rows that it has
    kept before. Without such a step, this is :class:`sklearn.pipeline.Pipeline` in every respect.

    If the last step selects rows, the Pipeline has `fit_resample`, and its `transform` expects the rows that it was fitted
    with and returns those that are kept. It has no `transform` if a selecting step has none, such as a sampler of
    imbalanced-learn. If a "passthrough" follows, `transform` returns all rows.

    `fit_transform` returns the kept rows without y. It raises an error if a sampler may have changed rows or their order,
    but not their number.

    Parameters
    ----------
    steps : list of tuples
        (name, estimator) pairs that are chained in sequential order. All but the last need `fit` and `transform`,
        or `fit_resample`.
    transform_input : list of str, default=None
        Names of metadata that are transformed by the steps before the one that requests them. They are never cut.
    memory : str or object with the joblib.Memory interface, default=None
        Where fitted transformers and selecting steps are stored.
    verbose : bool, default=False
        Whether to print the time of each step. Steps before and after a selecting one are numbered separately.

    Attributes
    ----------
    sample_indices_ : ndarray of shape (n_kept,), int
        Numbers of the rows that were kept while fitting. Only defined if the last step selects rows.
    named_steps, classes_, n_features_in_, feature_names_in_
        As in :class:`sklearn.pipeline.Pipeline`.

    See Also
    --------
    make_pipeline : Names the steps after their classes.
    ForgettingSelector : A step that selects rows.

    Notes
    -----
    A fit parameter with one entry for each row of X is cut with X, as in scikit-learn's cross-validation. Validation
    data are never cut. These are the parameters named in `transform_input`, and those whose names contain one of the words
    "val", "valid", "validation", "eval", "evaluation", "test", "dev" and "holdout", separated by underscores, such as
    ``X_val``, ``eval_set`` and ``eval_sample_weight``. A parameter that may be either raises an error: one that looks like
    X, or that is passed along with validation data of as many rows, unless its name contains one of the words "weight",
    "weights", "group", "groups" and "scores". With metadata routing, the name given by `set_fit_request` is used.

    A sampler that makes new rows, such as SMOTE, has no row numbers to cut by. A row-wise parameter for a later step then
    raises an error. To route metadata to a selecting step, use its `set_fit_resample_request`, a method that
    imbalanced-learn adds to all classes defined after its import, or else its `set_fit_request`.

    References
    ----------
    .. [1] G. Lemaitre, F. Nogueira and C. K. Aridas, "Imbalanced-learn: A Python Toolbox to Tackle the Curse of
       Imbalanced Datasets in Machine Learning", JMLR 18(17), 2017.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skprune import ForgettingSelector, Pipeline
    >>> X, y = load_iris(return_X_y=True)
    >>> pipe = Pipeline([
    ...     ("scale", StandardScaler()),
    ...     ("prune", ForgettingSelector(k=0.5, random_state=0)),
    ...     ("clf", LogisticRegression()),
    ... ])
    >>> pipe.fit(X, y).predict(X).shape
    (150,)
    """

    steps: list

    @_documented_as_inherited
    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        return self._fit_steps("fit", X, y, params)

    @available_if(can_fit_transform)
    @_documented_as_inherited
    def fit_transform(self, X: Any, y: Any = None, **params: Any) -> Any:
        X_kept = self._fit_steps("fit_transform", X, y, params)
        check_order(self, X, X_kept)
        return X_kept

    @available_if(last_step_has("fit_predict"))
    @_documented_as_inherited
    def fit_predict(self, X: Any, y: Any = None, **params: Any) -> Any:
        return self._fit_steps("fit_predict", X, y, params)

    @available_if(can_fit_resample)
    def fit_resample(self, X: Any, y: Any = None, **params: Any) -> tuple[Any, Any]:
        """Fit all steps and return the rows that the last one keeps.

        Parameters
        ----------
        X, y, **params : see :meth:`fit`
            Training rows, their targets, and parameters for the steps.

        Returns
        -------
        X_kept, y_kept
            The kept rows, transformed, and their targets.

        Raises
        ------
        ValueError
            If a parameter names no step, may be validation data, or can't be cut because a sampler makes new rows.
        TypeError
            If a step before the last has no `transform` or `fit_resample`, is a Pipeline that selects rows midway, or is a
            FeatureUnion or ColumnTransformer with a part that selects rows.
        """
        return self._fit_steps("fit_resample", X, y, params)

    predict = available_if(last_step_has("predict"))(_without_selection("predict"))
    predict_proba = available_if(last_step_has("predict_proba"))(_without_selection("predict_proba"))
    predict_log_proba = available_if(last_step_has("predict_log_proba"))(_without_selection("predict_log_proba"))
    decision_function = available_if(last_step_has("decision_function"))(_without_selection("decision_function"))
    score_samples = available_if(last_step_has("score_samples"))(_without_selection("score_samples"))
    score = available_if(last_step_has("score"))(_without_selection("score"))
    inverse_transform = available_if(can_inverse_transform)(_without_selection("inverse_transform"))
    get_feature_names_out = _without_selection("get_feature_names_out")
    _transform_all_rows = _without_selection("transform")

    @available_if(can_transform)
    @_documented_as_inherited
    def transform(self, X: Any, **params: Any) -> Any:
        if not (self.steps and selects(self.steps[-1][1])):
            return self._transform_all_rows(X, **params)
        if params:
            raise ValueError(f"The last step selects rows, so transform takes only X, got {', '.join(params)}.")
        for _, step in self.steps:
            X = X if step in (None, "passthrough") else step.transform(X)
        return X

    @property
    def sample_indices_(self) -> NDArray[Any]:
        rows = getattr(self, "_kept", None)
        if rows is None and can_fit_resample(self):  # such as a slice of a fitted Pipeline
            rows = kept_rows(self)
        if rows is None:
            raise AttributeError("No 'sample_indices_': the last step must select rows, and no step may make new ones")
        return rows

    def without_selection(self) -> sklearn.pipeline.Pipeline:
        """Return a plain Pipeline of the same fitted steps that selects no rows.

        ``pipe.without_selection()[:-1].transform(X_test)`` returns new rows as the last step gets them, for example for
        plots and SHAP.

        Returns
        -------
        pipeline : sklearn.pipeline.Pipeline
            It shares the fitted steps. Selecting steps are replaced by ``"passthrough"``.
        """
        return _passed_over(self)

    def get_metadata_routing(self) -> Any:
        router = super().get_metadata_routing()
        for name, step in router:
            if selects(self.named_steps[name]):
                for caller in ("fit", "fit_transform", "fit_predict"):
                    step.mapping.add(caller=caller, callee=_routed_method(self.named_steps[name]))
        return router

    def _first_selecting(self):
        """Return the position of the first selecting step, or None if there is none."""
        steps = self.steps if isinstance(self.steps, (list, tuple)) else []
        return next((position for position, step in enumerate(steps) if selects(step[1])), None)

    def _resample_fitted(self, X, y):
        """Return the rows of X and y that the fitted steps keep."""
        for _, step in self.steps:
            if selects(step):
                X, y = resample_fitted(step, X, y)
            elif step not in (None, "passthrough"):
                X = step.transform(X)
        return X, y

    @with_callbacks
    def _fit_steps(self, method, X, y, params):
        """Call a fitting method. The steps after a selecting one get the rows that it keeps."""
        self.__dict__.pop("_kept", None)
        first = self._first_selecting()
        check_steps(self.steps if isinstance(self.steps, (list, tuple)) else [], method)
        self._check_params(first, params)
        if first is None:
            return getattr(super(), method)(X, y, **params)
        behind = _asked_for(self._part(first + 1, len(self.steps)), method, params)
        row_wise_params = set(row_wise(behind, X, self.transform_input or ()))
        parts, selections = parts_of(self.steps), []
        with task_of(self, X, y, n_parts=len(parts)) as task:
            for start, stop in parts:
                name, step = self.steps[start]
                if selects(step):
                    X, y, rows = self._select(start, method, X, y, params, task)
                    selections.append(rows)
                    cut = row_wise_params.intersection(_asked_for(self._part(stop, len(self.steps)), method, params))
                    params = params | take_kept({param: params[param] for param in cut}, name, step, rows)
                elif stop < len(self.steps):
                    X, params = self._fit_transform(start, stop, X, y, params, task)
                else:
                    return self._fit_last(start, method, X, y, params, task)
        self._kept = combine(selections)
        return {"fit": self, "fit_transform": X, "fit_resample": (X, y)}[method]

    def _select(self, position, method, X, y, params, task):
        """Fit a selecting step; return X and y of the rows that it keeps, and their numbers."""
        name, selector = self.steps[position]
        params = self._params_of_selecting(name, selector, method, params)
        memory = check_memory(self.memory)
        with subtask(task, self, f"select-rows-{name}", X, y):
            if is_off(memory):
                selector, X, y = fit_resample(selector, X, y, params)
            else:
                selector = clone(selector)
                selector, X, y = recall(memory, (selector, X, y, params), fit_resample, selector, X, y, params)
        self._replace_steps(position, [(name, selector)])
        return X, y, kept_rows(selector)

    def _fit_transform(self, start, stop, X, y, params, task):
        """Fit transformers; return X and the parameters named in `transform_input` as the next step gets them."""
        part = self._part(start, stop)
        asked = _asked_for(part, "fit_transform", params)
        # scikit-learn stores all steps in memory but the last one.
        part.steps = [*part.steps, (self.steps[stop][0], "passthrough")]
        with subtask(task, self, f"fit-steps-{start}-to-{stop - 1}", X, y, part=part):
            X = part.fit_transform(X, y, **asked)
        self._replace_steps(start, part.steps[:-1])
        return X, _transform_inputs(part, params, self.transform_input)

    def _fit_last(self, start, method, X, y, params, task):
        """Call a fitting method of the last step, after the transformers in front of it."""
        part = self._part(start, len(self.steps))
        with subtask(task, self, "fit-last-steps", X, y, part=part):
            result = part._fit_steps(method, X, y, _asked_for(part, method, params))
        self._replace_steps(start, part.steps)
        return self if result is part else result

    def _replace_steps(self, start, fitted):
        self.steps = [*self.steps[:start], *fitted, *self.steps[start + len(fitted) :]]

    def _part(self, start, stop):
        part = self[start:stop]
        part.transform_input = self.transform_input
        return part

    def _check_params(self, position, params):
        """Check parameters before anything is fitted."""
        if position is None:
            return
        # scikit-learn checks the names and parameters of a Pipeline while fitting it.
        plain = sklearn.pipeline.Pipeline([(name, "passthrough") for name, _ in self.steps])
        verbose = self.verbose is not True and self.verbose
        plain.set_params(memory=self.memory, transform_input=self.transform_input, verbose=verbose).fit(None)
        steps = dict(self.steps)
        for param in () if get_config()["enable_metadata_routing"] else params:
            step, separator, _ = param.partition("__")
            if not separator or step not in steps:
                raise ValueError(
                    f"Pipeline.fit does not accept the {param} parameter. You can pass parameters to specific steps of your "
                    "pipeline using the stepname__parameter format, e.g. "
                    f"`Pipeline.fit(X, y, {self.steps[-1][0]}__sample_weight=sample_weight)`; the steps are {', '.join(steps)}."
                )

    def _params_of_selecting(self, name, selector, method, params):
        """Return the fit parameters of a selecting step."""
        if get_config()["enable_metadata_routing"]:
            method = "fit" if method == "fit_resample" else method
            return process_routing(self, method, **params)[name][_routed_method(selector)]
        steps = {param: param.partition("__") for param in params}
        return {param: params[full] for full, (step, _, param) in steps.items() if step == name}


def _asked_for(part, method, params):
    """Return the fit parameters for the steps of a part of a Pipeline."""
    method = "fit" if method == "fit_resample" else method
    if get_config()["enable_metadata_routing"]:
        names = part.get_metadata_routing().consumes(method, params.keys()) if part.steps else ()
    else:
        names = [param for param in params if param.partition("__")[0] in part.named_steps]
    return {param: values for param, values in params.items() if param in names}


def _routed_method(step):
    """Return the name of the method whose metadata requests apply to a selecting step."""
    # scikit-learn knows fit_resample once imbalanced-learn is imported, which adds it to a private list.
    request = getattr(get_routing_for_object(step), "fit_resample", None)
    return "fit_resample" if request is not None and any(request.requests.values()) else "fit"


def _transform_inputs(front, params, names):
    """Transform the metadata named in `names` by the fitted steps before."""
    if not names:
        return params
    routing = front.get_metadata_routing()
    own = {param: params[param] for param in routing.consumes("transform", params.keys())}

    def transform(values):
        return tuple(map(transform, values)) if isinstance(values, tuple) else front.transform(values, **own)

    return params | {name: transform(params[name]) for name in set(names) & set(params)}


def make_pipeline(
    *steps: Any, memory: Any = None, transform_input: list[str] | None = None, verbose: bool = False
) -> Pipeline:
    """Make a :class:`Pipeline` whose steps are named after their classes.

    Parameters
    ----------
    *steps : estimators
        Steps in their order.
    memory, transform_input, verbose : see :class:`Pipeline`
        Passed to the Pipeline.

    Returns
    -------
    pipeline : Pipeline

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skprune import ForgettingSelector, make_pipeline
    >>> make_pipeline(ForgettingSelector(k=0.3), LogisticRegression())
    Pipeline(steps=[('forgettingselector', ForgettingSelector(k=0.3)),
                    ('logisticregression', LogisticRegression())])
    """
    named = sklearn.pipeline.make_pipeline(*steps)
    return Pipeline(named.steps, transform_input=transform_input, memory=memory, verbose=verbose)
