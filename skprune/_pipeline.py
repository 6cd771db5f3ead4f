"""A scikit-learn Pipeline in which steps may select rows while fitting."""

from contextlib import contextmanager, nullcontext
from functools import wraps

import sklearn.pipeline
from sklearn import get_config
from sklearn.base import clone
from sklearn.utils.metadata_routing import process_routing
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_memory

from skprune._memory import is_off, recall
from skprune._rows import count_rows, has_entry_per_row, take_rows

try:
    from sklearn.callback import with_callbacks
except ImportError:  # scikit-learn before 1.9 has no callbacks

    def with_callbacks(method):
        return method


def _selects(step):
    return hasattr(step, "fit_resample")


def _last_step_selects(self):
    return len(self.steps) > 0 and _selects(self.steps[-1][1])


def _last_step_has(name):
    def check(self):
        last = self.steps[-1][1]
        getattr("passthrough" if last is None else last, name)  # its AttributeError is the cause of ours
        return True

    return check


def _can_transform(self):
    last = self.steps[-1][1]
    return last in (None, "passthrough") or _selects(last) or hasattr(last, "transform")


def _can_fit_transform(self):
    return _can_transform(self) or hasattr(self.steps[-1][1], "fit_transform")


def _can_inverse_transform(self):
    steps = [step for _, step in self.steps if step not in (None, "passthrough") and not _selects(step)]
    return all(hasattr(step, "inverse_transform") for step in steps)


def _documented_as_inherited(method):
    inherited = getattr(sklearn.pipeline.Pipeline, method.__name__)
    return wraps(getattr(inherited, "__wrapped__", inherited))(method)


def _passed_over(pipeline):
    """Return a plain Pipeline of the same fitted steps in which selecting ones do nothing."""
    steps = []
    for name, step in pipeline.steps:
        if _selects(step):
            step = _passed_over(step) if isinstance(step, sklearn.pipeline.Pipeline) else "passthrough"
        steps.append((name, step))
    return sklearn.pipeline.Pipeline(steps, transform_input=pipeline.transform_input)


def _without_selection(name):
    """Make the method `name` of scikit-learn's Pipeline pass over selecting steps."""

    def method(self, *args, **kwargs):
        if self._first_selecting() is None:
            return getattr(super(Pipeline, self), name)(*args, **kwargs)
        return getattr(_passed_over(self), name)(*args, **kwargs)

    method.__name__ = name
    return _documented_as_inherited(method)


