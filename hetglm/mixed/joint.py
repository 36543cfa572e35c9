"""
The joint log-density of the responses and the standardized random effects, and its mode.

h(u) = sum of l_i(eta_i, zeta_i) - |u|^2 / 2 with (eta, zeta) = fixed part + A Lambda u. With M = A'WA, W
minus the observed second derivatives of the rows, the negative Hessian is H = I + Lambda' M Lambda.
Fixed columns that are integrated out are loadings of one level without prior and with Lambda = I.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
from scipy import sparse

from hetglm.design.random_terms import GroupingFactor
from hetglm.likelihood.likelihood import Factors, Likelihood
from hetglm.mixed.cholesky import BlockedCholesky, Indefinite
from hetglm.mixed.derivatives import DIFFERENCE_STEP, LinearRows, ends, linear_rows, unit
from hetglm.mixed.loadings import Crossing, Loading, Symmetric, fixed_loading, loading_of
from hetglm.typing import Array

#: Squared Newton decrement at which the mode is found: its error enters log|H| at first order, and the
#: gradient of the approximation is differenced.
TOL_MODE = 1e-17
#: Squared decrement at which a mode is accepted that rounding keeps from improving.
TOL_STALLED_MODE = 1e-10
#: Ratio of successive squared decrements from which on they stall.
MAX_DECREMENT_RATIO = 0.5
#: Newton steps to a mode, at most.
MAX_MODE_STEPS = 200
#: Share of a step below which halving stops.
MIN_STEP_SHARE = 2.0**-30
#: Share of entries above which the products of the first loading with the others are stored dense.
MAX_DENSITY = 0.1
#: Loss of h, in units of 1 + |h|, that rounding explains.
TOL_ROUNDING = 1e-12

#: Parts of the mode's vector: one array of shape (G, k) for each loading.
Effects = list[Array]


class NoModeError(Exception):
    """Raised where the joint log-density has no mode that Newton's method reaches."""


@dataclass(frozen=True)
class Mode:
    """
    The joint log-density at a point u, the mode once the search has ended.

    Attributes
    ----------
    u : list of ndarray, shapes (G, k)
        Of each loading, the one that is eliminated first first.
    Lambdas : list of ndarray, shapes (k, k)
    eta, zeta : ndarray, shape (n,)
        Linear predictors with u.
    factors : Factors
        Row-wise log-likelihood and derivatives.
    by_group : ndarray
        h of each group where there is one loading, else its sum alone.
    """

    u: Effects
    Lambdas: list[Array]
    eta: Array
    zeta: Array
    factors: Factors
    by_group: Array

    @property
    def value(self) -> float:
        """Joint log-density."""
        return float(self.by_group.sum())

    @cached_property
    def W(self) -> Symmetric:
        """Minus the second derivatives of each row."""
        f = self.factors
        assert f.eta_eta is not None and f.eta_zeta is not None and f.zeta_zeta is not None
        return Symmetric(-f.eta_eta, -f.eta_zeta, -f.zeta_zeta)

    @property
    def score(self) -> tuple[Array, Array]:
        """First derivatives of each row in eta and zeta, each of shape (n,)."""
        assert self.factors.eta is not None and self.factors.zeta is not None
        return self.factors.eta, self.factors.zeta

    @cached_property
    def is_finite(self) -> bool:
        """Whether value and derivatives are finite."""
        arrays = (self.by_group, *self.score, *self.W)
        return all(bool(np.all(np.isfinite(a))) for a in arrays)


@dataclass(frozen=True)
class Products:
    """A'WA of the loadings: ``own`` of shapes (G, k, k), ``crossed`` of shapes (P, k, l)."""

    own: list[Array]
    crossed: list[Array]


