"""What the steps of a Pipeline can do, and which rows they have kept."""

from functools import reduce
from itertools import pairwise

import numpy as np
import sklearn.pipeline
from sklearn.compose import ColumnTransformer
from sklearn.frozen import FrozenEstimator

from skprune._rows import count_rows, has_entry_per_row, take_rows


def selects(step):
    return hasattr(step, "fit_resample")


def skipped(steps):
    return all(step in (None, "passthrough") for _, step in steps)


def can_fit_resample(self):
    return any(selects(step) and skipped(self.steps[i + 1 :]) for i, (_, step) in enumerate(self.steps))


def last_step_has(name):
    def check(self):
        last = self.steps[-1][1]
        getattr("passthrough" if last is None else last, name)  # its AttributeError is the cause of ours
        return True

    return check


def can_transform(self):
    last = self.steps[-1][1]
    if not selects(last):
        return last in (None, "passthrough") or hasattr(last, "transform")
    for name, step in self.steps:
        if step not in (None, "passthrough") and not hasattr(step, "transform"):
            raise AttributeError(
                f"The step {name!r} has no transform, so it can't check whether X contains the rows that it was fitted with. Use "
                "fit_resample to get the kept rows, and pipe.without_selection().transform(X) to transform all rows of X."
            )
    return True


def can_fit_transform(self):
    last = self.steps[-1][1]
    return selects(last) or can_transform(self) or hasattr(last, "fit_transform")


def can_inverse_transform(self):
    steps = [step for _, step in self.steps if step not in (None, "passthrough") and not selects(step)]
    return all(hasattr(step, "inverse_transform") for step in steps)


def kept_rows(step):
    """Return the numbers of the rows that a fitted step keeps, or None if it made new rows."""
    if hasattr(step, "get_support"):
        return step.get_support(indices=True)
    if hasattr(step, "steps"):  # a Pipeline, which may be frozen
        return combine([kept_rows(part) for _, part in step.steps if selects(part)])
    return getattr(step, "sample_indices_", None)


def combine(selections):
    """Return the numbers of the rows that are left after several selections, or None if one is unknown."""
    if any(rows is None for rows in selections):
        return None
    return reduce(lambda rows, chosen: rows[chosen], selections)


def parts_of(steps):
    """Return start and stop of the parts of a Pipeline: every selecting step, and the steps in between.

    A part of skipped steps at the end is left out.
    """
    borders = {0, len(steps)}.union(*({i, i + 1} for i, (_, step) in enumerate(steps) if selects(step)))
    parts = list(pairwise(sorted(borders)))
    return parts[:-1] if skipped(steps[parts[-1][0] :]) else parts


def check_steps(steps, method):
    """Raise a TypeError if steps can't be fitted one after the other by a method of a Pipeline."""
    for name, step in steps[:-1]:
        _check_intermediate(name, step)
    for name, step in _joining(steps, method):
        _check_joins(name, step)


def _check_intermediate(name, step):
    selects_inside = isinstance(step, sklearn.pipeline.Pipeline) and any(selects(part) for _, part in step.steps)
    if selects_inside and not selects(step):
        raise TypeError(
            f"The step {name!r} is a Pipeline that selects rows, but has no fit_resample to pass on their y. Put its steps into "
            f"the outer Pipeline instead: {', '.join(dict(step.steps))}."
        )
    if step not in (None, "passthrough") and not selects(step) and not hasattr(step, "transform"):
        raise TypeError(
            "All intermediate steps should be transformers and implement fit and transform or fit_resample, or be the "
            f"string 'passthrough'; '{step}' (type {type(step)}) doesn't"
        )


def _joining(steps, method):
    """Yield the steps, also of Pipelines among them, whose output for the rows of `fit` is used."""
    for position, (name, step) in enumerate(steps):
        is_last = position == len(steps) - 1
        if isinstance(step, sklearn.pipeline.Pipeline):
            yield from _joining(step.steps, method if is_last else "fit_transform")
        elif not is_last or method == "fit_transform":  # fit ignores what the last step joins
            yield name, step


def _check_joins(name, step):
    for part in _parts_that_drop_rows(step):
        raise TypeError(
            f"The step {name!r} joins columns of its parts side by side, but its part {part!r} drops rows, so its rows would be "
            "others than those of y and of the other parts. Put the step that selects rows in front of "
            f"{name!r}, as a step of the skprune.Pipeline, which cuts X and y together."
        )


def _parts_that_drop_rows(step):
    """Return the names of the parts of a FeatureUnion or ColumnTransformer that drop rows while fitting."""
    if not isinstance(step, (sklearn.pipeline.FeatureUnion, ColumnTransformer)):
        return []
    if isinstance(step, sklearn.pipeline.FeatureUnion):
        parts = step.transformer_list
    else:
        parts = [*step.transformers, ("remainder", step.remainder)]
    return [name for name, part, *_ in parts if _drops_rows(part)]


def _drops_rows(step):
    if isinstance(step, sklearn.pipeline.Pipeline):
        return any(_drops_rows(part) for _, part in step.steps)
    return selects(step) or bool(_parts_that_drop_rows(step))


def fit_resample(selector, X, y, params):
    """Return a fitted selecting step, and X and y of the rows that it keeps."""
    if isinstance(selector, FrozenEstimator):
        return (selector, *resample_fitted(selector, X, y))
    return (selector, *selector.fit_resample(X, y, **params))


def resample_fitted(selector, X, y):
    """Return the rows of X and y that a fitted selector keeps, after its own check that they are those of its fit."""
    if hasattr(selector, "_resample_fitted"):
        return selector._resample_fitted(X, y)
    if not hasattr(selector, "transform"):
        raise ValueError(
            f"{selector!r} has no transform, so it can't check whether X contains the rows that it was fitted with. Fit the "
            "other steps on the rows that its fit_resample has returned, or take it out of FrozenEstimator."
        )
    return selector.transform(X), None if y is None else take_rows(y, kept_rows(selector))


def take_kept(params, name, selector, rows):
    """Cut row-wise parameters to the rows that the selector keeps."""
    if params and rows is None:
        raise ValueError(
            f"The step {name!r} makes new rows, so {', '.join(params)} can't be cut along with X and y: {selector!r} "
            "has neither get_support nor sample_indices_. Leave them out, or use a step that only selects rows."
        )
    return {param: take_rows(values, rows) for param, values in params.items()}


def check_order(pipeline, X, X_kept):
    """Raise a ValueError if `X_kept`, without its y, could be taken for the rows of `X` in their order."""
    if not _keeps_order(pipeline) and has_entry_per_row(X_kept, count_rows(X)):
        raise ValueError(
            f"fit_transform would return as many rows as X has, {count_rows(X)}, but a sampler may have changed their order, or "
            "repeated or made some, so they could be combined with y of other rows. In a plain Pipeline, FeatureUnion or "
            "ColumnTransformer, use a skprune.Pipeline of all steps instead, which passes X and y on together. Otherwise use "
            "fit_resample if the sampler is the last step, or fit and transform."
        )


def _keeps_order(pipeline):
    """Return whether the steps of a fitted Pipeline are known to keep rows in their order, and none twice."""
    for _, step in pipeline.steps:
        if selects(step):
            rows = kept_rows(step)
            if rows is None or (np.diff(rows) <= 0).any():
                return False
        elif isinstance(step, sklearn.pipeline.Pipeline) and not _keeps_order(step):
            return False
    return True
