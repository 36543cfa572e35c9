"""The beta-binomial log-likelihood and its derivatives, at 60 digits beyond what plain formulas lose."""

import math

import mpmath as mp

from . import Stored


def binomial_limit(n, y, mu, nu):
    """Return the terms at sigma = 0 by Taylor expansion of the sums over draws."""

    def first(k):
        return mp.mpf(k) * (k - 1) / 2

    def second(k):
        return mp.mpf(k) * (k - 1) * (2 * k - 1) / 6

    z = n - y
    return [
        y * mp.log(mu) + z * mp.log(nu),
        y / mu - z / nu,
        first(y) / mu + first(z) / nu - first(n),
        -y / mu**2 - z / nu**2,
        -first(y) / mu**2 + first(z) / nu**2,
        -second(y) / mu**2 - second(z) / nu**2 + second(n),
    ]


def polya(n, y, mu, nu, sigma):
    """Return the terms from log-gammas, digammas and trigammas."""
    c, z = 1 / sigma, n - y
    a, b = mu * c, nu * c

    def differences(x, k):
        trigamma = mp.polygamma(1, x) - mp.polygamma(1, x + k)
        return mp.loggamma(x + k) - mp.loggamma(x), mp.digamma(x + k) - mp.digamma(x), trigamma

    (la, pa, ta), (lb, pb, tb), (lc, pc, tc) = (
        differences(*args) for args in ((a, y), (b, z), (c, n))
    )
    slope = mu * pa + nu * pb - pc
    return [
        la + lb - lc,
        c * (pa - pb),
        -(c**2) * slope,
        -(c**2) * (ta + tb),
        -(c**2) * ((pa - a * ta) - (pb - b * tb)),
        2 * c**3 * slope - c**4 * (mu**2 * ta + nu**2 * tb - tc),
    ]


@Stored
def reference(n, y, mu, nu, sigma):
    """Return the six terms, the smaller tail taken as exact."""
    # c^4 times differences of trigammas leaves what is of order n^2.
    lost = 0 if sigma == 0 else int(5 * abs(math.log10(sigma)))
    with mp.workdps(120 + lost):
        n, y = int(n), int(y)
        mu, nu = mp.mpf(mu), mp.mpf(nu)
        mu, nu = (mu, 1 - mu) if mu <= nu else (1 - nu, nu)
        ways = mp.loggamma(n + 1) - mp.loggamma(y + 1) - mp.loggamma(n - y + 1)
        terms = binomial_limit(n, y, mu, nu) if sigma == 0 else polya(n, y, mu, nu, mp.mpf(sigma))
        return [float(ways + terms[0]), *map(float, terms[1:])]
