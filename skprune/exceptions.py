"""Warnings of skprune."""


class PruningWarning(UserWarning):
    """Warning that the kept rows will probably do harm, or are not what was meant.

    See Also
    --------
    select_rows : Its documentation lists the reasons that concern the selection of rows.

    Notes
    -----
    Other reasons are that all of several runs start from the same weights, that runs were trained in this process because
    a worker of `n_jobs` might have trained another net, that a finished run could not be stored in `memory`, and that the
    training of a transformers `Trainer` ended before an epoch was completed or resumed from a checkpoint without scores.

    A warning names the line of your code that called skprune. The same text is shown once for this line, so that a search does
    not repeat it for every fold. To see every one, use ``warnings.simplefilter("always", PruningWarning)``.

    Examples
    --------
    >>> import warnings
    >>> from skprune import PruningWarning, select_rows
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", PruningWarning)
    ...     select_rows([2, 0, 1], k=10)
    array([0, 1, 2])
    """
