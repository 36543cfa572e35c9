"""The series of the Tweedie density."""

import mpmath as mp

from . import Stored


@Stored
def series(size, p):
    """Return delta and its two derivatives in log size by summation over the claims, 60 digits."""
    with mp.workdps(60):
        p, x = mp.mpf(p), mp.mpf(size)
        a, peak = (2 - p) / (p - 1), x / (2 - p)
        log_z = (1 + a) * mp.log(x) - mp.log(2 - p) - a * mp.log(p - 1)
        half = 18 * mp.sqrt(max(peak, 1) / (1 + a)) + 80 / (1 + a) + 10
        j = range(max(1, int(peak - half)), int(peak + half) + 1)
        terms = [mp.exp(k * log_z - mp.loggamma(k + 1) - mp.loggamma(k * a)) for k in j]
        total = mp.fsum(terms)
        mean = mp.fsum(k * t for k, t in zip(j, terms, strict=True)) / total
        spread = mp.fsum((k - mean) ** 2 * t for k, t in zip(j, terms, strict=True)) / total
        linear = x / ((2 - p) * (p - 1))
        value = mp.log(total) - linear - mp.log(x / (2 * mp.pi)) / 2
        return value, (1 + a) * mean - linear - mp.mpf(1) / 2, (1 + a) ** 2 * spread - linear
