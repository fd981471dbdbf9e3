"""Type A uncertainty of a mean of autocorrelated samples, by batch means, in constant memory.

Sources: G. S. Fishman, "Grouping observations in digital simulation", Management Science 24 (1978); the variance of the batches
from the mean square of successive differences, J. von Neumann et al., Annals of Mathematical Statistics 12 (1941), which a
trend does not inflate; the factor for few batches is JCGM 101:2008 (GUM Supplement 1), 6.4.9.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

MAX_BINS = 4096
FEW_BATCHES = 8
"""At least so many batches, even where √n is less."""
LEAST_BATCHES = 4
"""GUM Supplement 1 gives a standard uncertainty from four values on."""


class BatchMeans:
    """Collects samples one array at a time and estimates the standard uncertainty of their mean.

    Samples are summed into at most 4096 bins of equal size; when all are full, neighbours are merged. In the end bins
    form about √n batches of about √n samples, whose means are nearly independent.
    """

    def __init__(self) -> None:
        self._sums = np.zeros(MAX_BINS)
        self._full = 0
        self._size = 1
        self._rest = 0.0
        self._rest_count = 0

    @property
    def count(self) -> int:
        """Number of samples so far."""
        return self._full * self._size + self._rest_count

    def add(self, values: NDArray[np.float64]) -> None:
        """Take the next samples in order of time."""
        while len(values):
            room = (MAX_BINS - self._full) * self._size - self._rest_count
            self._bin(values[:room])
            values = values[room:]
            if self._full == MAX_BINS:
                self._merge()

    def u_mean(self) -> float | None:
        """Return the standard uncertainty of the mean, in the unit of the samples; None for fewer than 4 samples."""
        count = self.count
        if count < LEAST_BATCHES:
            return None
        length = count // max(FEW_BATCHES, round(math.sqrt(count)))
        bins = max(1, round(length / self._size))
        batches = self._full // bins
        means = self._sums[: batches * bins].reshape(batches, bins).sum(axis=1) / (bins * self._size)
        return _u_mean(means)

    def _bin(self, values: NDArray[np.float64]) -> None:
        if self._rest_count:
            head = min(self._size - self._rest_count, len(values))
            self._rest += float(values[:head].sum())
            self._rest_count += head
            values = values[head:]
            if self._rest_count < self._size:
                return
            self._sums[self._full] = self._rest
            self._full, self._rest, self._rest_count = self._full + 1, 0.0, 0
        whole = len(values) // self._size
        body = values[: whole * self._size]
        self._sums[self._full : self._full + whole] = body.reshape(whole, self._size).sum(axis=1)
        self._full += whole
        rest = values[whole * self._size :]
        self._rest, self._rest_count = float(rest.sum()), len(rest)

    def _merge(self) -> None:
        half = MAX_BINS // 2
        self._sums[:half] = self._sums.reshape(half, 2).sum(axis=1)
        self._full, self._size = half, self._size * 2


def u_mean(values: NDArray[np.float64]) -> float | None:
    """Return the standard uncertainty of the mean of autocorrelated samples; None for fewer than 4 of them."""
    batches = BatchMeans()
    batches.add(np.asarray(values, dtype=np.float64))
    return batches.u_mean()


def _u_mean(means: NDArray[np.float64]) -> float:
    count = len(means)
    # Differences of neighbours, less their mean, see scatter but not a trend, which the integral follows and which is no error
    # of it. White noise of variance s² has E Σ(d − mean d)² = 2 s² (n − 1 − 1/(n − 1)) over its n − 1 differences d.
    steps = np.diff(means)
    steps -= steps.mean()
    spread = math.sqrt(float(np.dot(steps, steps)) / (2.0 * (count - 1 - 1.0 / (count - 1)))) / math.sqrt(
        count
    )
    # The mean of few values follows Student's distribution, whose standard deviation is this much larger.
    return spread * math.sqrt((count - 1) / (count - 3))
