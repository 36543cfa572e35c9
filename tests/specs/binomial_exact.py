"""Facts of the binomial distribution, which has no dispersion."""

import mpmath as mp
from scipy import stats

from hetglm.families.binomial import Binomial
from specs.spec import Spec


def loglike(f, y, m, phi, n):
    return mp.log(mp.binomial(n, y)) + y * mp.log(m) + (n - y) * mp.log(1 - m)


SPEC = Spec(
    families=[Binomial()],
    loglike=loglike,
    variance=lambda f, m, phi, n: n * m * (1 - m),
    scipy=lambda m, phi, n: stats.binom(n, m),
    refused=[
        ([1, 2], [3, 0], "n_trials must be whole numbers of at least 1; see row 1"),
        ([1, 2], [3, 2.5], "n_trials must be whole numbers"),
        ([1, -2], [3, 3], "must not be negative; see row 1"),
        ([0.5, 1], None, "whole number; give n_trials .* offset_dispersion=0 .* see row 0"),
        ([1, 2], None, "more successes than trials; give n_trials.*see row 1"),
    ],
)
