"""Nobody has to listen: what a run says to a closed output is lost, and nothing else is."""

import subprocess
import sys
from pathlib import Path

import pytest

from training.engine.console import say

ROOT = Path(__file__).resolve().parents[3]


def test_lines_go_where_they_are_sent(capsys):
    say("to people")
    say("to programs", sys.stdout)
    assert capsys.readouterr() == ("to programs\n", "to people\n")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_closed_pipe_is_no_error(stream):
    """Not when it is written to, and not when the interpreter flushes at its end."""
    program = f"import sys; from training.engine.console import say\nfor _ in range(9): say('x' * 9999, sys.{stream})\n"
    program += "open(sys.argv[1], 'w').close()"
    done = Path(subprocess.check_output(["mktemp", "-u"], text=True).strip())
    with subprocess.Popen([sys.executable, "-c", program, str(done)], cwd=ROOT, **{stream: subprocess.PIPE}) as process:
        getattr(process, stream).close()
        assert process.wait() == 0
    assert done.exists()
    done.unlink()
