"""What scikit-learn's callbacks hear of a fit in several parts."""

from contextlib import contextmanager, nullcontext

try:
    from sklearn.callback import with_callbacks
except ImportError:  # scikit-learn before 1.9 has no callbacks

    def with_callbacks(method):
        return method


@contextmanager
def task_of(pipeline, X, y, n_parts):
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
def subtask(task, pipeline, name, X, y, part=None):
    """Tell scikit-learn's callbacks of one part of a fit, and hand them on to the Pipeline that does it."""
    if task is None:
        yield
        return
    context = task.subcontext(task_name=name)
    with nullcontext() if part is None else context.propagate_callback_context(part):
        context.call_on_fit_task_begin(estimator=pipeline, X=X, y=y)
        yield
        context.call_on_fit_task_end(estimator=pipeline, X=X, y=y)
