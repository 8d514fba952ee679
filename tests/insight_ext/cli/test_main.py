from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import insight_ext
from insight_ext.cli.main import main
from insight_ext.cli.parser import COMMANDS, make_parser
from insight_ext.selectors import Uniform

ROWS = "id,successes,rollouts\n" + "".join(f"p{i},{i % 3},8\n" for i in range(6))
TINY = ["--learner", "logistic", "--pool", "40", "--seeds", "2", "--steps", "3", "--prompts", "8"]


class Mine(Uniform):
    """A strategy that only its import path names."""


MINE = f"{__name__}:Mine"


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(ROWS)
    return path


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "insight_ext", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def test_help_and_names_come_without_torch():
    program = "import sys, insight_ext.cli.parser as p; p.make_parser().format_help(); "
    program += "sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_every_public_name_is_there_when_it_is_asked_for():
    assert all(hasattr(insight_ext, name) for name in insight_ext.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        insight_ext.nothing  # noqa: B018


def test_bare_it_shows_the_help(capsys):
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in COMMANDS)


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"insight-ext {insight_ext.__version__}\n"


def test_a_table_is_printed_as_json(log, capsys):
    assert main(["rank", "--log", str(log), "--top", "2", "--json"]) == 0
    assert [row["rank"] for row in json.loads(capsys.readouterr().out)] == [1, 2]


def test_a_table_is_printed_as_csv(log, capsys):
    assert main(["rank", "--log", str(log), "--top", "2", "--output", "-"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.startswith("rank,id,")
    assert len(rows) == 2


def test_a_terminal_without_the_characters_of_an_id_shows_their_escapes(log, monkeypatch):
    log.write_text(log.read_text() + "größe 😀,1,8\n")
    output = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", output)
    for options in ([], ["--json"], ["--output", "-"]):
        assert main(["rank", "--log", str(log), *options]) == 0
    output.flush()
    shown = output.buffer.getvalue()
    assert shown.count(b"gr\\xf6\\xdfe") == 2
    assert shown.count(b'"gr\\u00f6\\u00dfe') == 1  # as JSON has it


def test_every_command_with_a_table_prints_it_for_a_program():
    parser = make_parser()
    (commands,) = (a for a in parser._actions if a.dest == "command")
    without = {"demo", "report", "top", "build-info", "completion"}  # pictures, a view, text
    for name, command in commands.choices.items():
        options = {option for action in command._actions for option in action.option_strings}
        assert ("--json" in options) == (name not in without), name


def test_a_log_without_steps_is_of_one_moment(log, capsys):
    assert main(["rank", "--log", str(log), "--json"]) == 0
    assert {row["visits"] for row in json.loads(capsys.readouterr().out)} == {1}


def test_unseen_prompts_are_marked_and_expected_at_the_known_mean(tmp_path, capsys):
    (tmp_path / "log.csv").write_text("id,successes,rollouts\np0,8,8\np1,0,24\n")
    rows = [json.dumps({"id": f"p{i}", "prompt": f"{i}", "answer": ""}) for i in range(4)]
    (tmp_path / "pool.jsonl").write_text("\n".join(rows))
    files = ["--log", str(tmp_path / "log.csv"), "--pool", str(tmp_path / "pool.jsonl")]
    assert main(["rank", *files, "--top", "2"]) == 0
    shown = capsys.readouterr().out
    assert "the log has none of them" in shown
    assert "unseen" in shown
    assert main(["rank", *files, "--top", "2", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)[0]
    assert row["predicted"] == pytest.approx(9 / 34)


def test_compare_prints_plain_tables_unless_markdown_is_asked_for(tmp_path, capsys):
    asked = ["compare", *TINY, "--strategies", "random", "--output", str(tmp_path)]
    assert main(asked) == 0
    assert "|" not in capsys.readouterr().out
    assert main([*asked, "--markdown"]) == 0
    assert "| strategy |" in capsys.readouterr().out


def test_compare_without_a_folder_prints_csv_and_writes_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["compare", *TINY, "--strategies", "random", "--output", "-"]) == 0
    assert capsys.readouterr().out.startswith("learner,pool,arm,")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("options", ["", ":decay=0.5"])
def test_compare_takes_a_strategy_of_your_own_by_its_import_path(options, capsys):
    asked = ["compare", *TINY, "--strategies", MINE + options, "--json", "--output", "-"]
    assert main(asked) == 0
    assert MINE + options in {row["arm"] for row in json.loads(capsys.readouterr().out)}


@pytest.mark.parametrize(
    "asked",
    [
        ["compare", "--strategies"],
        ["compare", "--strategies", "random", "--against"],
        ["reliability", "--strategies"],
        ["rank", "--log", "no such log", "--strategy"],
    ],
    ids=lambda asked: asked[0] + asked[-1],
)
def test_a_wrong_name_is_told_before_anything_else(asked, capsys):
    wrong = ["--seeds", "0"] if asked[0] != "rank" else []
    assert main([*asked, "insigth", *wrong]) == 2
    told = capsys.readouterr().err
    assert "package.module:Class" in told
    assert "did you mean 'insight'?" in told


def test_a_wrong_command_is_told_with_the_nearest(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["inspct"])
    assert "did you mean 'inspect'?" in capsys.readouterr().err


@pytest.mark.parametrize("separator", [",", ";", " , "])
def test_strategies_are_listed_by_comma_or_semicolon(separator, capsys):
    arms = ["random", "mopps:decay=1,prior=[2,3]", "insight (features)"]
    asked = ["compare", *TINY, "--strategies", separator.join(arms), "--json", "--output", "-"]
    assert main(asked) == 0
    assert set(arms) <= {row["arm"] for row in json.loads(capsys.readouterr().out)}


def test_a_wrong_option_is_told_under_the_usage_of_its_command(log, capsys):
    with pytest.raises(SystemExit):
        main(["rank", "--log", str(log), "--topp", "3"])
    told = capsys.readouterr().err
    assert told.startswith("usage: insight-ext rank ")
    assert "expected no --topp; did you mean '--top'?" in told


def test_import_paths_begin_in_the_present_folder(log, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from insight_ext.selectors import Uniform\nclass Mine(Uniform): pass\n"
    )
    program = "import sys; sys.path.remove(''); from insight_ext.cli.main import main; "
    program += "sys.exit(main(['rank', '--log', 'log.csv', '--strategy', sys.argv[1]]))"
    command = [sys.executable, "-c", program]
    places = os.pathsep.join([str(Path(insight_ext.__file__).parents[1])])
    options = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": places}, "check": False}
    assert subprocess.run([*command, "mine:Mine"], capture_output=True, **options).returncode == 0
    failed = subprocess.run([*command, "nine:Mine"], capture_output=True, text=True, **options)
    assert f"looked for in the present folder, {tmp_path}, and PYTHONPATH" in failed.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "tcsh"])