@dataclass
class JointDensity:
    """
    Joint log-density of responses and random effects, and its modes at given parameters.

    Parameters
    ----------
    likelihood : Likelihood
        Its designs are the fixed columns that are not integrated out.
    factors : tuple of GroupingFactor
    integrated : tuple of ndarray, shapes (n, r) and (n, s), optional
        Fixed columns of the mean and of the dispersion that are integrated out.
    """

    likelihood: Likelihood
    factors: tuple[GroupingFactor, ...]
    integrated: tuple[Array, Array] | None = None
    loadings: list[Loading] = field(init=False)
    order: list[int] = field(init=False)
    crossings: dict[tuple[int, int], Crossing] = field(init=False)
    evaluations: int = field(init=False, default=0)
    #: The rows to first order around a point, in their stead; see `linearised`.
    linear: LinearRows | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Order the loadings: the factor with most effects first, fixed columns last."""
        sizes = [-len(f.levels) * len(f.columns) for f in self.factors]
        self.order = [int(i) for i in np.argsort(sizes, kind="stable")]
        self.loadings = [loading_of(self.factors[i]) for i in self.order]
        if self.integrated is not None and sum(A.shape[1] for A in self.integrated):
            self.loadings.append(fixed_loading(*self.integrated))
        pairs = combinations(range(len(self.loadings)), 2)
        self.crossings = {(a, b): Crossing(self.loadings[a], self.loadings[b]) for a, b in pairs}
        rest = [loading.size for loading in self.loadings[1:]]
        self.ends = np.cumsum([0, *rest])
        n = self.likelihood.n
        self._bare = self.likelihood.with_designs(np.empty((n, 0)), np.empty((n, 0)))

    @property
    def integrated_columns(self) -> int:
        """Fixed columns that are integrated out."""
        return 0 if self.loadings[-1].prior else self.loadings[-1].k

    def zero(self) -> Effects:
        """Return u = 0."""
        return [np.zeros((loading.levels, loading.k)) for loading in self.loadings]

    def ordered_matrices(self, matrices: list[Array]) -> list[Array]:
        """Return Lambda of each loading, of matrices of the factors in the order of the user."""
        of_factors = [matrices[i] for i in self.order]
        rest = self.loadings[len(of_factors) :]
        return of_factors + [np.eye(loading.k) for loading in rest]

    def rows(self, eta: Array, zeta: Array, order: int = 2) -> Factors:
        """Return log-likelihood and derivatives of the rows at linear predictors."""
        if self.linear is not None:
            return self.linear(eta, zeta, order)
        self.evaluations += 1
        at = replace(self._bare, offset=eta, offset_dispersion=zeta)
        with np.errstate(all="ignore"):
            return at.factors(np.empty(0), order)

    def third_derivatives(self, at: Mode, predictor: int) -> Symmetric:
        """Return the derivatives of l_i'' in eta_i or in zeta_i, predictor 0 or 1."""
        if self.linear is not None:
            third = self.linear.some(range(3, 4), at.eta, at.zeta)
            return Symmetric(*third[predictor : predictor + 3])
        step = DIFFERENCE_STEP * unit(self.likelihood, at.factors, predictor)
        up, down = ends(self.rows, at.eta, at.zeta, step, predictor)
        return Symmetric(*((a - c) / (2 * step) for a, c in zip(up, down, strict=True)))

    def linearised(self, at: Mode) -> JointDensity:
        """Return the joint density with the rows to first order around a point."""
        out, predictors = copy(self), {j for a in self.loadings for j in a.predictors}
        out.linear = linear_rows(
            self.rows, self.likelihood, at.eta, at.zeta, at.factors, predictors
        )
        return out

    def fixed_part(self, coefficients: Array) -> tuple[Array, Array]:
        """Return eta and zeta without random effects and integrated columns, offsets included."""
        k = self.likelihood.k_mean
        eta = self.likelihood.mean_predictor(coefficients[:k])
        return eta, self.likelihood.dispersion_predictor(coefficients[k:])

    # The mode ----------------------------------------------------------------------------------

    def mode(
        self,
        fixed: tuple[Array, Array],
        Lambdas: list[Array],
        start: Effects,
        tol: float = TOL_MODE,
    ) -> Mode:
        """
        Return the mode of h(u), by Newton's method from a start, to a squared decrement ``tol``.

        ``fixed`` are eta and zeta without u, from `fixed_part`. Where H is not positive definite the
        step takes the absolute value of W, in the groups concerned. With one loading the length of a
        step is that of each group.

        Raises
        ------
        NoModeError
            If h is not finite at the start, or the steps find no mode.
        """
        here, before = self.at(fixed, Lambdas, start), np.inf
        if not here.is_finite:
            here = self.at(fixed, Lambdas, [np.zeros_like(u) for u in start])
        if not here.is_finite:
            raise NoModeError
        for _ in range(MAX_MODE_STEPS):
            step, decrement = self._step(here)
            if decrement <= tol:
                return here
            if decrement <= TOL_STALLED_MODE and decrement >= MAX_DECREMENT_RATIO * before:
                return here
            here, before = self._moved(fixed, here, step, decrement), decrement
        raise NoModeError

    def at(self, fixed: tuple[Array, Array], Lambdas: list[Array], u: Effects) -> Mode:
        """Return the joint log-density at a point."""
        eta, zeta = self.predictors(fixed, Lambdas, u)
        factors = self.rows(eta, zeta)
        return Mode(u, Lambdas, eta, zeta, factors, self._by_group(factors.loglike, u))

    def value(self, fixed: tuple[Array, Array], Lambdas: list[Array], u: Effects) -> float:
        """Return the joint log-density at a point alone."""
        loglike = self.rows(*self.predictors(fixed, Lambdas, u), 0).loglike
        return float(self._by_group(loglike, u).sum())

    def predictors(
        self, fixed: tuple[Array, Array], Lambdas: list[Array], u: Effects
    ) -> tuple[Array, Array]:
        """Return eta and zeta with random effects."""
        eta, zeta = (part.copy() for part in fixed)
        for loading, Lambda, part in zip(self.loadings, Lambdas, u, strict=True):
            more = loading.of_rows(part @ Lambda.T)
            eta += more[0]
            zeta += more[1]
        return eta, zeta

    def _by_group(self, loglike: Array, u: Effects) -> Array:
        if len(self.loadings) == 1:
            return self.loadings[0].by_group(loglike) - 0.5 * np.einsum("gj,gj->g", u[0], u[0])
        pairs = zip(self.loadings, u, strict=True)
        return np.array([loglike.sum() - 0.5 * sum((p**2).sum() for a, p in pairs if a.prior)])

    def _moved(
        self, fixed: tuple[Array, Array], here: Mode, step: Effects, decrement: float
    ) -> Mode:
        """Return the point after the step, halved where h would fall."""
        noise = TOL_ROUNDING * (1 + np.abs(here.by_group))
        share = np.ones(len(here.by_group))
        while share.max() >= MIN_STEP_SHARE:
            # one share for each group of the only loading, or one for all
            shares = share[:, None] if len(self.loadings) == 1 else share[0]
            u = [part + shares * more for part, more in zip(here.u, step, strict=True)]
            there = self.at(fixed, here.Lambdas, u)
            falls = ~(there.by_group >= here.by_group - noise)
            if not there.is_finite and not falls.any():
                falls[:] = True
            if not falls.any():
                return there
            share[falls] *= 0.5
        raise NoModeError

    def gradient(self, score: tuple[Array, Array], Lambdas: list[Array], u: Effects) -> Effects:
        """Return the gradient of h in u from the scores of the rows."""
        out = []
        for loading, Lambda, part in zip(self.loadings, Lambdas, u, strict=True):
            slope = loading.sums(*score) @ Lambda
            out.append(slope - part if loading.prior else slope)
        return out

    def _step(self, at: Mode) -> tuple[Effects, float]:
        """Return Newton's step and its squared decrement."""
        gradient = self.gradient(at.score, at.Lambdas, at.u)
        try:
            system = self.system(at)
        except Indefinite as exc:
            system = self._positive_system(at, exc)
        step = self.solve(system, gradient)
        return step, sum(float((g * s).sum()) for g, s in zip(gradient, step, strict=True))

    def _positive_system(self, at: Mode, where: Indefinite) -> BlockedCholesky:
        """Return H with the absolute value of W, in the groups concerned, else in all."""
        rows = np.ones(self.likelihood.n, dtype=bool)
        if where.groups is not None:
            rows = where.groups[self.loadings[0].codes]
        W = Symmetric(*(w.copy() for w in at.W))
        for w, positive in zip(W, absolute(Symmetric(*(w[rows] for w in at.W))), strict=True):
            w[rows] = positive
        try:
            return self.factorised(self.products(W), at.Lambdas)
        except Indefinite as exc:
            if rows.all():
                raise NoModeError from exc
            return self._positive_system(at, Indefinite(None))

    # H and its parts ---------------------------------------------------------------------------

    def products(self, W: Symmetric) -> Products:
        """Return A'WA."""
        own = [loading.products(W) for loading in self.loadings]
        return Products(own, [crossing.products(W) for crossing in self.crossings.values()])

    def system(self, at: Mode) -> BlockedCholesky:
        """Return H at a point, factorised."""
        return self.factorised(self.products(at.W), at.Lambdas)

    def factorised(self, M: Products, Lambdas: list[Array]) -> BlockedCholesky:
        """Return H of A'WA and Lambda, factorised."""
        r = int(self.ends[-1])
        RR = np.zeros((r, r))
        own = [
            L.T @ m @ L + (np.eye(L.shape[1]) if loading.prior else 0.0)
            for loading, m, L in zip(self.loadings, M.own, Lambdas, strict=True)
        ]
        for j, block in enumerate(own[1:], 1):
            at = self._positions(j)
            RR[at[:, :, None], at[:, None, :]] = block
        of_first = []
        for (a, b), m in zip(self.crossings, M.crossed, strict=True):
            block = Lambdas[a].T @ m @ Lambdas[b]
            at, to = self._positions_of_pairs(a, b)
            if a == 0:
                of_first.append((block, at, to))
            else:
                RR[at, to] = block
                RR[np.swapaxes(to, 1, 2), np.swapaxes(at, 1, 2)] = np.swapaxes(block, 1, 2)
        return BlockedCholesky(
            own[0], _assembled(of_first, (own[0].shape[0] * own[0].shape[1], r)), RR
        )

    def _positions_of_pairs(self, a: int, b: int) -> tuple[Array, Array]:
        """Return rows and columns of the blocks of a crossing, shapes (P, k, 1) and (P, 1, l)."""
        g, h = self.crossings[a, b].pairs
        return self._positions(a)[g][:, :, None], self._positions(b)[h][:, None, :]

    def _positions(self, j: int) -> Array:
        """Return the positions of a loading's coefficients, in the rest but for the first, (G, k)."""
        loading = self.loadings[j]
        return (self.ends[j - 1] if j else 0) + np.arange(loading.size).reshape(
            loading.levels, loading.k
        )

    def solve(self, system: BlockedCholesky, right: Effects) -> Effects:
        """Return H^-1 times a right-hand side in the form of u."""
        rest = [part.reshape(-1) for part in right[1:]]
        of_R = np.concatenate(rest) if rest else np.empty(0)
        first, second = system.solve(right[0][:, :, None], of_R[:, None])
        parts = np.split(second[:, 0], self.ends[1:-1]) if rest else []
        shaped = [part.reshape(old.shape) for part, old in zip(parts, right[1:], strict=True)]
        return [first[:, :, 0], *shaped]

    def inverse_blocks(self, system: BlockedCholesky) -> Products:
        """Return the blocks of H^-1 of each group and of each pair of groups with rows in common."""
        groups = [np.arange(loading.levels) for loading in self.loadings]
        own = [self.inverse_between(system, j, g, j, g) for j, g in enumerate(groups)]
        crossed = [
            self.inverse_between(system, a, crossing.pairs[0], b, crossing.pairs[1])
            for (a, b), crossing in self.crossings.items()
        ]
        return Products(own, crossed)

    def inverse_between(self, system: BlockedCholesky, a: int, g: Array, b: int, h: Array) -> Array:
        """Return the blocks of H^-1 of groups g of loading a and h of loading b, shape (s, k, l).

        Where a = b = 0 only g = h is known.
        """
        inverse = system.inverse
        if b == 0:
            return (
                inverse.FF[g] if a == 0 else self.inverse_between(system, 0, h, a, g).swapaxes(1, 2)
            )
        to = self._positions(b)[h]
        if a == 0:
            return np.swapaxes(inverse.FR[g[:, None], :, to], 1, 2)
        return np.asarray(inverse.RR[self._positions(a)[g][:, :, None], to[:, None, :]])


