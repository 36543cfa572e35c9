"""Notes and warnings about a fit: convergence, separation, boundary, aliased columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr
from statsmodels.genmod.families import links

from hetglm.estimation.record import Fit, at_fit
from hetglm.exceptions import (
    AliasedColumnWarning,
    BoundaryWarning,
    ConvergenceWarning,
    DomainEdgeWarning,
    SeparationWarning,
    SeveralMaximaWarning,
    SmallCountsWarning,
    UnboundedLikelihoodWarning,
)
from hetglm.families.quasi import Quasi
from hetglm.likelihood.boundary import Boundary
from hetglm.likelihood.likelihood import Likelihood
from hetglm.likelihood.links import invert
from hetglm.typing import Array
from hetglm.utils.linalg import gram, inverse
from hetglm.utils.messages import listed, warn

#: Information along a direction of the mean, relative to a typical row's, below which the direction
#: has no finite estimate.
MIN_RELATIVE_INFORMATION = 1e-6

#: Distance of a mean from its limit, relative to a typical one, below which a row is at the limit.
MAX_RELATIVE_TAIL = 1e-4

#: Change of a row's predictor along such directions, relative to the largest, that counts as none.
TOL_CHANGE = 1e-3

#: Share of the largest contribution to such a direction from which on a message names a coefficient.
MIN_NAMED_SHARE = 0.1

#: Expected size of a 5 % test above which the extended quasi-likelihood is warned of; where less is
#: expected the size is 3 to 8 % (tests/estimation/test_eql.py).
MAX_SIZE = 0.07

#: Normal quantile of a two-sided 5 % test.
NORMAL_QUANTILE = 1.959963984540054

#: Bias of the dispersion effects, in standard errors, above which a message states it.
MIN_STATED_BIAS = 0.2


def check_dispersion(likelihood: Likelihood) -> None:
    """Raise a ValueError where the family does not allow the columns of the dispersion, or none."""
    family = likelihood.family
    if not (likelihood.dispersion_is_known or family.has_dispersion):
        raise ValueError(
            f"exog_dispersion: the {family.name} of a dispersion part without columns (| 0) has phi = "
            "1; fit a model with these terms of the dispersion instead"
        )
    if likelihood.dispersion_is_known and likelihood.offset_dispersion is None:
        _check_unit_dispersion(likelihood)


def _check_unit_dispersion(likelihood: Likelihood) -> None:
    """Raise a ValueError where a dispersion without columns and offset is not phi = 1."""
    link, symbol = type(likelihood.link_dispersion), likelihood.family.symbol
    if likelihood.has_boundary:
        limit = likelihood.boundary_family.limit_at_zero
        raise ValueError(
            f"the dispersion has no columns (| 0), and {symbol} is not known: give its predictor, such "
            f"as offset_dispersion=np.log({symbol}), or write | 1 to estimate it; for {symbol} = 0, the "
            f"{limit}, fit DoubleGLM with | 0"
        )
    if link is not links.Log:
        raise ValueError(
            f"link_dispersion={link.__name__}: a dispersion without columns (| 0) is phi = 1 by the log "
            "link; leave link_dispersion out, or give offset_dispersion= on the scale of the link"
        )


def check_reml(likelihood: Likelihood) -> None:
    """Raise a ValueError where there is no dispersion for REML to adjust."""
    if likelihood.dispersion_is_known:
        raise ValueError(
            "reml=True: REML adjusts the dispersion for the estimated mean, and here the dispersion has "
            "no columns (| 0); fit by maximum likelihood"
        )


def warn_of_aliases(likelihood: Likelihood, estimable: Array, names: list[str]) -> None:
    """Warn once of aliased columns, by name."""
    text = aliased_text(likelihood, estimable, names)
    if text:
        warn(text, AliasedColumnWarning)


def aliased_text(likelihood: Likelihood, estimable: Array, names: list[str]) -> str:
    """Return the sentence on aliased columns, or an empty one."""
    aliased = [name for name, kept in zip(names, estimable, strict=True) if not kept]
    if not aliased:
        return ""
    uninformative = likelihood.uninformative()
    where = (
        ""
        if uninformative is None
        else f"; {likelihood.boundary_family.uninformative_text} are uninformative about the dispersion"
    )
    return (
        f"aliased, left out of the fit: {listed(aliased)} (each a linear combination of earlier columns "
        f"of its part{where}); the coefficients are reported as NaN"
    )


def diagnose(
    likelihood: Likelihood,
    fitted: Fit,
    estimable: Array,
    names: list[str],
    warn_convergence: bool = True,
) -> list[str]:
    """Return the notes on a fit, one sentence each, and warn of each by its own class."""
    notes = []
    if not fitted.converged:
        notes.append(
            f"the fit did not converge: {fitted.message} (scaled gradient {fitted.decrement:.1e}); try "
            "more iterations, start_params or a simpler dispersion"
        )
        if warn_convergence:
            warn(notes[-1], ConvergenceWarning)
    if fitted.unbounded:
        notes.append(
            f"{fitted.unbounded}; this is a local maximum away from the singularity, with a zero "
            "gradient"
        )
        warn(notes[-1], UnboundedLikelihoodWarning)
    if fitted.domain_boundary:
        notes.append(
            f"{fitted.domain_boundary}; the gradient is not zero there, so tests are approximate and "
            "standard errors are those of the expected information of the other rows; with a log or "
            "logit link the domain has no such boundary"
        )
        warn(notes[-1], DomainEdgeWarning)
    if not np.isfinite(fitted.llf):
        return notes
    separated = separation_text(likelihood, fitted, names)
    if separated and not fitted.criterion.comparable_means:
        raise ValueError(
            f"reml=True: {separated.removesuffix('; the other numbers stand')} and log det X'WX, which "
            "REML adjusts by, has no limit; take these terms out of the mean or fit by maximum "
            "likelihood"
        )
    if separated:
        separated += _undetermined_text(fitted, estimable, names)
        notes.append(separated)
        warn(separated, SeparationWarning)
    for text in boundary_texts(fitted.boundary, likelihood):
        notes.append(text)
        warn(text, BoundaryWarning)
    if not np.isnan(fitted.second):
        notes.append(
            "the likelihood has several maxima: this is the best one found (log-likelihood "
            f"{fitted.llf:.4f}), the next is at {fitted.second:.4f}, and there may be others; the data "
            "do not determine a dispersion of so many terms: use fewer"
        )
        warn(notes[-1], SeveralMaximaWarning)
    small = small_counts(likelihood, fitted)
    if small is not None:
        notes.append(f"{small.evidence}; {small.remedy}")
        warn(notes[-1], SmallCountsWarning)
    aliased = aliased_text(likelihood, estimable, names)
    return [*notes, aliased] if aliased else notes


@dataclass(frozen=True)
class SmallCounts:
    """
    Error of the extended quasi-likelihood (EQL) of a fit, against its reference distribution.

    Attributes
    ----------
    error : ndarray, shape (n,)
        Relative error of the expected unit deviance of each row, were the dispersion constant.
    se_ratio : float
        Largest ratio of the standard deviation of a combination of dispersion coefficients to its
        standard error.
    bias : float
        Length of the bias of the dispersion effects, in standard errors.
    remedy : str
        What to use instead.
    """

    error: Array
    se_ratio: float
    bias: float
    remedy: str

    @property
    def size(self) -> float:
        """Expected share of rejections of a test of no dispersion effect at 5 %."""
        above, below = (
            (NORMAL_QUANTILE - self.bias) / self.se_ratio,
            (NORMAL_QUANTILE + self.bias) / self.se_ratio,
        )
        return float(ndtr(-above) + ndtr(-below))

    @property
    def evidence(self) -> str:
        """Sentence on the error."""
        largest = self.error.max()
        off = f"up to about {100 * largest:.0f} %" if largest < 0.5 else "50 % or more"
        biased = ""
        if self.bias > MIN_STATED_BIAS:
            biased = (
                f", and its dispersion effects are off by about {self.bias:.1f} standard errors"
            )
        return (
            "expected counts are small against the dispersion for the extended quasi-likelihood (EQL): "
            f"its phi is off by {off}{biased}, so tests of the dispersion and all standard errors are "
            "unreliable"
        )


def small_counts(likelihood: Likelihood, fitted: Fit) -> SmallCounts | None:
    """
    Return the error of the extended quasi-likelihood where it misleads, None where it does not.

    The score of the dispersion is the sum of z (d/phi - 1)/2. Were d/phi a chi-square of one degree of
    freedom its mean would be 0 and its variance the information; with the relative error b of the
    saddlepoint d/phi is about (1 + b) times that (a Bartlett factor). b is taken at one common phi, as
    under the hypothesis that is tested.
    """
    family, k = likelihood.family, likelihood.k_mean
    kept = fitted.estimated[k:]
    if family.exact or not isinstance(family, Quasi) or not kept.any():
        return None
    at = likelihood.predictors(fitted.internal)
    freq = np.ones(likelihood.n) if likelihood.freq is None else likelihood.freq
    error = family.saddlepoint_error(
        at.mean.mu, at.mean.nu, _reference_phi(likelihood, at.phi, freq)
    )
    Z, slope = likelihood.Z[:, kept], at.d_phi / at.phi
    information = gram(Z, freq * slope**2, Z)
    covariance = inverse(information)
    if covariance is None:
        return None
    root = np.linalg.cholesky(covariance)
    ratio = np.linalg.eigvalsh(root.T @ gram(Z, freq * (slope * (1 + error)) ** 2, Z) @ root)[-1]
    level = np.sum(freq * slope * error) / np.sum(freq * slope**2)
    score = root.T @ (Z.T @ (freq * slope * (error - level * slope)))
    bias = np.sqrt(0.5 * np.sum(score**2))
    found = SmallCounts(error, float(np.sqrt(ratio)), float(bias), family.instead())
    return found if found.size > MAX_SIZE else None


def _reference_phi(likelihood: Likelihood, phi: Array, freq: Array) -> Array:
    """
    Return phi / w of the reference distribution of each row, at the one phi of the hypothesis.

    Counts cannot vary less than in steps of 1: at phi < 1 it is their variance phi mu, not mu/phi,
    that has to be large.
    """
    common = np.full(likelihood.n, np.average(phi, weights=freq))
    phi = common if likelihood.offset_dispersion is None else phi
    counts = likelihood.y if likelihood.weights is None else likelihood.y * likelihood.weights
    if np.allclose(counts, np.rint(counts), rtol=1e-9, atol=1e-9):
        phi = np.maximum(phi, 1 / phi)
    return likelihood.row_phi(phi)


def boundary_texts(boundary: Boundary | None, likelihood: Likelihood) -> list[str]:
    """Return the sentences on rows whose dispersion is zero or infinite."""
    if boundary is None:
        return []
    family = likelihood.boundary_family
    rows, infinite, terms = boundary.rows, boundary.infinite, boundary.terms
    limit = family.limit_at_zero
    has = "has" if len(terms) == 1 else "have"
    no_estimate = (
        f"{listed(terms)} {has} no finite estimate; the log-likelihood is the limiting value, all other "
        "results treat these rows as"
    )
    texts = []
    if rows.any():
        texts.append(
            f"the dispersion is zero in {likelihood.names.text(rows)}, at the {limit} boundary: "
            f"these rows are no more variable than the {limit}, and {no_estimate} {limit}"
        )
    if infinite.any():
        texts.append(
            f"the dispersion is infinite in {likelihood.names.text(infinite)}: these rows are "
            f"{family.limit_at_infinity}, and {no_estimate} that"
        )
    return texts


def separation_text(likelihood: Likelihood, fitted: Any, names: list[str]) -> str:
    """Return the sentence on mean terms without a finite estimate, or an empty one."""
    found = separated(likelihood, fitted, names)
    if found is None:
        return ""
    rows, terms = found
    has = "has" if len(terms) == 1 else "have"
    return (
        f"the response is separated: {likelihood.names.text(rows)} are fitted at the limit of the "
        f"mean, so {listed(terms)} {has} no finite estimate; the other numbers stand"
    )


def separated(
    likelihood: Likelihood, fitted: Any, names: list[str]
) -> tuple[Array, list[str]] | None:
    """
    Return the rows at a limit of the mean and the coefficients without a finite estimate, or None.

    Parameters
    ----------
    likelihood : Likelihood
    fitted : Fit or MixedFit
        Of the latter the mean without random effects.
    names : list of str
    """
    k = likelihood.k_mean
    keep = fitted.estimated[:k]
    likelihood = at_fit(likelihood, fitted)
    unit = likelihood.family.unit_interval
    eta = likelihood.mean_predictor(fitted.internal[:k])
    if unit and _away_from_limits(likelihood.link, eta):
        return None
    at = likelihood.predictors(fitted.internal)
    tail = np.minimum(at.mean.mu, at.mean.nu) if unit else np.abs(at.mean.mu)
    # of counts those of 0 can be separated, which may be most rows: the others are typical
    typical = 0.5 if unit else np.median(tail[likelihood.y != 0] if likelihood.y.any() else tail)
    at_limit = (tail < MAX_RELATIVE_TAIL * typical) & (
        np.abs(at.mean.d1) < MAX_RELATIVE_TAIL * typical
    )
    if not at_limit.any() or not keep.any():
        return None
    X = likelihood.X[:, keep]
    weight = np.nan_to_num(-likelihood.expected_factors(fitted.internal)[0])
    if at_limit.all():  # no other row to compare with: the direction of the search itself
        flat = fitted.internal[:k][keep][:, None]
    else:
        flat = _flat_directions(X, np.maximum(weight, 0.0), ~at_limit)
    change = np.max(np.abs(X @ flat), axis=1, initial=0.0)
    rows = at_limit & (change > TOL_CHANGE * change.max())
    if not rows.any():
        return None
    share = np.max(np.abs(flat), axis=1) * np.sqrt(np.mean(X**2, axis=0))
    kept = [name for name, kept in zip(names[:k], keep, strict=True) if kept]
    terms = [name for name, s in zip(kept, share, strict=True) if s > MIN_NAMED_SHARE * share.max()]
    return rows, terms


def _away_from_limits(link: Any, eta: Array) -> bool:
    """Return whether no probability is near a limit, by the smallest and the largest predictor."""
    range_ = invert(link, np.array([eta.min(), eta.max()]))
    return bool(np.minimum(range_.mu, range_.nu).min() >= 0.5 * MAX_RELATIVE_TAIL)


def _undetermined_text(fitted: Fit, estimable: Array, names: list[str]) -> str:
    """Return text on coefficients that are determined by separated rows only."""
    known = set() if fitted.boundary is None else set(fitted.boundary.terms)
    coefficients = zip(names, estimable, fitted.estimated, strict=True)
    lost = [name for name, kept, found in coefficients if kept and not found and name not in known]
    return f", but {listed(lost)} cannot be estimated from the other rows" if lost else ""


def _flat_directions(X: Array, weight: Array, plain: Array) -> Array:
    """Return the combinations of columns of negligible information, shape (k, r)."""
    scale = np.sqrt(np.einsum("ij,ij->j", X, X))
    S = X / scale
    gram_inverse = inverse(gram(S, None, S))
    if gram_inverse is None:
        return np.zeros((X.shape[1], 0))
    root = np.linalg.cholesky(gram_inverse)
    values, vectors = np.linalg.eigh(root.T @ gram(S, weight, S) @ root)
    informative = weight[plain & (weight > 0)]
    typical = float(np.median(informative)) if len(informative) else 1.0
    flat = vectors[:, values <= MIN_RELATIVE_INFORMATION * typical]
    return np.asarray(root @ flat / scale[:, None])
