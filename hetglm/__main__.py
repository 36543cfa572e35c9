"""Command line: ``python -m hetglm`` runs the main job, ``python -m hetglm fit`` a user's own CSV."""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from statsmodels.genmod import families as sm_families

from hetglm import __version__
from hetglm.anova import anova
from hetglm.examples import splicing
from hetglm.exceptions import NotNestedError
from hetglm.models import BetaBinomial, DoubleGLM, NegativeBinomial

LINKS = {
    "logit": sm_families.links.Logit,
    "probit": sm_families.links.Probit,
    "cloglog": sm_families.links.CLogLog,
    "loglog": sm_families.links.LogLog,
    "cauchy": sm_families.links.Cauchy,
    "log": sm_families.links.Log,
    "identity": sm_families.links.Identity,
    "inverse": sm_families.links.InversePower,
    "inverse-squared": sm_families.links.InverseSquared,
    "sqrt": sm_families.links.Sqrt,
}
FAMILIES = {
    "gaussian": sm_families.Gaussian,
    "gamma": sm_families.Gamma,
    "inverse-gaussian": sm_families.InverseGaussian,
    "poisson": sm_families.Poisson,
    "binomial": sm_families.Binomial,
    "negative-binomial": sm_families.NegativeBinomial,
    "tweedie": sm_families.Tweedie,
}
#: Models that are a family of their own; the others are a doubleglm's.
MODELS = {cls.__name__.lower(): cls for cls in (BetaBinomial, NegativeBinomial)}
#: What formulas may use beside the columns and patsy's own functions.
NAMES = {"np": np}
DESCRIPTION = """\
hetglm models what moves the dispersion of data, not only its mean.

  python -m hetglm                    the worked example on the splicing data
  python -m hetglm fit DATA FORMULA   the same for your own CSV file
"""
FIT_DESCRIPTION = """\
Fit a model of mean and dispersion to a CSV file: prints the summary and the
comparison with constant dispersion, and writes the coefficients as a CSV.
"""
FIT_EXAMPLES = """\
The formula has two parts, mean | dispersion, in patsy's notation; without a
bar the dispersion is constant. np is NumPy: "y ~ np.log(x) | x".

examples:
  successes and failures, overdispersion by group, genes as clusters
    python -m hetglm fit splicing.csv \\
        "K + I(N - K) ~ C(id) | group + treatment" \\
        --model betabinomial --cov-type cluster --groups id

  costs whose coefficient of variation depends on the region
    python -m hetglm fit claims.csv "cost ~ age + region | region" \\
        --family gamma --link log --weights policies
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    plain = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(
        "python -m hetglm", description=DESCRIPTION, formatter_class=plain
    )
    top.add_argument("--version", action="version", version=f"hetglm {__version__}")
    out = argparse.ArgumentParser(add_help=False)
    out.add_argument(
        "--out",
        type=Path,
        default=Path("hetglm-out"),
        metavar="DIR",
        help="folder for files written",
    )
    top.add_argument(
        "--out", type=Path, default=Path("hetglm-out"), metavar="DIR", help="folder for the picture"
    )
    commands = top.add_subparsers(dest="command", metavar="fit")
    fit = commands.add_parser(
        "fit",
        help="fit a model to a CSV file",
        description=FIT_DESCRIPTION,
        epilog=FIT_EXAMPLES,
        formatter_class=plain,
        parents=[out],
    )
    fit.add_argument("data", metavar="DATA", help="CSV file with a header line")
    fit.add_argument("formula", metavar="FORMULA", help="'y ~ mean terms | dispersion terms'")
    fit.add_argument(
        "--model",
        choices=["doubleglm", *MODELS],
        default="doubleglm",
        help="default: doubleglm",
    )
    fit.add_argument(
        "--family",
        choices=FAMILIES,
        metavar="NAME",
        help=f"family of a doubleglm: {', '.join(FAMILIES)} (default: gaussian)",
    )
    fit.add_argument(
        "--link",
        choices=LINKS,
        metavar="NAME",
        help=f"link of the mean: {', '.join(LINKS)} (default: the family's)",
    )
    fit.add_argument(
        "--alpha", type=float, metavar="A", help="alpha of the negative-binomial family"
    )
    fit.add_argument(
        "--var-power", type=float, metavar="P", help="variance power of the tweedie family"
    )
    fit.add_argument("--reml", action="store_true", help="fit a doubleglm by REML")
    columns = fit.add_argument_group("columns of the data")
    columns.add_argument("--n-trials", metavar="COLUMN", help="trials of proportions or counts")
    columns.add_argument(
        "--weights", metavar="COLUMN", help="prior weights, which divide the dispersion"
    )
    columns.add_argument(
        "--freq-weights", metavar="COLUMN", help="number of times a row was observed"
    )
    columns.add_argument("--offset", metavar="COLUMN", help="added to the mean's linear predictor")
    columns.add_argument("--offset-dispersion", metavar="COLUMN", help="added to the dispersion's")
    columns.add_argument(
        "--exposure", metavar="COLUMN", help="its logarithm is added to the mean's"
    )
    columns.add_argument("--groups", metavar="COLUMN", help="clusters, for --cov-type cluster")
    fit.add_argument(
        "--cov-type",
        default="nonrobust",
        choices=["nonrobust", "eim", "HC0", "HC1", "cluster"],
        help="covariance of the coefficients (default: nonrobust, the observed information)",
    )
    return top


def read_csv(path: str) -> pd.DataFrame:
    """Return a CSV file, or raise a ValueError in one line."""
    try:
        return pd.read_csv(path)
    except FileNotFoundError as exc:
        raise ValueError(f"{path}: no such file") from exc
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as exc:
        raise ValueError(f"{path}: cannot be read as CSV ({exc})") from exc


def build(args: argparse.Namespace, data: pd.DataFrame) -> Any:
    """Return the model of the command line."""
    arrays = {
        "n_trials": args.n_trials,
        "var_weights": args.weights,
        "freq_weights": args.freq_weights,
        "offset": args.offset,
        "offset_dispersion": args.offset_dispersion,
        "exposure": args.exposure,
    }
    arrays = {name: column for name, column in arrays.items() if column is not None}
    link = {} if args.link is None else {"link": LINKS[args.link]()}
    if args.model in MODELS:
        if args.family is not None:
            raise ValueError(f"--family: for --model doubleglm; {args.model} is a family itself")
        make = MODELS[args.model].from_formula
        return make(args.formula, data, eval_env=NAMES, **arrays, **link)
    if args.alpha is not None:
        link["alpha"] = args.alpha
    if args.var_power is not None:
        link["var_power"] = args.var_power
    name = args.family or "gaussian"
    if (args.alpha is not None) > (name == "negative-binomial"):
        raise ValueError("--alpha: for --family negative-binomial only")
    if (args.var_power is not None) > (name == "tweedie"):
        raise ValueError("--var-power: for --family tweedie only")
    with warnings.catch_warnings():
        # statsmodels warns of links it would not choose and of a default alpha
        warnings.simplefilter("ignore")
        family = FAMILIES[name](**link)
    return DoubleGLM.from_formula(args.formula, data, eval_env=NAMES, family=family, **arrays)


def tidy(res: Any) -> pd.DataFrame:
    """Return the coefficients, a row each: part, term, estimate, standard error, test, interval."""
    k, ci = len(res.params_mean), np.asarray(res.conf_int())
    terms = [*res.params_mean.index, *res.params_dispersion.index]
    return pd.DataFrame(
        {
            "part": ["mean"] * k + ["dispersion"] * (len(terms) - k),
            "term": terms,
            "estimate": np.asarray(res.params),
            "std_error": np.asarray(res.bse),
            "statistic": np.asarray(res.tvalues),
            "p_value": np.asarray(res.pvalues),
            "conf_low": ci[:, 0],
            "conf_high": ci[:, 1],
        }
    )


def run_fit(args: argparse.Namespace) -> None:
    """Fit, print and write."""
    if (args.groups is not None) != (args.cov_type == "cluster"):
        raise ValueError("--groups and --cov-type cluster go together")
    model = build(args, read_csv(args.data))
    kwds = None if args.groups is None else {"groups": args.groups}
    res = model.fit(reml=args.reml, cov_type=args.cov_type, cov_kwds=kwds)
    print(res.summary(), end="\n\n")
    try:
        print(anova(res).to_string(float_format="%.5g"), end="\n\n")
    except NotNestedError as exc:
        print(f"No ANOVA: {exc}", end="\n\n")
    args.out.mkdir(parents=True, exist_ok=True)
    tidy(res).to_csv(args.out / "coefficients.csv", index=False)
    print(f"Coefficients: {args.out / 'coefficients.csv'}")


def _show_warning(message: Any, category: Any, *rest: Any) -> None:
    print(f"{category.__name__}: {message}", file=sys.stderr)


def main(argv: list[str] | None = None) -> int:
    """
    Run the command line.

    Parameters
    ----------
    argv : list of str, optional
        Arguments, those of the process by default.

    Returns
    -------
    int
        0, or 2 where the input is at fault (with one line on stderr).
    """
    args = parser().parse_args(argv)
    warnings.showwarning = _show_warning  # type: ignore[assignment]
    try:
        if args.command == "fit":
            run_fit(args)
        else:
            splicing.main(args.out)
    except (ValueError, OSError) as exc:
        print(f"hetglm: {' '.join(str(exc).split())}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
