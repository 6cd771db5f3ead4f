"""Report a fit in several parts to scikit-learn's callbacks."""

from contextlib import contextmanager, nullcontext

try:
    from sklearn.callback import with_callbacks
except ImportError:  # scikit-learn before 1.9 has no callbacks

    def with_callbacks(method):
        return method


@contextmanager
def task_of(pipeline, X, y, n_parts):
    """Report a fit in `n_parts` parts to scikit-learn's callbacks; yield its context, or None if callbacks are unavailable."""
    if not hasattr(pipeline, "set_callbacks"):
        yield None
        return
    # Its name is private, but scikit-learn documents it for third-party estimators.
    context = pipeline._init_callback_context(max_subtasks=n_parts)
    context.call_on_fit_task_begin(estimator=pipeline, X=X, y=y)
    yield context
    context.call_on_fit_task_end(estimator=pipeline, X=X, y=y)


@contextmanager
def subtask(task, pipeline, name, X, y, part=None):
    """Report one part of a fit to scikit-learn's callbacks, and pass them on to the Pipeline that performs it."""
    if task is None:
        yield
        return
    context = task.subcontext(task_name=name)
    with nullcontext() if part is None else context.propagate_callback_context(part):
        context.call_on_fit_task_begin(estimator=pipeline, X=X, y=y)
        yield
        context.call_on_fit_task_end(estimator=pipeline, X=X, y=y)
