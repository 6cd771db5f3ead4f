"""Light models that are trained on the most trusted rows, on more and more of them, and tested on others."""

import numpy as np

from skprune._views import compare, one_hot

# Nearest neighbors that vote, and how many are looked through for those that are not left out.
_N_NEIGHBORS, _N_NEAREST = 5, 100


class GrowingRidge:
    """Ridge regression of one-hot labels. The penalty is a multiple of the mean variance of the features."""

    def __init__(self, F, y, n_classes, penalty):
        self.F = np.hstack([F, np.ones((len(F), 1), np.float32)])  # the last weights are the intercepts
        self.y, self.n_classes, self.penalty = y, n_classes, penalty
        self.gram = np.zeros((self.F.shape[1],) * 2)
        self.sums = np.zeros((self.F.shape[1], n_classes))

    def add(self, rows):
        """Train on `rows` as well."""
        F = self.F[rows]
        self.gram += F.T @ F
        self.sums += (one_hot(self.y[rows], self.n_classes).T @ F).T

    def predict(self, rows):
        """Return the predictions for `rows`, of shape (n_asked, n_classes)."""
        n_rows = max(self.gram[-1, -1], 1)
        variances = np.trace(self.gram[:-1, :-1]) - np.square(self.gram[-1, :-1]).sum() / n_rows
        gram = self.gram.copy()
        features = np.arange(len(gram) - 1)
        gram[features, features] += max(self.penalty * variances / len(features), 1e-6)
        gram[-1, -1] = n_rows
        return self.F[rows] @ np.linalg.solve(gram, self.sums).astype(np.float32)


class GrowingForest:
    """Shares of the classes in the leaves of given trees; `leaves` has their numbers for all rows and trees."""

    def __init__(self, leaves, y, n_classes):
        first = np.concatenate([[0], leaves.max(0)[:-1] + 1]).cumsum()
        self.leaves, self.y, self.n_classes = leaves + first, y, n_classes
        self.counts = np.zeros((int(self.leaves.max()) + 1, n_classes), np.float32)

    def add(self, rows):
        cells = self.leaves[rows] * self.n_classes + self.y[rows, None]
        self.counts += np.bincount(cells.ravel(), minlength=self.counts.size).reshape(self.counts.shape)

    def predict(self, rows):
        shares = self.counts / np.maximum(self.counts.sum(1, keepdims=True), 1)
        return sum(shares[leaves] for leaves in self.leaves[rows].T)


class GrowingNeighbors:
    """Votes of the nearest neighbors among `trained`, the rows that may be added, for the rows `tested`."""

    def __init__(self, Z, y, n_classes, trained, tested):
        self.y, self.n_classes = y, n_classes
        self.is_added = np.zeros(len(y), bool)
        # Without the squares of the rows that are predicted, which order nothing.
        distances = np.square(Z[trained]).sum(1) - 2 * Z[tested] @ Z[trained].T
        n_nearest = min(_N_NEAREST, len(trained))
        nearest = np.argpartition(distances, n_nearest - 1, axis=1)[:, :n_nearest]
        order = np.argsort(np.take_along_axis(distances, nearest, 1), 1)
        self.nearest = trained[np.take_along_axis(nearest, order, 1)]

    def add(self, rows):
        self.is_added[rows] = True

    def predict(self, rows):
        """Return the votes for the rows `tested`, which `rows` must be; nearer neighbors decide ties."""
        votes = self.is_added[self.nearest]
        rank = votes.cumsum(1)
        weights = np.where(votes & (rank <= _N_NEIGHBORS), 1 - 1e-3 * rank, 0)
        cells = np.arange(len(rows))[:, None] * self.n_classes + self.y[self.nearest]
        n_cells = len(rows) * self.n_classes
        return np.bincount(cells.ravel(), weights.ravel(), n_cells).reshape(-1, self.n_classes)


def is_right(predicted, y):
    """Tell of every row whether its label has a larger prediction than all others."""
    return compare(predicted, y)[0] > 0