def test_a_shell_gets_its_completion(shell, capsys):
    assert main(["completion", shell]) == 0
    program = capsys.readouterr().out
    assert all(name in program for name in ("point_biserial", "expected_difficulty", "compare"))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_ends_a_command_with_a_line_that_says_what_is_kept(tmp_path, workers):
    command = [sys.executable, "-m", "insight_ext", "compare", "--output", str(tmp_path / "out")]
    command += ["--learner", "logistic", "--pool", "500", "--steps", "20", "--workers", workers]

    def heed_ctrl_c() -> None:  # programs in the background are started to ignore it
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_ctrl_c,
    ) as process:
        assert process.stderr is not None
        first = process.stderr.readline()  # of the progress: the trials are under way
        os.killpg(process.pid, signal.SIGINT)
        rest = process.stderr.read()
    assert "trials" in first
    assert process.returncode == 130
    assert rest.splitlines()[-1] == "insight-ext compare: stopped; nothing was written"
    assert "Traceback" not in rest
    assert not Path(tmp_path / "out").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_the_workers_of_a_command_end_with_it(tmp_path, how):
    command = [sys.executable, "-m", "insight_ext", "compare", "--output", str(tmp_path / "out")]
    command += ["--learner", "logistic", "--pool", "500", "--workers", "2"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "trials" in process.stderr.readline()
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) == 2
        process.send_signal(how)
        process.stderr.read()  # ends when nobody can write it any more
    assert process.returncode == -how


def test_a_full_disk_is_one_line(log, capsys, monkeypatch):
    def run(options):
        raise OSError(28, "No space left on device", "a\x1b[31m/next.csv")

    monkeypatch.setattr("insight_ext.cli.rank.run", run)
    assert main(["rank", "--log", str(log)]) == 2
    said = capsys.readouterr().err
    assert said == "insight-ext rank: a\\x1b[31m/next.csv: No space left on device\n"


def test_no_color_is_heeded(log, monkeypatch):
    shown = run("rank", "--log", str(log), env={**os.environ, "NO_COLOR": "1", "FORCE_COLOR": "1"})
    assert "the next 6 prompts" in shown.stdout
    assert not re.search(r"\x1b\[[34]\d", shown.stdout)


def test_the_demo_shows_a_loop_what_it_saves_a_figure_and_what_to_write(tmp_path, capsys):
    assert main(["demo", "--output", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "deepscaler 2,000" in shown
    assert "|" not in shown
    figure = tmp_path / "deepscaler-2000-skill.png"
    assert str(figure) in shown
    assert figure.exists()
    assert all(name in shown for name in ("TRL", "verl", "Lightning", "loop of your own"))


def test_a_reader_that_goes_away_is_no_error(log):
    command = f"{sys.executable} -m insight_ext rank --log {log} --output - | true; "
    command += "exit ${PIPESTATUS[0]}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", ["demo", "compare", "reliability"])
def test_a_file_where_a_folder_is_to_be_written_is_refused_before_the_work(
    command, tmp_path, capsys
):
    (tmp_path / "file").write_text("kept")
    assert main([command, "--output", str(tmp_path / "file/below")]) == 2
    shown = capsys.readouterr()
    assert "expected a folder" in shown.err
    assert not shown.out
    assert (tmp_path / "file").read_text() == "kept"
