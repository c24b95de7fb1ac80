"""What the benchmarks' Python scripts share: progress, SQL by psql, programs that answer lines."""
import os
import subprocess
import sys
import time

BEGIN = time.monotonic()


def say(text):
    elapsed = int(time.monotonic() - BEGIN)
    print(f"[{elapsed // 60:2}:{elapsed % 60:02}] {text}", file=sys.stderr, flush=True)


def psql(script):
    done = subprocess.run(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1"], input=script, text=True, capture_output=True)
    if done.returncode:
        sys.exit(f"{done.stderr}in:\n{script}")
    return done.stdout


class LineProcess:
    """A process whose standard input and output are lines."""

    def __init__(self, *command, env=None):
        self.command = [str(word) for word in command]
        self.process = subprocess.Popen(self.command, env=env, text=True, bufsize=1, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)

    # The line that answers this one.
    def ask_line(self, line):
        self.process.stdin.write(line + "\n")
        answer = self.process.stdout.readline().strip()
        if not answer:
            sys.exit(f"{' '.join(self.command)}: no answer to {line}")
        return answer

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Helper(LineProcess):
    """A program of ours, with the environment that the runner has (protocol/runner_environment.h), and without LibTorch's
    warnings."""

    def __init__(self, *command):
        super().__init__(*command, env=dict(os.environ, OMP_WAIT_POLICY="PASSIVE", OPENBLAS_NUM_THREADS="1",
                                            GLOG_minloglevel="2"))

    def ask(self, *words):
        return self.ask_line(" ".join(map(str, words))).split()


class Session(LineProcess):
    """One psql that stays, and with it its server process. options: the server's for it, like -c NAME=VALUE."""

    def __init__(self, options=""):
        all_options = f"{os.environ.get('PGOPTIONS', '')} {options}"
        super().__init__("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", env=dict(os.environ, PGOPTIONS=all_options))

    # The statements' answer is one line.
    def ask(self, *statements):
        return self.ask_line("; ".join(statements) + ";")
