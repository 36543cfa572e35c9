"""Facts of the beta-binomial family."""

import mpmath as mp
from scipy import stats

import hetglm.api as het
from hetglm.families.betabinomial import BetaBinomial
from specs.spec import Spec


def loglike(f, y, m, sigma, n):
    # draws from an urn: finite at sigma = 0, where the beta functions are not
    y, n = int(y), int(n)
    value = mp.log(mp.binomial(n, y)) - mp.fsum(mp.log(1 + j * sigma) for j in range(n))
    value += mp.fsum(mp.log(m + j * sigma) for j in range(y))
    return value + mp.fsum(mp.log(1 - m + j * sigma) for j in range(n - y))


SPEC = Spec(
    families=[BetaBinomial()],
    loglike=loglike,
    variance=lambda f, m, sigma, n: n * m * (1 - m) * (1 + (n - 1) * sigma / (1 + sigma)),
    scipy=lambda m, sigma, n: stats.betabinom(n, m / sigma, (1 - m) / sigma),
    refused=[
        ([1, 2], None, "needs the number of trials"),
        ([1, 2], [3, 0], "n_trials must be whole numbers of at least 1.*see row 1"),
        ([1, 2], [3, 2.5], "n_trials must be whole numbers"),
        ([1, -2], [3, 3], "must not be negative; see row 1"),
        ([0.5, 2], [3, 3], "whole number; for proportions write y \\* n_trials; see row 0"),
        ([1, 4], [3, 3], "more successes than trials.*see row 1"),
        ([1, 0], [1, 1], "every row has one trial"),
    ],
    orthogonal=False,
    model=het.BetaBinomial,
    response="K",
)
