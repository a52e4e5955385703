"""``python -m LowFieldEnhanceLib`` and ``lowfield-enhance``: the command line, which can be cancelled at any time."""

from __future__ import annotations

import sys


def main() -> int:
    """Run one command; returns its exit code."""
    try:
        from .cli import main as run
    except KeyboardInterrupt:  # while the libraries load, before anything was done
        said = "cancelled; nothing was written"
        if "--json" in sys.argv:
            sys.stdout.write(f'{{"event": "error", "kind": "Cancelled", "message": "{said}"}}\n')
        else:
            sys.stderr.write(f"Error (Cancelled): {said}\n")
        return 130
    return run()


if __name__ == "__main__":
    sys.exit(main())
