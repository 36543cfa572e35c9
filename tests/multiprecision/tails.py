"""Logarithms of the probabilities below and above a response, far out in both tails."""

import mpmath as mp

from . import Stored


def logs(*probabilities):
    """Return logarithms, of what is not positive minus infinity."""
    return [float(mp.log(p)) if p > 0 else -float("inf") for p in probabilities]


@Stored
def gamma(phi, y):
    """Return both tails of the gamma distribution of mean 1."""
    with mp.workdps(40):
        k = 1 / mp.mpf(phi)
        return logs(*(mp.gammainc(k, *e, regularized=True) for e in ((0, y * k), (y * k, mp.inf))))


@Stored
def inverse_gaussian(mu, phi, y):
    """Return both tails of the inverse Gaussian."""
    with mp.workdps(60):
        root = mp.sqrt(1 / (mp.mpf(phi) * y))
        a, b = root * (y / mp.mpf(mu) - 1), -root * (y / mp.mpf(mu) + 1)
        other = mp.exp(2 / (mp.mpf(phi) * mu)) * mp.ncdf(b)
        return logs(mp.ncdf(a) + other, mp.ncdf(-a) - other)


@Stored
def negative_binomial(mu, alpha, y):
    """Return both tails of the negative binomial, and the logarithm of the probability of y."""
    with mp.workdps(60):

        def mass(j):
            if alpha == 0:
                return mp.exp(-mu) * mp.mpf(mu) ** j / mp.factorial(j)
            k = 1 / mp.mpf(alpha)
            p = k / (k + mu)
            return mp.binomial(j + k - 1, j) * p**k * (1 - p) ** j

        # beyond 1200 all of it is below
        below = mp.fsum(mass(j) for j in range(y)) if y <= 1200 else mp.mpf(1)
        above, j = mp.mpf(0), y + 1
        while j < mu or mass(j) > above * mp.mpf(10) ** -20:
            above, j = above + mass(j), j + 1
        return logs(below, above, mass(y))


@Stored
def beta_binomial(mu, sigma, n, y):
    """Return both tails of the beta-binomial, the smaller one by its sum."""
    with mp.workdps(60):

        def mass(j):
            if sigma == 0:
                return mp.binomial(n, j) * mp.mpf(mu) ** j * (1 - mp.mpf(mu)) ** (n - j)
            a, b = mp.mpf(mu) / mp.mpf(sigma), (1 - mp.mpf(mu)) / mp.mpf(sigma)
            return mp.binomial(n, j) * mp.beta(j + a, n - j + b) / mp.beta(a, b)

        near = 600  # far out the sum is over at once
        if y < mu * n:
            low = mp.fsum(mass(j) for j in range(max(0, y - near), y))
            return logs(low, 1 - low - mass(y))
        high = mp.fsum(mass(j) for j in range(y + 1, min(n, y + near) + 1))
        return logs(1 - high - mass(y), high)


@Stored
def tweedie(mu, phi, y):
    """Return both tails of the Tweedie of power 3/2, and the logarithm of the probability of 0."""
    mu, phi = mp.mpf(mu), mp.mpf(phi)
    with mp.workdps(600):  # of 1 - (1 - 1e-500)
        # the summands are exponential; j of them exceed y as a Poisson count is below j
        rate, x = 2 * mp.sqrt(mu) / phi, 2 * y / (phi * mp.sqrt(mu))
        number, counted = mp.exp(-rate), mp.exp(-x)
        below, above = (number if y > 0 else mp.mpf(0)), mp.mpf(0)
        short = counted  # P(Poisson(x) < j)
        for j in range(1, 3000):
            number *= rate / j
            above += number * (short if y else 1)
            below += number * (1 - short) if y else 0
            counted *= x / j
            short += counted
        return [*logs(below, above), float(-rate)]
