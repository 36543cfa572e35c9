"""Facts of the negative binomial family."""

import mpmath as mp
from scipy import stats

import hetglm.api as het
from hetglm.families.negbin import NegativeBinomial
from specs.spec import Spec


def loglike(f, y, m, a, n):
    with mp.workdps(150):
        if abs(a) < 1e-15:
            # the power series in alpha: sums of j^k over j < y are Bernoulli polynomials
            powers = [(mp.bernpoly(k + 1, y) - mp.bernoulli(k + 1)) / (k + 1) for k in range(1, 9)]
            draws = mp.fsum(-((-a) ** k) / k * s for k, s in enumerate(powers, 1))
            zero = m * mp.fsum((-a * m) ** k / (k + 1) for k in range(9))
        else:
            draws = mp.loggamma(y + 1 / a) - mp.loggamma(1 / a) + y * mp.log(a)
            zero = mp.log(1 + a * m) / a
        return draws + y * mp.log(m / (1 + a * m)) - zero - mp.loggamma(y + 1)


SPEC = Spec(
    families=[NegativeBinomial()],
    loglike=loglike,
    variance=lambda f, m, a, n: m + a * m**2,
    scipy=lambda m, a, n: stats.nbinom(1 / a, 1 / (1 + a * m)),
    refused=[
        ([1, -2], None, "a count must not be negative; see row 1"),
        ([0.5, 2], None, "count must be a whole number; for a rate .* exposure=; see row 0"),
        ([0, 0], None, "every response is 0"),
    ],
    model=het.NegativeBinomial,
    response="count",
    alike="beta-binomial",
)
