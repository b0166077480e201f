# Sourced by bin/test: the AWS clients under test that are no packages of .venv. Each goes into a folder of the cache,
# named after its pins, so that it is made once; kmsapp/tests/clients/installed.py looks for it there.

clients="${XDG_CACHE_HOME:-$HOME/.cache}/casemate/clients"

# make_client <name> <its pins, a file name or a pattern> <what it is>
make_client() {
    local beside="$root/kmsapp/tests/clients/$1" folder made
    # shellcheck disable=SC2086
    folder="$clients/$1-$(cat "$beside"/$2 | sha256sum | cut -c 1-12)"
    if [ -d "$folder" ]; then
        return
    fi
    mkdir -p "$clients" || fail "$clients can't be written, and that is where AWS clients for the tests go."
    made="$(mktemp -d "$folder.XXXXXX")"
    echo "Installing $3 …"
    if ! "install_$1" "$beside" "$made" >"$clients/$1.log" 2>&1; then
        rm -rf "$made"
        fail "$3 can't be installed; is there a network? See $clients/$1.log."
    fi
    # A bin/test beside this one may have been faster.
    mv -T "$made" "$folder" 2>/dev/null || rm -rf "$made"
}

# The lock file names no registry: npm asks the one that it is set up for, and compares digests.
install_javascript() {
    cp "$1/package.json" "$1/package-lock.json" "$2" && (cd "$2" && npm ci --ignore-scripts --no-audit --no-fund)
}

# Ansible's modules come in a package of 50 MB that holds a hundred collections; the one with kms_key is unpacked.
install_ansible() {
    "$(find_python)" -m venv --without-pip "$2" &&
        "$python" -m pip --python "$2" install --quiet --disable-pip-version-check -r "$1/requirements.txt" &&
        "$python" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$2/download" \
            -r "$1/collections.txt" &&
        "$python" "$1/unpack.py" "$2/download" "$2" &&
        rm -rf "$2/download"
}

make_clients() {
    if command -v npm >/dev/null && node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null; then
        make_client javascript package-lock.json 'The AWS SDK for JavaScript'
    else
        echo "There is no Node.js 20 or newer with npm: the tests of the AWS SDK for JavaScript are skipped."
    fi
    make_client ansible '*.txt' Ansible
}
