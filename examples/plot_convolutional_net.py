"""
A convolutional net on image arrays
===================================

The scoring net may be any skorch classifier, on arrays of any rank. Here a small convolutional net scores pictures, and
the same net is then trained on the ones that are kept.
"""

# %%
# The handwritten digits of scikit-learn, as pictures of one channel.
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from skorch import NeuralNetClassifier

digits = load_digits()
images = (digits.images / 16).astype(np.float32)[:, None]
X, X_test, y, y_test = train_test_split(images, digits.target, stratify=digits.target, random_state=0)
print(X.shape, X.dtype)

# %%
# The net is what skorch users write. Its own validation split does not matter: the selector scores all rows.


class ConvNet(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(1, 16, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.MaxPool2d(2),
            torch.nn.Conv2d(16, 32, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.MaxPool2d(2),
            torch.nn.Flatten(),
            torch.nn.Linear(128, 10),
        )

    def forward(self, X):
        return self.layers(X)


net = NeuralNetClassifier(
    ConvNet,
    criterion=torch.nn.CrossEntropyLoss,
    optimizer=torch.optim.Adam,
    lr=0.003,
    max_epochs=15,
    batch_size=32,
    iterator_train__shuffle=True,
    train_split=None,
    verbose=0,
)

# %%
# The selector trains a clone of it, and keeps a third of the pictures, as many of each digit as its share.
from skprune import ForgettingSelector

selector = ForgettingSelector(net, k=1 / 3, balance=True, random_state=0, verbose=1)
X_kept, y_kept = selector.fit_resample(X, y)
print(X_kept.shape, np.bincount(y_kept))

# %%
# Scores of one net serve any number of training sets. Every strategy keeps a third, and the net is trained on it three
# times with different seeds, for three times the epochs, so that it makes as many updates as with all pictures.


def mean_accuracy(X, y, max_epochs):
    accuracies = []
    for seed in range(3):
        torch.manual_seed(seed)
        accuracies.append(net.set_params(max_epochs=max_epochs).fit(X, y).score(X_test, y_test))
    return np.mean(accuracies)


results = {"all pictures": mean_accuracy(X, y, 15)}
for strategy in ("most_forgotten", "coverage", "random", "least_forgotten"):
    rows = selector.set_params(strategy=strategy).get_support()
    results[strategy.replace("_", " ")] = mean_accuracy(X[rows], y[rows], 45)

# %%
# The easiest pictures teach the net the least.
import matplotlib.pyplot as plt

figure, ax = plt.subplots(figsize=(7, 3), layout="constrained")
bars = ax.barh(list(results), list(results.values()), color=["0.5", "C0", "C1", "C2", "C3"])
ax.bar_label(bars, fmt="{:.1%}", padding=3)
ax.invert_yaxis()
ax.set(xlabel="Test accuracy", xlim=(min(results.values()) - 0.05, 1.01))
ax.xaxis.set_major_formatter("{x:.0%}")
