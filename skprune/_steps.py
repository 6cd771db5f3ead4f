"""What the steps of a Pipeline can do, and which rows they have kept."""

import numpy as np
import sklearn.pipeline

from skprune._rows import count_rows, has_entry_per_row


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


def kept_rows(selector):
    """Return the numbers of the rows that a fitted step kept, or None if it made new rows."""
    if hasattr(selector, "get_support"):
        return selector.get_support(indices=True)
    return getattr(selector, "sample_indices_", None)


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
