# Sourced by the commands beside it: the Python environment in .venv, made once and brought up to date when the
# requirements change. Writes nothing outside .venv.

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
python="$root/.venv/bin/python"

fail() {
    echo "$1" >&2
    exit 2
}

find_python() {
    local candidate
    for candidate in python3 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    fail "Casemate needs Python 3.11 or newer, and no python3 on the PATH is."
}

# make_environment <requirements file>: .venv has what the file names, exactly.
make_environment() {
    local requirements="$root/$1" stamp="$root/.venv/casemate-$1.sha256" base wanted
    if [ -x "$python" ] && wanted="$(fingerprint)" && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
        return
    fi
    base="$(find_python)" || exit 2
    mkdir -p "$root/.venv" || fail "$root/.venv can't be written, and that is where Python packages go."
    # Two commands that start at once must not install into one another's half-made environment.
    exec 9>"$root/.venv/casemate.lock"
    flock 9
    wanted="$(fingerprint)"
    if [ ! -x "$python" ] || [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
        "$python" -m pip --version >/dev/null 2>&1 || "$base" -m venv "$root/.venv" >"$root/.venv/casemate.log" 2>&1 ||
            fail "$base can't make a virtual environment (on Debian: apt install python3-venv). See $root/.venv/casemate.log."
        echo "Installing Python packages into .venv ($1) …"
        "$python" -m pip install --quiet --disable-pip-version-check -r "$requirements" \
            >"$root/.venv/casemate.log" 2>&1 ||
            fail "The Python packages of $1 can't be installed; is there a network? See $root/.venv/casemate.log."
        fingerprint >"$stamp"
    fi
    exec 9>&-
}

# What the environment was made from: the pinned requirements.
fingerprint() {
    cat "$root"/requirements*.txt | sha256sum | cut -d' ' -f1
}
