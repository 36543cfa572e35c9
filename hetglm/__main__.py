"""Command line: ``python -m hetglm`` runs the worked example, ``... fit`` fits the user's data."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

from hetglm.shell.options import parser

#: Environment variables for the number of threads, read by BLAS libraries when loaded.
THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def use_one_thread() -> None:
    """
    Have BLAS work with one thread unless the user has said with how many; before NumPy is imported.

    Most products of a fit are so small that a team of threads costs more than it saves: many times
    as much on a machine that is busy.
    """
    if not any(name in os.environ for name in THREADS):
        os.environ.update(dict.fromkeys(THREADS, "1"))


def _show_warning(message: Any, category: Any, *rest: Any) -> None:
    print(f"{category.__name__}: {message}", file=sys.stderr)


def _sentence(exc: BaseException) -> str:
    """Return an error as one line, but for a formula with a caret under the place at fault."""
    text = str(exc) or type(exc).__name__
    if any(set(line.strip()) == {"^"} for line in text.splitlines()[1:]):
        return text.rstrip()
    return " ".join(text.split())


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
        0, or 2 where the input is at fault (with a sentence on stderr), or 1 where the package is.
    """
    args = parser().parse_args(argv)
    warnings.showwarning = _show_warning  # type: ignore[assignment]
    try:
        _run(args)
        sys.stdout.flush()
    except BrokenPipeError:  # "| head" has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("hetglm: interrupted", file=sys.stderr)
        return 130
    except (ValueError, OSError, ImportError, NotImplementedError, MemoryError) as exc:
        print(f"hetglm: {_sentence(exc)}", file=sys.stderr)
        return 2
    except Exception as exc:
        if sys.flags.dev_mode:
            raise
        print(
            f"hetglm: unexpected error, please report it: {type(exc).__name__}: "
            f"{_sentence(exc)} (python -X dev -m hetglm shows where)",
            file=sys.stderr,
        )
        return 1
    return 0


def _run(args: Any) -> None:
    """Run the command; what is slow to import comes only now."""
    if args.command == "fit":
        from hetglm.shell.commands import run_fit

        run_fit(args)
    else:
        from hetglm.examples import splicing
        from hetglm.shell.files import check_folder

        check_folder(args.out)
        splicing.main(args.out)


if __name__ == "__main__":
    use_one_thread()
    sys.exit(main())
