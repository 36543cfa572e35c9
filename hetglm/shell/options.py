"""Options of the command line, and their help; only the standard library, so that help is instant."""

from __future__ import annotations

import argparse
from pathlib import Path

from hetglm import __version__
from hetglm.families import registry

#: Names on the command line -> names in statsmodels.
LINKS = {
    "logit": "Logit",
    "probit": "Probit",
    "cloglog": "CLogLog",
    "loglog": "LogLog",
    "cauchy": "Cauchy",
    "log": "Log",
    "identity": "Identity",
    "inverse": "InversePower",
    "inverse-squared": "InverseSquared",
    "sqrt": "Sqrt",
}
FAMILIES = {
    "gaussian": "Gaussian",
    "gamma": "Gamma",
    "inverse-gaussian": "InverseGaussian",
    "poisson": "Poisson",
    "binomial": "Binomial",
    "negative-binomial": "NegativeBinomial",
    "tweedie": "Tweedie",
}
#: Models with a family of their own; other families belong to doubleglm.
MODELS = {name.lower(): name for name in registry.MODELS}
OUT = Path("hetglm-out")
DESCRIPTION = """\
hetglm models the dispersion of data as well as their mean.

  python -m hetglm                    the worked example on the splicing data
  python -m hetglm fit DATA FORMULA   fit a model to your own data file
  python -m hetglm fit --help         its options, with examples
"""
DESCRIPTION_END = """\
Linear algebra uses one thread, the fastest for most data; set OMP_NUM_THREADS
to have more.
"""
FIT_DESCRIPTION = """\
Fit a model of mean and dispersion to a data file. Prints the summary and the
comparison with constant dispersion, and writes the coefficients as a CSV file.
"""
FIT_EXAMPLES = """\
The formula has two parts, mean | dispersion, in patsy's notation; without a
bar the dispersion is constant. C(x) makes labels of numbers, np is NumPy:
"y ~ np.log(x) + C(year) | x". Put it in quotes.

examples:
  successes and failures, overdispersion by group, genes as clusters
    python -m hetglm fit splicing.csv \\
        "K + I(N - K) ~ C(id) | group + treatment" \\
        --model betabinomial --cov-type cluster --groups id

  costs whose coefficient of variation depends on the region
    python -m hetglm fit claims.csv "cost ~ age + region | region" \\
        --family gamma --link log --weights policies

  semicolons, decimal commas and "." for missing, from an old spreadsheet
    python -m hetglm fit yield.csv "yield ~ dose | plot" --sep ";" \\
        --decimal , --encoding latin-1 --na . --out dose --plot

exit status: 0, or 2 where the command or the data are at fault (one sentence
on stderr says what).
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    plain = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(
        "python -m hetglm",
        description=DESCRIPTION,
        epilog=DESCRIPTION_END,
        formatter_class=plain,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"hetglm {__version__}")
    top.add_argument(
        "--out",
        type=Path,
        default=OUT,
        metavar="DIR",
        help="folder for the plot of the worked example, which replaces an older one (default: "
        "%(default)s)",
    )
    commands = top.add_subparsers(dest="command", metavar="fit")
    fit = commands.add_parser(
        "fit",
        help="fit a model to a data file",
        description=FIT_DESCRIPTION,
        epilog=FIT_EXAMPLES,
        formatter_class=plain,
        allow_abbrev=False,
    )
    fit.add_argument(
        "data", metavar="DATA", help="text file with a header line (also .gz), or parquet"
    )
    fit.add_argument("formula", metavar="FORMULA", help='"y ~ mean terms | dispersion terms"')
    _add_file(fit)
    _add_model(fit)
    _add_columns(fit)
    _add_output(fit)
    return top


def _add_file(fit: argparse.ArgumentParser) -> None:
    file = fit.add_argument_group("the data file", "Options left out are detected from the file.")
    file.add_argument(
        "--sep", metavar="SEP", help="comma, semicolon, tab, bar, space, or any character"
    )
    file.add_argument(
        "--decimal", choices=[".", ","], metavar="MARK", help="decimal mark, . or a comma"
    )
    file.add_argument(
        "--encoding", metavar="NAME", help="such as latin-1 or cp1252 (default: utf-8)"
    )
    file.add_argument(
        "--na",
        action="append",
        default=[],
        metavar="MARK",
        help="a further marker of missing values, such as . or -999; may be repeated (empty, NA, "
        "NaN and NULL always are)",
    )


def _add_model(fit: argparse.ArgumentParser) -> None:
    model = fit.add_argument_group("the model")
    model.add_argument(
        "--model",
        choices=["doubleglm", *MODELS],
        default="doubleglm",
        metavar="NAME",
        help=f"doubleglm or a family of its own: {', '.join(MODELS)} (default: %(default)s)",
    )
    model.add_argument(
        "--family",
        choices=FAMILIES,
        metavar="NAME",
        help=f"family of a doubleglm: {', '.join(FAMILIES)} (default: gaussian)",
    )
    model.add_argument(
        "--link",
        choices=LINKS,
        metavar="NAME",
        help=f"link of the mean: {', '.join(LINKS)} (default: the family's)",
    )
    model.add_argument(
        "--likelihood",
        choices=["exact", "eql"],
        metavar="NAME",
        help="likelihood of a doubleglm: exact or eql, the extended quasi-likelihood (default: "
        "exact where the family has one)",
    )
    model.add_argument(
        "--alpha", type=float, metavar="A", help="alpha of the negative-binomial family"
    )
    model.add_argument(
        "--var-power", type=float, metavar="P", help="variance power of the tweedie family"
    )
    model.add_argument("--reml", action="store_true", help="fit a doubleglm by REML")
    model.add_argument(
        "--cov-type",
        default="nonrobust",
        metavar="TYPE",
        help="covariance of the coefficients, as fit(cov_type=...): nonrobust (default: the "
        "observed information), eim (the expected one), HC0, HC1, cluster, ...",
    )
    model.add_argument(
        "--bootstrap",
        type=int,
        metavar="N",
        help="P values of the tests from N simulated data sets, such as 999",
    )
    model.add_argument(
        "--seed", type=int, metavar="S", help="seed of all simulations, to repeat a run"
    )


def _add_columns(fit: argparse.ArgumentParser) -> None:
    columns = fit.add_argument_group("columns of the data")
    for flag, text in (
        ("--n-trials", "trials of proportions or counts"),
        ("--weights", "prior weights, which divide the dispersion"),
        ("--freq-weights", "number of times a row was observed"),
        ("--offset", "added to the mean's linear predictor"),
        ("--offset-dispersion", "added to the dispersion's"),
        ("--exposure", "its logarithm is added to the mean's"),
        ("--groups", "clusters, for --cov-type cluster"),
    ):
        columns.add_argument(flag, metavar="COLUMN", help=text)


def _add_output(fit: argparse.ArgumentParser) -> None:
    output = fit.add_argument_group("output")
    output.add_argument(
        "--out",
        type=Path,
        # the one before the command counts if this is not given
        default=argparse.SUPPRESS,
        metavar="DIR",
        help=f"folder for the files written (default: {OUT})",
    )
    output.add_argument(
        "--force", action="store_true", help="overwrite the files of an earlier fit"
    )
    output.add_argument("--plot", action="store_true", help="draw the diagnostics of the fit too")
    output.add_argument("--quiet", action="store_true", help="print warnings and errors only")