def _assembled(blocks: list[tuple[Array, Array, Array]], shape: tuple[int, int]) -> Any:
    """Return a matrix of blocks at given rows and columns, sparse where that is smaller."""
    entries = sum(block.size for block, _, _ in blocks)
    if entries > MAX_DENSITY * shape[0] * shape[1]:
        out = np.zeros(shape)
        for block, rows, columns in blocks:
            out[rows, columns] = block
        return out
    values = np.concatenate([block.ravel() for block, _, _ in blocks] or [np.empty(0)])
    at = [
        np.concatenate([np.broadcast_to(b[i], b[0].shape).ravel() for b in blocks] or [np.empty(0)])
        for i in (1, 2)
    ]
    return sparse.csr_matrix((values, (at[0], at[1])), shape=shape)


def absolute(W: Symmetric) -> Symmetric:
    """Return the absolute value, by eigenvalues, of each 2 x 2 matrix scaled to a unit diagonal."""
    s, t = (np.sqrt(np.where(w == 0, 1.0, np.abs(w))) for w in (W.eta_eta, W.zeta_zeta))
    a, b, c = np.sign(W.eta_eta), W.eta_zeta / (s * t), np.sign(W.zeta_zeta)
    # |W| = (W^2 + |det W| I) / (|l1| + |l2|), by Cayley and Hamilton
    det, trace = a * c - b * b, a + c
    size = np.where(det >= 0, np.abs(trace), np.sqrt(np.maximum(trace**2 - 4 * det, 0)))
    size = np.where(size > 0, size, 1.0)
    mean, cross = (a * a + b * b + np.abs(det)) / size, b * trace / size
    dispersion = (c * c + b * b + np.abs(det)) / size
    return Symmetric(mean * s * s, cross * s * t, dispersion * t * t)
