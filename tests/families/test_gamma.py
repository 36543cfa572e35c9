"""The Gamma family at dispersions where the textbook form of its log-likelihood has no digits left."""

import mpmath as mp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from specs.gamma import loglike

from hetglm.families.gamma import Gamma

EPS = np.finfo(float).eps
DPS = 50
#: Values: some roundings of each of the terms they are the sum of.
VALUE = 5e-14
#: Derivatives, relative; and in units of their own standard deviation where they pass through zero.
SLOPE, SLOPE_SD = 1e-11, 1e-13


@pytest.mark.parametrize("phi", [1e-12, 1e-8, 1e-5, 1e-3, 0.07, 0.083, 0.09, 1, 30, 1e3, 1e6])
def test_gamma_is_accurate_at_any_dispersion(phi):
    # the textbook form loses log(1/phi)/phi units of the last place
    family = Gamma()
    ratio = np.array([1e-30, 1e-3, 1 - 1e-6, 1.0, 1 + 1e-6, 2.0, 50.0])
    y, mu, s = 3 * ratio, np.full(7, 3.0), np.full(7, float(phi))
    got = family.evaluate(family.prepare(y, None), mu, None, s)
    info = family.information_phi(s)
    with mp.workdps(DPS):
        for i in range(7):
            at = mp.mpf(y[i]), mp.mpf(3), mp.mpf(float(phi))
            k = 1 / at[2]
            value = loglike(family, *at, None)
            size = 1 + abs(value) + abs(mp.log(k)) + abs(mp.log(at[0])) + abs((y[i] - 3) / 3 * k)
            assert abs(got.loglike[i] - value) < VALUE * size
            # d/dphi = -k^2 d/dk of k log(k y/mu) - k y/mu - lgamma(k), and once more
            first = mp.log(k) + 1 + mp.log(at[0] / 3) - at[0] / 3 - mp.digamma(k)
            second = 1 / k - mp.psi(1, k)
            slopes = -(k**2) * first, k**4 * second + 2 * k**3 * first
            units = mp.sqrt(info[i]), mp.mpf(info[i])
            # y is rounded to a double: what that moves, in units of the last place
            moved = abs(k**2 * (at[0] / 3 - 1)) * EPS, abs(2 * k**3 * (at[0] / 3 - 1)) * EPS
            for part, slope, unit, m in zip(("phi", "phi_phi"), slopes, units, moved, strict=True):
                error = abs(getattr(got, part)[i] - slope)
                assert error < SLOPE * abs(slope) + SLOPE_SD * unit + 4 * m, (part, ratio[i])
            assert_allclose(info[i], float(k**4 * (mp.psi(1, k) - 1 / k)), rtol=1e-12)
