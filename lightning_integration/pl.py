"""The one place that chooses between `lightning.pytorch` and `pytorch_lightning`.

The two packages hold different classes: a Trainer of one refuses a Callback of the other. So the
package that the program has already imported is taken, `pytorch_lightning` if it has both or none.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec


def _package() -> str:
    names = ("pytorch_lightning", "lightning.pytorch")
    for name in names:
        if name in sys.modules:
            return name
    return names[0] if find_spec("pytorch_lightning") else names[1]


PACKAGE = _package()
pl = import_module(PACKAGE)
callbacks = import_module(f"{PACKAGE}.callbacks")
loggers = import_module(f"{PACKAGE}.loggers")
rank_zero_only = import_module(f"{PACKAGE}.utilities").rank_zero_only

Callback = pl.Callback
LightningDataModule = pl.LightningDataModule
LightningModule = pl.LightningModule
Trainer = pl.Trainer
