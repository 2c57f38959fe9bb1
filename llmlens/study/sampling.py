"""pass@k: the chance that at least one of k samples is right."""

import math

import numpy as np

from llmlens.errors import StudyError
from llmlens.study.averages import t_interval
from llmlens.study.results import OneArm
from llmlens.study.rows import Arm, Scores, account, fraction, read_arm
from llmlens.study.wording import count


def pass_at_k(n: int, c: int, k: int) -> float:
    """1 − C(n−c, k)/C(n, k): unbiased for one row with `c` right of `n` samples.

    Source: Chen et al. 2021, arXiv 2107.03374.

    Raises:
        StudyError: not 1 ≤ k ≤ n and 0 ≤ c ≤ n.
    """
    if not (1 <= k <= n and 0 <= c <= n):
        raise StudyError(f"pass@{k} of {c} right in {n} samples: k goes from 1 to n, c from 0 to n; take more samples")
    return 1 - math.comb(n - c, k) / math.comb(n, k)


def mean_pass_at_k(
    scores: Scores, k: int, *, name: str = "A", level: float = 0.95, failed_as: float | None = None
) -> OneArm:
    """Mean of pass@k over rows, with a t interval.

    scores: (n, K) samples, each right or wrong (1 or 0), as `rows` says. A row with fewer than k scores is dropped.
    """
    fraction(level, "level")
    arm = read_arm(scores, name, failed_as)
    known = arm.samples[~np.isnan(arm.samples)]
    if not np.isin(known, (0.0, 1.0)).all():
        raise StudyError(f"pass@{k} of {name} needs scores of 0 or 1: turn the score into right or wrong first")
    right = np.nansum(arm.samples, axis=1)
    kept = arm.counts >= k
    if int(kept.sum()) < 2:
        raise StudyError(f"fewer than two rows of {name} have {count(k, 'sample')}: take more, or ask for a smaller k")
    chances = [pass_at_k(int(n), int(c), k) for n, c in zip(arm.counts[kept], right[kept], strict=True)]
    rows = Arm(f"pass@{k} of {name}", np.array(chances)[:, None])
    notes = account((arm,), kept, failed_as, count(k, "scored sample"))
    return t_interval(rows, None, level, int((~kept).sum()), notes)
