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
            print(f'{{"event": "error", "kind": "Cancelled", "message": "{said}"}}', flush=True)
        else:
            print(f"Error (Cancelled): {said}", file=sys.stderr)
        return 130
    return run()


if __name__ == "__main__":
    sys.exit(main())
