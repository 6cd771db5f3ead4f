"""
A convolutional net on image arrays
===================================

The scoring net can be any skorch classifier, and X an array with any number of dimensions. In this example, a convolutional
net scores images. The same net is then trained on a third of them, which takes a third of the training steps.
"""

# %%
# The data are the handwritten digits of scikit-learn, as images with one channel.
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
# The net is an ordinary skorch net. Its own validation split has no effect, because the selector scores all rows.


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
# The selector trains a clone of it for five epochs, which is enough for useful scores. It keeps a third of the images, with
# the same share of each digit.
from sklearn.base import clone

from skprune import ForgettingSelector

scoring_net = clone(net).set_params(max_epochs=5)
selector = ForgettingSelector(scoring_net, k=1 / 3, balance=True, random_state=0, verbose=1)
X_kept, y_kept = selector.fit_resample(X, y)
print(X_kept.shape, np.bincount(y_kept))

# %%
# The scores of one net can be reused for any number of training runs. The net is trained on the images that each strategy
# keeps, for 15 epochs with three seeds. It is also trained on all images, for 15 epochs and for 5 epochs. The latter takes as
# many steps as 15 epochs on a third of the images.


def mean_accuracy(X, y, max_epochs):
    accuracies = []
    for seed in range(3):
        torch.manual_seed(seed)
        accuracies.append(net.set_params(max_epochs=max_epochs).fit(X, y).score(X_test, y_test))
    return np.mean(accuracies)


def count_steps(n_images, max_epochs):
    return max_epochs * -(-n_images // net.batch_size)


trainings = {"all images, 15 epochs": (np.arange(len(X)), 15), "all images, 5 epochs": (np.arange(len(X)), 5)}
for strategy in ("coverage", "most_forgotten", "random", "least_forgotten"):
    rows = selector.set_params(strategy=strategy).get_support(indices=True)
    trainings[f"{strategy.replace('_', ' ')}, 15 epochs"] = rows, 15

results = {}
for name, (rows, max_epochs) in trainings.items():
    results[name] = mean_accuracy(X[rows], y[rows], max_epochs), count_steps(len(rows), max_epochs)
    print(f"{name:>27}: {len(rows):5} images, {results[name][1]:4} steps, accuracy {results[name][0]:.1%}")
print(f"{'the scoring net':>27}: {len(X):5} images, {count_steps(len(X), 5):4} steps")

# %%
# Trained on the most forgotten images, the net is more accurate than after as many steps on all images, and nearly as
# accurate as after three times as many. Scoring and training together take about two thirds of the steps of a training on all
# images, and each further training takes a third. The labels of the digits are clean, which suits this strategy. The default,
# ``"coverage"``, is no better than random images here. It compares rules by light models, which can learn less from images
# than a convolutional net can.
import matplotlib.pyplot as plt

figure, ax = plt.subplots(figsize=(7, 3.2), layout="constrained")
accuracies = [accuracy for accuracy, _ in results.values()]
names = [f"{name}\n{n_steps} steps" for name, (_, n_steps) in results.items()]
bars = ax.barh(names, accuracies, color=["0.3", "0.6", "#0072B2", "#D55E00", "#009E73", "#999999"])
ax.bar_label(bars, fmt="{:.1%}", padding=3)
ax.invert_yaxis()
ax.set(xlabel="Test accuracy", xlim=(min(accuracies) - 0.05, 1.01))
ax.xaxis.set_major_formatter("{x:.0%}")
