"""Runs a program in a terminal of its own: types what it is told to, waits for what it is told to expect, and prints what was shown.

    terminal.py STEPS PROGRAM [ARGUMENT...]

    STEPS is JSON, a list of steps, each a list of two words:
      ["type", "SELECT 1;\\r"]     typed as it stands once a line is asked for: \\r is Enter, \\u0003 Ctrl-C, which waits for nothing, \\u0004 Ctrl-D
      ["expect", "1 row"]          waits until a line has it, behind what was expected before
      ["busy", ""]                 waits until the program has given the terminal back: it works, and Ctrl-C is a signal
      ["columns", "0"]             how wide the terminal says to be, from its beginning on; 100 unless said

    {"shown": "what was shown, without colours and movements", "sequences": 7, "code": 0}

`sequences` is the number of the colours and movements that were left out.

A terminal asks nothing back, but for the place of the cursor, which is told to be the beginning of a line. A step that is waited for in vain ends the program, and this one with an error.
"""

import json
import os
import pty
import re
import select
import signal
import struct
import fcntl
import sys
import termios
import time

LIMIT = 120
ROWS, COLUMNS = 24, 100
SEQUENCE = re.compile(rb"\x1b(\[[0-9;?>=]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[()][A-Z0-9]|[=>78])")
ASKED = b"\x1b[6n"


class Terminal:
    def __init__(self, command, columns):
        self.raw, self.at = b"", 0
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvp(command[0], command)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS if columns else 0, columns, 0, 0))
        self.deadline = time.monotonic() + LIMIT

    def shown(self):
        return SEQUENCE.sub(b"", self.raw).decode(errors="replace")

    def read(self):
        """Takes what there is, and waits a moment for it; false once the program has closed the terminal."""
        if time.monotonic() > self.deadline:
            os.kill(self.pid, signal.SIGKILL)
            raise SystemExit(f"nothing more came after {self.shown()[self.at:]!r}, behind\n{self.shown()[:self.at]}")
        if not select.select([self.fd], [], [], 0.05)[0]:
            return True
        try:
            found = os.read(self.fd, 1 << 16)
        except OSError:
            return False
        self.raw += found
        for _ in range(found.count(ASKED)):
            os.write(self.fd, b"\x1b[1;1R")
        return bool(found)

    def type(self, text):
        # Between two lines the terminal is the program's no more, and would make another key of Enter.
        while text != "\x03" and termios.tcgetattr(self.fd)[3] & termios.ICANON:
            self.read()
        os.write(self.fd, text.encode())

    def expect(self, text):
        while (found := self.shown().find(text, self.at)) < 0:
            if not self.read():
                raise SystemExit(f"the program ended before it said {text!r}:\n{self.shown()}")
        self.at = found + len(text)

    def busy(self, _):
        while not termios.tcgetattr(self.fd)[3] & termios.ISIG:
            self.read()

    def end(self):
        while self.read():
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def main():
    steps, *command = sys.argv[1:]
    steps = json.loads(steps)
    columns = [int(text) for step, text in steps if step == "columns"]
    terminal = Terminal(command, *(columns or [COLUMNS]))
    for step, text in steps:
        if step != "columns":
            {"type": terminal.type, "expect": terminal.expect, "busy": terminal.busy}[step](text)
    code = terminal.end()
    sequences = len(SEQUENCE.findall(terminal.raw))
    json.dump({"shown": terminal.shown(), "sequences": sequences, "code": code}, sys.stdout)


if __name__ == "__main__":
    main()
