"""The command line: `python -m lightning_integration fit --config FILE.yaml`.

Beside Lightning's commands `export` makes a model folder of a checkpoint, and `sample` draws
answers of saved models.
"""

from __future__ import annotations

import re
import sys
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import insight_ext
from insight_ext import ArgumentError, InsightError
from insight_ext.data.yaml_file import check_yaml
from insight_ext.loop.checkpoint import read_checkpoint
from insight_ext.plugins import named, nearest
from insight_ext.progress import STOPPED
from lightning_integration.callback import PromptSelectionCallback
from lightning_integration.checkpoint import LastCheckpoint
from lightning_integration.datamodule import PromptDataModule
from lightning_integration.metrics_file import MetricsFile
from lightning_integration.progress_lines import ProgressLines
from lightning_integration.trainer import PACKAGE, LightningModule, Trainer, callbacks, loggers

cli = import_module(f"{PACKAGE}.cli")

COMMANDS = {
    "fit": "train with chosen prompts",
    "validate": "the accuracy on the held-out prompts",
    "test": "Lightning's, for a module that has such a step",
    "predict": "likewise",
    "export": "CHECKPOINT FOLDER: write what was trained as a Hugging Face folder",
    "sample": "draw answers of saved models to a data set, and score them",
}
HELP = """usage: python -m lightning_integration COMMAND ...

{commands}

`python -m lightning_integration COMMAND --help` tells about one command."""


class Parser(cli.LightningArgumentParser):
    """Lightning's parser; what it refuses it says in a sentence. Options have to be written out."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options | {"allow_abbrev": False})

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """ArgumentError with the message, the option nearest to one that there is not, and help."""
        parser = getattr(ex, "subcommand_parser", None) or self
        message = " ".join(message.split())
        known = [option for each in parser._actions for option in each.option_strings]
        if found := re.match("unrecognized arguments: ([^ =]+)", message):
            message += nearest(found[1], known)
        elif found := re.search("does not accept option '(.*?)'", message):
            message += nearest(found[1], (option.removeprefix("--") for option in known))
        program = parser.prog.replace(" [options]", "")
        raise ArgumentError(f"{message}; `{program} --help` lists what there is") from ex


class SaveConfig(cli.SaveConfigCallback):
    """Saves the resolved configuration when training begins, after a checkpoint is accepted."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Too early: a refused run must not touch the folder, and a validation is no run."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write `config.yaml` into the run's folder."""
        super().setup(trainer, pl_module, "fit")