class Pipeline(sklearn.pipeline.Pipeline):
    """A scikit-learn Pipeline whose steps may select rows while fitting.

    A step with `fit_resample`, such as :class:`ForgettingSelector` or any sampler of imbalanced-learn [1]_, selects
    rows while fitting: the steps behind it see X, y and every fit parameter with one entry a row cut alike. It
    does nothing at `predict`, `transform`, `score` and the like. Without such a step this is
    :class:`sklearn.pipeline.Pipeline` in every respect.

    With such a step last, the Pipeline has `fit_resample` itself, and its `transform` returns the kept rows of the
    rows that it was fitted with.

    Parameters
    ----------
    steps : list of tuples
        (name, estimator) pairs that are chained in sequential order. All but the last need `fit` and `transform`,
        or `fit_resample`.
    transform_input : list of str, default=None
        Names of metadata that are transformed by the steps in front of the one that asks for them. They are data
        of their own and never cut.
    memory : str or object with the joblib.Memory interface, default=None
        Where fitted transformers and selecting steps are stored.
    verbose : bool, default=False
        Whether the time of each step is printed; steps in front of a selecting one are counted apart from those
        behind it.

    Attributes
    ----------
    named_steps : Bunch
        Steps by name.
    sample_indices_ : ndarray of shape (n_kept,), int
        Numbers of the rows that were kept while fitting. Only where the last step selects.
    classes_, n_features_in_, feature_names_in_
        As in :class:`sklearn.pipeline.Pipeline`.

    See Also
    --------
    make_pipeline : Names the steps by their classes.
    ForgettingSelector : A step that selects rows.

    Notes
    -----
    In a fit parameter counts as row-wise what has as many entries as X has rows and is no string and no mapping.
    A sampler that makes new rows, such as SMOTE, leaves no row numbers to cut by: a row-wise fit parameter for a
    step behind it is an error.

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
    def fit(self, X, y=None, **params):
        return self._fit_steps("fit", X, y, params)

    @available_if(_can_fit_transform)
    @_documented_as_inherited
    def fit_transform(self, X, y=None, **params):
        return self._fit_steps("fit_transform", X, y, params)

    @available_if(_last_step_has("fit_predict"))
    @_documented_as_inherited
    def fit_predict(self, X, y=None, **params):
        return self._fit_steps("fit_predict", X, y, params)

    @available_if(_last_step_selects)
    def fit_resample(self, X, y=None, **params):
        """Fit all steps and return the rows that the last one keeps.

        Parameters
        ----------
        X : iterable
            Training data.
        y : iterable, default=None
            Training targets.
        **params : dict of str -> object
            As for :meth:`fit`.

        Returns
        -------
        X_kept, y_kept
            Kept rows, transformed, with their targets.
        """
        return self._fit_steps("fit_resample", X, y, params)

    predict = available_if(_last_step_has("predict"))(_without_selection("predict"))
    predict_proba = available_if(_last_step_has("predict_proba"))(_without_selection("predict_proba"))
    predict_log_proba = available_if(_last_step_has("predict_log_proba"))(_without_selection("predict_log_proba"))
    decision_function = available_if(_last_step_has("decision_function"))(_without_selection("decision_function"))
    score_samples = available_if(_last_step_has("score_samples"))(_without_selection("score_samples"))
    score = available_if(_last_step_has("score"))(_without_selection("score"))
    inverse_transform = available_if(_can_inverse_transform)(_without_selection("inverse_transform"))
    get_feature_names_out = _without_selection("get_feature_names_out")
    _transform_all_rows = _without_selection("transform")

    @available_if(_can_transform)
    @_documented_as_inherited
    def transform(self, X, **params):
        if not _last_step_selects(self):
            return self._transform_all_rows(X, **params)
        if params:
            raise ValueError(
                f"transform of a Pipeline whose last step selects rows takes X alone, got {', '.join(params)}."
            )
        for name, step in self.steps:
            if hasattr(step, "transform"):
                X = step.transform(X)
            elif _selects(step):
                if _kept_rows(step) is None:
                    raise ValueError(
                        f"The step {name!r} makes new rows, which transform can't make of others: {step!r}. Use fit_resample."
                    )
                X = take_rows(X, _kept_rows(step))
        return X

    @property
    def sample_indices_(self):
        if not _last_step_selects(self):
            raise AttributeError(
                f"'{type(self).__name__}' has no attribute 'sample_indices_': its last step keeps all rows"
            )
        rows = None
        for _, step in self.steps:
            if _selects(step):
                kept = _kept_rows(step)
                if kept is None:
                    raise AttributeError(f"{step!r} makes new rows, which have no numbers")
                rows = kept if rows is None else rows[kept]
        return rows

    def _first_selecting(self):
        """Return the position of the first selecting step, or None."""
        if not isinstance(self.steps, (list, tuple)):
            return None
        return next((position for position, step in enumerate(self.steps) if _selects(step[1])), None)

    @with_callbacks
    def _fit_steps(self, method, X, y, params):
        """Call a fitting method, for the steps behind a selecting one on what that keeps."""
        position = self._first_selecting()
        if position is None:
            return getattr(super(), method)(X, y, **params)
        self._check_steps()
        self._check_params(params)
        is_last = position == len(self.steps) - 1
        with _task(self, X, y, n_parts=(position > 0) + 1 + (not is_last)) as task:
            X, y, params = self._fit_selecting(position, method, X, y, params, task)
            if is_last:
                return {"fit": self, "fit_transform": X, "fit_resample": (X, y)}[method]
            rest = self._part(position + 1, len(self.steps))
            with _subtask(task, self, "fit-steps-behind", X, y, part=rest):
                result = getattr(rest, method)(X, y, **params)
            self.steps = [*self.steps[: position + 1], *rest.steps]
            return self if result is rest else result

    def _fit_selecting(self, position, method, X, y, params, task):
        """Fit the steps up to a selecting one; return X and y of the rows that it keeps, and the params of the rest."""
        name, selector = self.steps[position]
        head, ours, rest = self._split_params(position, method, params)
        if position > 0:
            front = self._part(0, position)
            front.steps = [*front.steps, (name, "passthrough")]  # the last step of a Pipeline is never stored in memory
            with _subtask(task, self, "fit-steps-in-front", X, y, part=front):
                X = front.fit_transform(X, y, **head)
            self.steps = [*front.steps[:-1], *self.steps[position:]]
            rest = _transform_inputs(front, rest, self.transform_input)

        n_rows = count_rows(X)
        memory = check_memory(self.memory)
        with _subtask(task, self, f"select-rows-{name}", X, y):
            if is_off(memory):
                selector, X, y = _fit_resample(selector, X, y, ours)
            else:
                selector = clone(selector)
                selector, X, y = recall(memory, (selector, X, y, ours), _fit_resample, selector, X, y, ours)
        self.steps = [*self.steps[:position], (name, selector), *self.steps[position + 1 :]]
        return X, y, self._cut(rest, n_rows, name, selector)

    def _part(self, start, stop):
        part = self[start:stop]
        part.transform_input = self.transform_input
        return part

    def _check_steps(self):
        """Raise what scikit-learn raises for such steps, before anything is fitted."""
        names = [name for name, _ in self.steps]
        if len(set(names)) < len(names):
            raise ValueError(f"Names provided are not unique: {names!r}")
        conflicts = sorted(set(names) & set(self.get_params(deep=False)) | {name for name in names if "__" in name})
        if conflicts:
            raise ValueError(f"Estimator names must contain no __ and be no constructor arguments: got {conflicts!r}")
        for _, step in self.steps[:-1]:
            if step not in (None, "passthrough") and not _selects(step) and not hasattr(step, "transform"):
                raise TypeError(
                    "All intermediate steps should be transformers and implement fit and transform, select rows by "
                    f"fit_resample, or be the string 'passthrough'; '{step}' (type {type(step)}) doesn't"
                )

    def _check_params(self, params):
        names = [name for name, _ in self.steps]
        if get_config()["enable_metadata_routing"]:
            return
        for param in params:
            step, separator, _ = param.partition("__")
            if not separator or step not in names:
                raise ValueError(
                    f"Pipeline.fit does not accept the {param} parameter. You can pass parameters to specific steps of your "
                    "pipeline using the stepname__parameter format, e.g. "
                    f"`Pipeline.fit(X, y, {names[-1]}__sample_weight=sample_weight)`; the steps are {', '.join(names)}."
                )

    def _split_params(self, position, method, params):
        """Return the fit parameters of the steps in front of `position`, of the step there, and of those behind."""
        name = self.steps[position][0]
        if not get_config()["enable_metadata_routing"]:
            steps = {param: param.partition("__")[0] for param in params}
            in_front = {step for step, _ in self.steps[:position]}
            head = {param: value for param, value in params.items() if steps[param] in in_front}
            ours = {param.partition("__")[2]: value for param, value in params.items() if steps[param] == name}
            rest = {p: value for p, value in params.items() if steps[p] not in in_front and steps[p] != name}
            return head, ours, rest
        method = "fit" if method == "fit_resample" else method
        routed = process_routing(self, method, **params)[name]
        # Which of the two a step is called by depends on its place and on what it has.
        ours = {**routed.get("fit", {}), **routed.get("fit_transform", {})}
        head = self._consumed(0, position, "fit_transform", params)
        rest = self._consumed(position + 1, len(self.steps), method, params)
        return head, ours, rest

    def _consumed(self, start, stop, method, params):
        if start == stop:
            return {}
        routing = self._part(start, stop).get_metadata_routing()
        return {param: params[param] for param in routing.consumes(method, params.keys())}

    def _cut(self, params, n_rows, name, selector):
        """Cut the row-wise ones of `params` to the rows that the selector keeps."""
        rows = _kept_rows(selector)
        cut = dict(params)
        for param, values in params.items():
            if param in (self.transform_input or ()) or not has_entry_per_row(values, n_rows):
                continue
            if rows is None:
                raise ValueError(
                    f"The step {name!r} makes new rows, so that the {n_rows} entries of {param} can't be cut in step with X "
                    f"and y: {selector!r} has neither get_support nor sample_indices_. Leave {param} out, or use a step that "
                    "only selects rows."
                )
            cut[param] = take_rows(values, rows)
        return cut


@contextmanager
def _task(pipeline, X, y, n_parts):
    """Tell scikit-learn's callbacks of a fit in `n_parts` parts; yield its context, or None where there are none."""
    if not hasattr(pipeline, "set_callbacks"):
        yield None
        return
    # Private by its name, yet what scikit-learn documents for estimators of others.
    context = pipeline._init_callback_context(max_subtasks=n_parts)
    context.call_on_fit_task_begin(estimator=pipeline, X=X, y=y)
    yield context
    context.call_on_fit_task_end(estimator=pipeline, X=X, y=y)


