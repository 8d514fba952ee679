from __future__ import annotations

import numpy as np

from insight_ext.cli.main import main
from insight_ext.simulate import Setting, Trial
from insight_ext.simulate.paired import paired


def climbing(*rates: float) -> list[Trial]:
    """One trial a seed, whose skill climbs steadily for ten steps."""
    none = np.zeros(10)
    return [Trial(np.linspace(0.0, 10.0 * rate, 11), none, 0, none, 0.0) for rate in rates]


def test_differences_are_of_the_same_seed():
    setting = Setting("logistic", pool=300)
    trials = {
        (setting, "random"): climbing(1.0, 2.0, 4.0),
        (setting, "one"): climbing(2.0, 4.0, 8.0),  # half of random's steps
        (setting, "two"): climbing(4.0, 8.0, 16.0),  # a quarter
    }
    lines = paired(trials, "one").splitlines()
    assert len(lines) == 4
    assert lines[3] == (
        "| logistic 300 | two | -0.250 (-0.250 to -0.250) | 0.250 | +46.67 (+20.00 to +80.00) "
        "| 0.250 |"
    )


def test_the_command_adds_the_table(tmp_path, capsys):
    arguments = ["compare", "--learner", "logistic", "--strategies", "mopps", "--pool", "100"]
    arguments += ["--seeds", "2", "--steps", "3", "--prompts", "8", "--output", str(tmp_path)]
    assert main([*arguments, "--markdown", "--against", "insight"]) == 0
    printed = capsys.readouterr().out
    assert "### Beside insight" in printed
    assert "| logistic 100 | mopps | " in printed
    assert main([*arguments, "--against", "magic"]) == 2
    assert "unknown strategy 'magic'" in capsys.readouterr().err
