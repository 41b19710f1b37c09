#!/bin/sh
# Prints the Python that the set-up takes: the one given, else python3, else the newest that fits (3.11, 3.12 or 3.13).
# Exit code 2 with one line where there is none. Usage: sh launch/pick_python.sh [PYTHON]
fits() { "$1" -c 'import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; }
told() { "$1" -c 'import sys; print("Python %d.%d" % sys.version_info[:2])' 2>/dev/null || echo "no Python"; }

if fits "${1:-python3}"; then
    command -v "${1:-python3}"
    exit 0
fi
if [ -z "$1" ]; then
    for python in python3.13 python3.12 python3.11 "$HOME"/.pyenv/versions/3.1[123].*/bin/python3; do
        if fits "$python"; then
            echo "python3 is $(told python3), and Python 3.11, 3.12 or 3.13 is needed: taking $(command -v "$python")" >&2
            command -v "$python"
            exit 0
        fi
    done
fi
echo "${1:-python3} is $(told "${1:-python3}"), and Python 3.11, 3.12 or 3.13 is needed: install one, or give it as PYTHON=..." >&2
exit 2