@contextmanager
def _subtask(task, pipeline, name, X, y, part=None):
    """Tell scikit-learn's callbacks of one part of a fit, and hand them on to the Pipeline that does it."""
    if task is None:
        yield
        return
    context = task.subcontext(task_name=name)
    with nullcontext() if part is None else context.propagate_callback_context(part):
        context.call_on_fit_task_begin(estimator=pipeline, X=X, y=y)
        yield
        context.call_on_fit_task_end(estimator=pipeline, X=X, y=y)


def _fit_resample(selector, X, y, params):
    X_kept, y_kept = selector.fit_resample(X, y, **params)
    return selector, X_kept, y_kept


def _kept_rows(selector):
    """Return the numbers of the rows that a fitted step kept, None where it made new ones."""
    if hasattr(selector, "get_support"):
        return selector.get_support(indices=True)
    return getattr(selector, "sample_indices_", None)


def _transform_inputs(front, params, names):
    """Transform the metadata called `names` by the fitted steps in front."""
    if not names:
        return params
    routing = front.get_metadata_routing()
    own = {param: params[param] for param in routing.consumes("transform", params.keys())}
    transformed = dict(params)
    for name in set(names) & set(params):
        values = params[name]
        if isinstance(values, tuple):
            transformed[name] = tuple(front.transform(part, **own) for part in values)
        else:
            transformed[name] = front.transform(values, **own)
    return transformed


def make_pipeline(*steps, memory=None, transform_input=None, verbose=False):
    """Make a :class:`Pipeline` whose steps are named after their classes.

    Parameters
    ----------
    *steps : estimators
    memory, transform_input, verbose : as in :class:`Pipeline`

    Returns
    -------
    pipeline : Pipeline

    See Also
    --------
    Pipeline : Takes names for the steps.

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
