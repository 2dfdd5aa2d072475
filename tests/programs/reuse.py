# SPDX-License-Identifier: MIT
"""20,000 exec'd functions whose code objects reuse each other's addresses; each tells who it is.

    reuse.py [COUNT] [ROUNDS]

Two kinds, in turn. A *named* function `named_FIRST_BODY_NUMBER` starts on line FIRST and burns its time on
line BODY: a sample's lines must be those of its name. An *alike* function is always called `alike`, from the
same file and first line, and its line tables have the same size: only the burning line differs, and the
caller `call_K` says which it must be: first line + K. Prints how many addresses came back.
"""

import sys

FILE = "<reuse>"
ALIKE_FIRST = 3
CALLERS = 12
BURN = "for _ in range({rounds}): pass"


def named(number, rounds):
    first = 1 + number * 7 % 997
    body = first + 1 + number * 3 % 11
    name = f"named_{first}_{body}_{number}"
    text = "\n" * (first - 1) + f"def {name}():" + "\n" * (body - first) + " " + BURN.format(rounds=rounds)
    return name, text


def alike(step, rounds):
    text = "\n" * (ALIKE_FIRST - 1) + "def alike():" + "\n" * step + " " + BURN.format(rounds=rounds)
    return "alike", text


def make(name, text):
    space = {}
    exec(compile(text + "\n", FILE, "exec"), space)
    return space[name]


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3000
    # A caller for each step of the alike ones; these stay alive.
    callers = {}
    for step in range(1, CALLERS + 1):
        space = {}
        exec(compile(f"def call_{step}(function):\n    function()\n", "<callers>", "exec"), space)
        callers[step] = space[f"call_{step}"]
    seen, again = set(), 0
    for number in range(count):
        if number % 2:
            step = 1 + number // 2 * 5 % CALLERS
            function = make(*alike(step, rounds))
            callers[step](function)
        else:
            function = make(*named(number, rounds))
            function()
        address = id(function.__code__)
        again += address in seen
        seen.add(address)
        del function
    print(count, again)


if __name__ == "__main__":
    main()
