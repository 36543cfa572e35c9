"""The negative binomial log-probability and its derivatives in alpha."""

import mpmath as mp

from . import Stored


@Stored
def terms(y, mu, a):
    """Return value, and the derivatives in alpha (first, second), at many digits."""
    with mp.workdps(60):
        y, mu, a = mp.mpf(y), mp.mpf(mu), mp.mpf(a)
        if a == 0:
            cubes = (y - 1) * y * (2 * y - 1) / 6
            value = y * mp.log(mu) - mu - mp.loggamma(y + 1)
            return value, ((y - mu) ** 2 - y) / 2, y * mu**2 - 2 * mu**3 / 3 - cubes
    # differences of digamma at 1/alpha lose four times its digits
    with mp.workdps(100 + int(max(0, -4 * mp.log10(a)))):
        x, c = 1 / a, 1 + a * mu
        psi, psi1 = mp.psi(0, y + x) - mp.psi(0, x), mp.psi(1, y + x) - mp.psi(1, x)
        value = mp.loggamma(y + x) - mp.loggamma(x) - mp.loggamma(y + 1)
        value += y * mp.log(a * mu) - (y + x) * mp.log(c)
        slope = y * x - x**2 * psi - (y + x) * mu / c + x**2 * mp.log(c)
        bend = -y * x**2 + 2 * x**3 * psi + x**4 * psi1
        bend += (y + x) * (mu / c) ** 2 + 2 * x**2 * mu / c - 2 * x**3 * mp.log(c)
        return value, slope, bend
