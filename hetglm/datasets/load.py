"""Loaders of the data that come with the package, one function each."""

from __future__ import annotations

from importlib import resources
from typing import Any

import pandas as pd


def _read(name: str, **options: Any) -> pd.DataFrame:
    """Return the CSV file of this folder as a fresh DataFrame."""
    source = resources.files("hetglm.datasets") / f"{name}.csv"
    with source.open("r", encoding="utf-8") as file:
        return pd.read_csv(file, **options)


def load_splicing() -> pd.DataFrame:
    """
    Return the splicing experiment: 3,600 counts K of N for 40 genes in two groups.

    A gene is expressed in two alternative forms; of N copies counted in one replicate, K are of
    the first form. Twenty genes of each of two groups are measured in three treatments (tissues),
    30 replicates each. The question is what group and treatment do to the *variance* of K/N.

    Returns
    -------
    DataFrame
        3,600 rows and the columns

        - ``id``: gene, ``a.1`` to ``a.20`` and ``b.1`` to ``b.20`` (str)
        - ``group``: ``a`` or ``b`` (str)
        - ``treatment``: ``t.1``, ``t.2`` or ``t.3`` (str)
        - ``N``: copies counted, both forms together
        - ``K``: copies of the first form

    See Also
    --------
    make_splicing : An experiment like this one, of any size.

    Notes
    -----
    The data are simulated, in R after ``set.seed(1)``. Genes differ in their mean, and within a
    group also in their dispersion, so for the effect of the group the gene is the unit, not the
    replicate. Group b is the more dispersed one; the treatments do nothing.

    References
    ----------
    Cross Validated, "Fitting a heteroscedastic generalized linear model for binomial responses",
    https://stats.stackexchange.com/questions/132925

    Examples
    --------
    >>> from hetglm.datasets import load_splicing
    >>> load_splicing().head(2)
        id group treatment      N     K
    0  a.1     a       t.1  10913  4816
    1  a.1     a       t.1  12815  5220
    """
    return _read("splicing")


def load_cats() -> pd.DataFrame:
    """
    Return heart and body weights of 144 cats.

    Adult cats of more than 2 kg, used in experiments on digitalis. Heavier cats have heavier
    hearts, and hearts whose weight varies more.

    Returns
    -------
    DataFrame
        144 rows and the columns

        - ``Sex``: ``F`` (47 cats) or ``M`` (97) (str)
        - ``Bwt``: body weight in kg
        - ``Hwt``: heart weight in g

    References
    ----------
    Fisher, R. A. (1947). The analysis of covariance method for the relation between a part and
    the whole. Biometrics 3, 65-68. By way of the R package MASS.

    Examples
    --------
    >>> from hetglm.datasets import load_cats
    >>> load_cats()[["Bwt", "Hwt"]].max().tolist()
    [3.9, 20.5]
    """
    return _read("cats")


def load_germination() -> pd.DataFrame:
    """
    Return the seeds that germinated on 21 plates.

    Seeds of two varieties of the parasitic plant Orobanche aegyptiaca lie on plates with an
    extract of bean or of cucumber root. Plates treated alike differ more than the binomial allows.

    Returns
    -------
    DataFrame
        21 rows, a plate each, and the columns

        - ``variety``: ``O73`` or ``O75`` (str)
        - ``root``: ``bean`` or ``cucumber`` (str)
        - ``n``: seeds on the plate
        - ``y``: seeds that germinated

    References
    ----------
    Crowder, M. J. (1978). Beta-binomial Anova for proportions. Applied Statistics 27, 34-37.

    Examples
    --------
    >>> from hetglm.datasets import load_germination
    >>> load_germination()[["y", "n"]].sum().tolist()
    [424, 831]
    """
    return _read("germination")


def load_sleepstudy() -> pd.DataFrame:
    """
    Return the reaction times of 18 people on ten days with three hours of sleep a night.

    The longer without enough sleep, the slower the reaction; people differ in level, in trend and in
    how much their times scatter about it.

    Returns
    -------
    DataFrame
        180 rows and the columns

        - ``Reaction``: average reaction time of a day, in ms
        - ``Days``: 0 to 9; the nights were short from the one after day 2 on
        - ``Subject``: label of the person, ``"308"`` to ``"372"`` (str)

    Notes
    -----
    The numbers are the measurements of the group with three hours in bed, as the R package lme4
    (``sleepstudy``) has them. That package is under the GPL; taken from it are these facts, no text
    or code.

    References
    ----------
    Belenky, G., Wesensten, N. J., Thorne, D. R., Thomas, M. L., Sing, H. C., Redmond, D. P., Russo,
    M. B. and Balkin, T. J. (2003). Patterns of performance degradation and restoration during sleep
    restriction and subsequent recovery: a sleep dose-response study. Journal of Sleep Research 12, 1-12.

    Examples
    --------
    >>> from hetglm.datasets import load_sleepstudy
    >>> load_sleepstudy().groupby("Days")["Reaction"].mean().round(1).loc[[0, 9]].tolist()
    [256.7, 350.9]
    """
    return _read("sleepstudy", dtype={"Subject": str})


