"""Every arm beside one of them, seed by seed: is it better, worse, or not told apart?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from insight_ext.simulate.arms import RANDOM
from insight_ext.simulate.compare import Setting, fraction_of_steps
from insight_ext.simulate.statistics import interval, paired_p
from insight_ext.simulate.trial import Trial


def paired(trials: Mapping[tuple[Setting, str], Sequence[Trial]], other: str) -> str:
    """A table of differences to the arm `other`, with the paired sign-flip test of each.

    Args:
        trials: by learner and arm, in the order of the seeds; see `compare`.
        other: an arm among them.
    """
    lines = [
        f"| learner | strategy | steps / random's, less {other}'s (95 %) | p | "
        f"final skill - {other}'s (95 %) | p |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for (setting, arm), own in trials.items():
        if arm == other:
            continue
        random = trials[setting, RANDOM]
        rows = list(zip(own, trials[setting, other], random, strict=True))
        steps = [
            fraction_of_steps(a.skill, r.skill[-1]) - fraction_of_steps(b.skill, r.skill[-1])
            for a, b, r in rows
        ]
        skill = [a.skill[-1] - b.skill[-1] for a, b, _ in rows]
        cells = []
        for differences, form in ((np.array(steps), "+.3f"), (np.array(skill), "+.2f")):
            mean, low, high = (format(value, form) for value in interval(differences))
            cells.append(f"{mean} ({low} to {high}) | {paired_p(differences):.3f}")
        lines.append(f"| {setting.learner} {setting.pool:,} | {arm} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