class SelectionCLI(cli.LightningCLI):
    """Lightning's command line with prompt selection, one folder per run and exact resumption.

    The run's folder is `trainer.default_root_dir`, or `runs/NAME` after the first configuration
    file. It receives the resolved `config.yaml`, `metrics.csv`, TensorBoard events, the history of
    `PromptSelectionCallback`, and `checkpoints/last.ckpt`, unless `trainer.logger` or
    `trainer.enable_checkpointing` is false. Loggers and callbacks of the configuration are added to
    these. Where there is no terminal, plain lines say how far it is, instead of a bar.
    """

    def add_core_arguments_to_parser(self, parser: Any) -> None:
        """Lightning's, the data before the model: a wrong file is told before a model is loaded."""
        parser.add_lightning_class_args(self.trainer_class, "trainer")
        parser.set_defaults({f"trainer.{n}": value for n, value in self.trainer_defaults.items()})
        parser.add_lightning_class_args(self.datamodule_class, "data")
        parser.add_lightning_class_args(self._model_class, "model")

    def add_arguments_to_parser(self, parser: Any) -> None:
        """The callback's settings, and how often to save."""
        parser.add_lightning_class_args(PromptSelectionCallback, "selection")
        parser.link_arguments("selection.success_threshold", "model.success_threshold")
        parser.add_argument(
            "--checkpoint_every", type=int, default=100, help="steps between two checkpoints"
        )

    def parse_arguments(self, parser: Any, args: Any) -> None:
        """Parse, and look at the checkpoint before anything is built."""
        super().parse_arguments(parser, args)
        settings = self.config[self.config.subcommand]
        self.folder = self._folder()
        settings.trainer.default_root_dir = str(self.folder)
        self.last = self.folder / "checkpoints/last.ckpt"
        if settings.get("ckpt_path") == "last":
            if not self.last.exists():
                raise ArgumentError(
                    f"--ckpt_path last: expected a run to resume in {self.folder}, found none; "
                    "start one without --ckpt_path"
                )
            settings["ckpt_path"] = str(self.last)
        if settings.get("ckpt_path") is not None:
            read_checkpoint(settings["ckpt_path"])
        elif self.config.subcommand == "fit" and self.last.exists():
            raise ArgumentError(
                f"{self.folder} holds a run already: resume it with --ckpt_path last, or choose "
                "another folder with --trainer.default_root_dir"
            )

    def _folder(self) -> Path:
        settings = self.config[self.config.subcommand]
        if settings.trainer.default_root_dir:
            return Path(settings.trainer.default_root_dir)
        files = [*(settings.get("config") or []), *(self.config.get("config") or [])]
        return Path("runs") / (Path(str(files[0])).stem if files else self.config.subcommand)

    def instantiate_trainer(self, **options: Any) -> Trainer:
        """Add what the run's folder needs to what the configuration asks for."""
        settings = self.config_init[self.subcommand]
        asked = settings.trainer
        keeps = self.subcommand == "fit" and not asked.fast_dev_run
        if asked.logger is False or not keeps:
            written = False
        else:
            own = [] if asked.logger in (None, True) else asked.logger
            written = [
                MetricsFile(self.folder),
                loggers.TensorBoardLogger(self.folder, name="", version=""),
                *(own if isinstance(own, list) else [own]),
            ]
        watching = asked.callbacks or []
        watching = list(watching) if isinstance(watching, list) else [watching]
        barred = any(isinstance(each, callbacks.ProgressBar) for each in watching)
        if keeps and not barred and asked.enable_progress_bar is None and not sys.stdout.isatty():
            watching.append(ProgressLines())
            options["enable_progress_bar"] = False
        if keeps and asked.enable_checkpointing is not False:
            watching.append(LastCheckpoint(self.last, settings.checkpoint_every))
        return super().instantiate_trainer(logger=written, callbacks=watching, **options)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; an InsightError becomes one line on standard error and exit status 2, and
    Ctrl-C exit status 130, after a line that says what is kept.
    """
    from lightning_integration.export import run as export
    from lightning_integration.grpo.module import GRPOModule
    from lightning_integration.sample import run as sample

    asked = sys.argv[1:] if arguments is None else arguments
    if not asked or asked[0] in ("-h", "--help"):
        print(HELP.format(commands="\n".join(f"  {n:10}{told}" for n, told in COMMANDS.items())))
        return 0
    if asked[0] == "--version":
        print(f"lightning_integration {insight_ext.__version__}")
        return 0
    kept = "stopped before training began"
    try:
        if not asked[0].startswith("-"):
            named("command", COMMANDS, asked[0])
        if asked[0] == "export":
            kept = "stopped; nothing was written"
            export(asked[1:])
            return 0
        if asked[0] == "sample":
            kept = "stopped; the parts that are whole are kept, and the same command goes on"
            sample(asked[1:])
            return 0
        for option, value in pairwise([*asked, ""]):
            name, _, text = option.partition("=")
            if name in ("--config", "-c"):
                check_yaml(text or value)
        SelectionCLI(
            GRPOModule,
            PromptDataModule,
            args=arguments,
            save_config_callback=SaveConfig,
            save_config_kwargs={"overwrite": True},
            seed_everything_default=0,
            trainer_defaults={"max_epochs": 1, "log_every_n_steps": 10},
            auto_configure_optimizers=False,
            parser_class=Parser,
            parser_kwargs={"prog": "lightning_integration"},
        )
    except InsightError as error:
        print("lightning_integration:", *str(error).split(), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nlightning_integration: {kept}", file=sys.stderr)
        return STOPPED
    except SystemExit as ended:
        if isinstance(ended.__context__, KeyboardInterrupt):  # which LastCheckpoint has told of
            return STOPPED
        raise
    return 0