def load_welding() -> pd.DataFrame:
    """
    Return the strength of 16 welds in a screening experiment with nine factors.

    A fractional two-level design of the National Railway Corporation of Japan. With a single run
    of each combination the spread cannot be compared within cells: a model of the dispersion has
    to find which factors move it.

    Returns
    -------
    DataFrame
        16 rows, nine factors coded -1 and 1, and the response:

        - ``Rods``: kind of welding rods
        - ``Drying``: period of drying
        - ``Material``: welded material
        - ``Thickness``, ``Angle``, ``Opening``, ``Current``: of the weld
        - ``Method``: welding method
        - ``Preheating``: preheating
        - ``Strength``: tensile strength of the weld (kg/mm, as its source prints it)

    Notes
    -----
    With Material 1, Method -1 and Preheating 1 the strengths are equal in pairs of the same Drying
    (40.2 and 42.4). For means and dispersions that separate these four runs, as in
    ``Strength ~ Drying + Material | Material + Method + Preheating``, the likelihood grows without
    bound as their dispersion falls to zero; published estimates are the maximum inside.

    References
    ----------
    Taguchi, G. and Wu, Y. (1980). Introduction to Off-Line Quality Control. Central Japan Quality
    Control Association, Nagoya.

    Smyth, G. K., Huele, A. F. and Verbyla, A. P. (2001). Exact and approximate REML for
    heteroscedastic regression. Statistical Modelling 1, 161-175. By way of the R package statmod.

    Examples
    --------
    >>> from hetglm.datasets import load_welding
    >>> load_welding().groupby("Material")["Strength"].mean().round(2).tolist()
    [44.51, 41.41]
    """
    return _read("welding")


def load_clotting(wide: bool = False) -> pd.DataFrame:
    """
    Return 18 clotting times of blood plasma.

    Normal plasma is diluted to nine concentrations with plasma free of prothrombin, and clotting
    is started with one of two lots of thromboplastin. The more dilute, the longer it takes.

    Parameters
    ----------
    wide : bool, default False
        One row per concentration with the columns ``u, lot1, lot2``, instead of one per time.

    Returns
    -------
    DataFrame
        18 rows (nine if ``wide``) and the columns

        - ``u``: concentration of the normal plasma, in percent
        - ``lot``: lot of thromboplastin, ``"1"`` or ``"2"`` (str)
        - ``time``: clotting time in seconds

    References
    ----------
    McCullagh, P. and Nelder, J. A. (1989). Generalized Linear Models, 2nd edition, page 300.
    Chapman and Hall. From Hurn, M. W., Barker, N. W. and Magath, T. D. (1945), Journal of
    Laboratory and Clinical Medicine 30, 432-447.

    Examples
    --------
    >>> from hetglm.datasets import load_clotting
    >>> load_clotting(wide=True).head(2)
        u  lot1  lot2
    0   5   118    69
    1  10    58    35
    """
    long = _read("clotting", dtype={"lot": str})
    if not wide:
        return long
    table = long.pivot(index="u", columns="lot", values="time")
    return table.add_prefix("lot").rename_axis(columns=None).reset_index()


def load_lirat() -> pd.DataFrame:
    """
    Return the dead fetuses in 58 litters of rats on an iron-deficient diet.

    Female rats on the diet were given injections of iron or none, made pregnant, and their
    fetuses counted after three weeks. The litters of group 3 vary no more than the binomial, so a
    beta-binomial with a dispersion per group has its maximum at zero there.

    Returns
    -------
    DataFrame
        58 rows, a litter each, and the columns

        - ``N``: fetuses in the litter
        - ``R``: dead fetuses
        - ``hb``: haemoglobin level of the mother (3.1 to 16.6; the source gives no unit)
        - ``grp``: 1 placebo (31 litters); 2 iron on day 7 or 10 (12); 3 iron on days 0 and 7 (5);
          4 iron every week (10). An integer: write ``C(grp)`` in formulas.

    References
    ----------
    Moore, D. F. and Tsiatis, A. (1991). Robust estimation of the variance in moment methods for
    extra-binomial and extra-Poisson variation. Biometrics 47, 383-401. By way of the R package
    VGAM.

    Examples
    --------
    >>> from hetglm.datasets import load_lirat
    >>> load_lirat().groupby("grp")[["R", "N"]].sum().loc[3].tolist()
    [2, 58]
    """
    return _read("lirat")
