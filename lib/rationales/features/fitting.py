"""Standardised logistic regression, and the choice of its settings inside the training texts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import log_expit, log_softmax
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

from rationales.errors import StudyError, require_known

REGULARISATIONS = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)
SOLVERS = ("lbfgs", "newton-cholesky", "saga")  # saga alone is random: it visits the texts in a drawn order
TOLERANCES = {"lbfgs": 1e-8, "newton-cholesky": 1e-8, "saga": 1e-4}


@dataclass(frozen=True)
class FitSettings:
    """How a model is fitted.

    fold_seed, solver_seed: of the folds, and of the solver's order. regularisations: values of scikit-learn's C (small
    is strong) to choose among.
    """

    fold_seed: int = 0
    solver_seed: int = 0
    solver: str = "lbfgs"
    folds: int = 5
    regularisations: tuple[float, ...] = REGULARISATIONS

    def __post_init__(self):
        require_known(self.solver, SOLVERS, "solver")
        if self.folds < 2:
            raise StudyError(f"`folds` is {self.folds}; cross-validation needs at least 2.")
        if not self.regularisations or min(self.regularisations) <= 0:
            raise StudyError("`regularisations` must hold at least one positive number.")


@dataclass(frozen=True)
class LinearFit:
    """A fitted linear model: score = intercept + sum of coefficient * (value - mean) / scale.

    coefficients: (n_labels, n_features), per standard deviation; intercepts: (n_labels,). Two labels: the score is the
    logit of the label against the other, so that the rows differ in sign only. More labels: the scores whose softmax
    are the probabilities; over the labels, coefficients add up to 0.
    """

    means: np.ndarray
    scales: np.ndarray
    coefficients: np.ndarray
    intercepts: np.ndarray

    def standardise(self, values: np.ndarray) -> np.ndarray:
        """Values (n, n_features) in standard deviations from the training mean; NaN counts as the mean."""
        return np.where(np.isnan(values), 0.0, (values - self.means) / self.scales)

    def scores(self, values: np.ndarray) -> np.ndarray:
        """Score of every label: (n, n_labels)."""
        return self.intercepts + self.standardise(values) @ self.coefficients.T

    def log_probabilities(self, values: np.ndarray) -> np.ndarray:
        """Log-probability of every label: (n, n_labels)."""
        scores = self.scores(values)
        return log_expit(scores) if scores.shape[1] == 2 else log_softmax(scores, axis=1)


@dataclass(frozen=True)
class Standardised:
    """Training values in standard deviations from their mean, made once for fits of several penalties.

    values: (n, n_features), NaN set to the mean. varied: (n_features,), whether a feature has more than one value.
    """

    values: np.ndarray
    means: np.ndarray
    scales: np.ndarray
    varied: np.ndarray


def standardise_values(values: np.ndarray) -> Standardised:
    """Return the values (n, n_features) as a fit sees them; a feature without a value counts as 0 everywhere."""
    filled = SimpleImputer(keep_empty_features=True).fit_transform(values)
    scaler = StandardScaler().fit(filled)
    varied = np.ptp(filled, axis=0) > 0  # rounding leaves equal values a variance above 0
    return Standardised(scaler.transform(filled), scaler.mean_, scaler.scale_, varied)


def fit_linear(
    values: np.ndarray | Standardised, targets: np.ndarray, regularisation: float, solver: str = "lbfgs", seed: int = 0
) -> LinearFit:
    """Return scikit-learn's logistic regression (L2) on standardised values (n, n_features), NaN set to the mean.

    targets: (n,) label numbers; every number from 0 must occur. A constant feature, or one without a value, has the
    coefficient 0.
    """
    n_labels = int(targets.max()) + 1
    given = values if isinstance(values, Standardised) else standardise_values(values)
    regression = LogisticRegression(
        C=regularisation, solver=solver, tol=TOLERANCES[solver], max_iter=5000, random_state=seed
    ).fit(given.values, targets)
    rows, intercepts = regression.coef_, regression.intercept_
    if n_labels == 2:
        rows, intercepts = np.concatenate([-rows, rows]), np.concatenate([-intercepts, intercepts])
    return LinearFit(given.means, given.scales, np.where(given.varied, rows, 0.0), intercepts)


def assign_folds(texts: Sequence[str], targets: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    """Return the fold of each row, (n,), stratified by label; equal texts share a fold, and row order has no effect.

    Fewer folds where a label has fewer different texts; StudyError below two.
    """
    different, first, group = np.unique(np.asarray(texts, dtype=object), return_index=True, return_inverse=True)
    labels = targets[first]
    smallest = int(np.bincount(labels, minlength=int(targets.max()) + 1).min())
    if smallest < 2:
        raise StudyError("Cross-validation needs at least two different training texts per label; give more texts.")
    splitter = StratifiedKFold(min(n_folds, smallest), shuffle=True, random_state=seed)
    fold_of_text = np.zeros(len(different), dtype=int)
    for number, (_, held_out) in enumerate(splitter.split(np.zeros(len(different)), labels)):
        fold_of_text[held_out] = number
    return fold_of_text[group]


def cross_validate(
    build: Callable[[np.ndarray], dict[int, np.ndarray]],
    targets: np.ndarray,
    folds: np.ndarray,
    settings: FitSettings,
) -> pd.DataFrame:
    """Return the held-out log loss (nats per text) and accuracy of every setting: size, regularisation, and these two.

    build: from the rows (n,) of booleans that a fold trains on, the values (n, n_features) of all rows for each size;
    whatever it chooses, it may choose from these rows only.
    """
    rows = []
    for fold in np.unique(folds):
        train = folds != fold
        for size, values in build(train).items():
            standardised = standardise_values(values[train])
            for regularisation in settings.regularisations:
                fit = fit_linear(standardised, targets[train], regularisation, settings.solver, settings.solver_seed)
                found = fit.log_probabilities(values[~train])
                loss = -found[np.arange(len(found)), targets[~train]]
                correct = found.argmax(axis=1) == targets[~train]
                rows.append((size, regularisation, loss.sum(), correct.sum(), len(loss)))
    table = pd.DataFrame(rows, columns=["size", "regularisation", "log_loss", "accuracy", "n"])
    sums = table.groupby(["size", "regularisation"], as_index=False).sum()
    return sums.assign(log_loss=sums["log_loss"] / sums["n"], accuracy=sums["accuracy"] / sums["n"])


def choose_settings(table: pd.DataFrame) -> tuple[int, float]:
    """Return (size, regularisation) of the least log loss; equal ones: the smaller size, then the stronger penalty."""
    ordered = table.assign(rounded=table["log_loss"].round(12)).sort_values(["rounded", "size", "regularisation"])
    return int(ordered["size"].iloc[0]), float(ordered["regularisation"].iloc[0])
