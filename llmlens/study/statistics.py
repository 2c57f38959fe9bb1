"""Statistics of A/B comparisons: what to ask, and what answers it. scipy is loaded at the first use.

| question | answer |
|---|---|
| how good is one arm | `one_arm`: t interval; Wilson or Clopper-Pearson for right or wrong; by cluster |
| is A better than B | `compare` takes what fits of `mcnemar_exact`, `paired_difference`, `clustered_difference` |
| right or wrong, with repeats | `permutation` |
| cost, latency | `bootstrap`, `bootstrap_ratio` |
| three arms and more | `many_arms`; `adjust` for p-values from elsewhere |
| how many rows | `power` from a pilot; `rows_needed`, `smallest_difference` from `Variances` |
| may I stop now | `anytime`, `e_value` |
| right at least once in k | `pass_at_k`, `mean_pass_at_k` |
| is the judge any good | `swap_consistency`, `cohen_kappa` |
| a ranking from pairs | `bradley_terry` |

Every answer is a frozen record whose `sentence()` (and str) can be quoted: estimate, interval with its level, rows,
dropped rows, whether errors count, and the test by name. What cannot be answered raises `StudyError`, which says what
to do. How scores are given: `llmlens.study.rows`.
"""

from llmlens.study.averages import one_arm
from llmlens.study.comparing import (
    clustered_difference,
    compare,
    mcnemar_exact,
    mcnemar_table,
    newcombe_10,
    paired_difference,
)
from llmlens.study.judging import Agreement, Swap, cohen_kappa, swap_consistency
from llmlens.study.many_arms import ManyArms, adjust, many_arms
from llmlens.study.power import Power, Variances, power, rows_needed, smallest_difference, variances
from llmlens.study.ranking import Battle, Ranking, Rated, bradley_terry
from llmlens.study.resampling import bootstrap, bootstrap_ratio, permutation
from llmlens.study.results import Comparison, OneArm, Ratio, Result
from llmlens.study.sampling import mean_pass_at_k, pass_at_k
from llmlens.study.stopping import Anytime, anytime, e_value

__all__ = [
    "Agreement",
    "Anytime",
    "Battle",
    "Comparison",
    "ManyArms",
    "OneArm",
    "Power",
    "Ranking",
    "Rated",
    "Ratio",
    "Result",
    "Swap",
    "Variances",
    "adjust",
    "anytime",
    "bootstrap",
    "bootstrap_ratio",
    "bradley_terry",
    "clustered_difference",
    "cohen_kappa",
    "compare",
    "e_value",
    "many_arms",
    "mcnemar_exact",
    "mcnemar_table",
    "mean_pass_at_k",
    "newcombe_10",
    "one_arm",
    "paired_difference",
    "pass_at_k",
    "permutation",
    "power",
    "rows_needed",
    "smallest_difference",
    "swap_consistency",
    "variances",
]
