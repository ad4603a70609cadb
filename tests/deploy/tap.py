"""What tests/run.py reads from a program: TAP, a line for each test. A test is a function; what it raises is shown and it has failed."""
import sys
import traceback


def run(tests):
    """tests: (name, function) pairs. The program's exit code."""
    failed = 0
    for number, (name, function) in enumerate(tests, 1):
        try:
            function()
            print(f"ok {number} - {name}", flush=True)
        except Exception as e:
            failed += 1
            where = "".join(traceback.format_tb(sys.exc_info()[2])[-2:])
            print(f"not ok {number} - {name}\n{where}{type(e).__name__}: {e}", flush=True)
    return 1 if failed else 0
