# Sourced by ./run and ./test, with `root` set to the project's folder: what both need to set a machine up.

say() {
    printf '%s\n' "$*" >&2
}

die() {
    say "$*"
    exit 1
}

# The packages of tools/packages for the given columns that are not installed.
packages_missing() {
    wanted=
    for column in "$@"; do
        wanted="$wanted $(sed -n "s/^$column  *//p" "$root/tools/packages" | tr '\n' ' ')"
    done
    for package in $wanted; do
        dpkg-query -W -f='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || printf '%s ' "$package"
    done
}

# Installs what is missing of the given columns; calls apt-get only then.
packages_install() {
    if ! command -v dpkg-query >/dev/null 2>&1; then
        say "This is not a Debian or Ubuntu system: packages are not installed for you. Needed: see tools/packages."
        return 0
    fi
    missing=$(packages_missing "$@")
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" -eq 0 ]; then
        as_root=
    elif command -v sudo >/dev/null 2>&1; then
        as_root=sudo
    else
        die "These packages are missing, and there is neither root nor sudo to install them. Please run:
    apt-get update && apt-get install -y --no-install-recommends $missing"
    fi
    say "Installing: $missing"
    # Unquoted on purpose: a list of words, and possibly no sudo.
    $as_root apt-get update -q >&2 || die "apt-get update failed"
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing >&2 ||
        die "apt-get install failed"
}

# build_configure FOLDER MESON-OPTIONS...: makes a build folder once, and again when the options change.
build_configure() {
    folder=$1
    shift
    stamp=$root/$folder/.options
    if [ -f "$root/$folder/build.ninja" ] && [ "$(cat "$stamp" 2>/dev/null)" = "${CC:-cc} $*" ]; then
        return 0
    fi
    rm -rf "${root:?}/$folder"
    meson setup "$root/$folder" "$root" "$@" >&2 || return 1
    printf '%s' "${CC:-cc} $*" >"$stamp"
}

# The system's Python, not one that a version manager put in front of it.
python_find() {
    for candidate in /usr/bin/python3 "$(command -v python3)"; do
        [ -x "$candidate" ] && printf '%s' "$candidate" && return 0
    done
    return 1
}

# .venv with the pinned packages of tests/py/requirements.txt; again when that list changes.
venv_install() {
    wanted=$(cksum <"$root/tests/py/requirements.txt")
    [ "$(cat "$root/.venv/.installed" 2>/dev/null)" = "$wanted" ] && return 0
    say "Setting up .venv"
    rm -rf "$root/.venv"
    "$(python_find)" -m venv "$root/.venv" || die "python3 -m venv failed"
    "$root/.venv/bin/pip" install -q --disable-pip-version-check --require-hashes --only-binary :all: \
        -r "$root/tests/py/requirements.txt" >&2 || die "pip install failed"
    printf '%s' "$wanted" >"$root/.venv/.installed"
}
