# Sourced by ./run and ./test, with `root` set to the project's folder: what both need to set a machine up.

say() {
    printf '%s\n' "$*" >&2
}

die() {
    say "$*"
    exit 1
}

# The packages of tools/packages for the given columns that are neither installed nor replaced by a command.
packages_missing() {
    for column in "$@"; do
        sed -n "s/^$column  *//p" "$root/tools/packages"
    done | while read -r package command; do
        [ -n "$command" ] && command -v "$command" >/dev/null 2>&1 && continue
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
    by_hand="apt-get update && apt-get install -y --no-install-recommends ${missing% }"
    if [ "$(id -u)" -eq 0 ]; then
        as_root=
    elif command -v sudo >/dev/null 2>&1; then
        as_root=sudo
    else
        die "These packages are missing, and there is neither root nor sudo to install them. Please run as root:
    $by_hand"
    fi
    say "Installing: $missing"
    packages_fetch || die "They could not be installed. Please see to it that this works, as root:
    $by_hand"
}

# A strict umask of the caller must not become that of system files; a machine that has just started may still be
# installing its own updates; an update can fail for a source that has nothing to do with us.
packages_fetch() (
    umask 022
    # Unquoted on purpose: possibly no sudo, and a list of words.
    $as_root true || return 1
    $as_root apt-get update -q >&2 || say "apt-get update failed; trying with the lists that are there."
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
        -o DPkg::Lock::Timeout=300 $missing >&2
)

# build_configure FOLDER MESON-OPTIONS...: makes a build folder once, and again when the options or the checkout's
# place change.
build_configure() {
    folder=$1
    shift
    stamp=$root/$folder/.options
    options="${CC:-cc} $* in $root"
    if [ -f "$root/$folder/build.ninja" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$options" ]; then
        return 0
    fi
    rm -rf "${root:?}/$folder"
    meson setup "$root/$folder" "$root" "$@" >&2 || return 1
    printf '%s' "$options" >"$stamp"
}

# The system's Python, not one that a version manager put in front of it.
python_find() {
    for candidate in /usr/bin/python3 "$(command -v python3)"; do
        [ -x "$candidate" ] && printf '%s' "$candidate" && return 0
    done
    return 1
}

# .venv with the pinned packages of tests/py/requirements.txt; again when that list, the checkout's place or the
# system's Python changes.
venv_install() {
    wanted="$(cksum <"$root/tests/py/requirements.txt") in $root, $("$(python_find)" --version)"
    [ "$(cat "$root/.venv/.installed" 2>/dev/null)" = "$wanted" ] && return 0
    say "Setting up .venv"
    rm -rf "$root/.venv"
    "$(python_find)" -m venv "$root/.venv" || die "python3 -m venv failed"
    "$root/.venv/bin/pip" install -q --disable-pip-version-check --require-hashes --only-binary :all: \
        -r "$root/tests/py/requirements.txt" >&2 || die "pip install failed"
    printf '%s' "$wanted" >"$root/.venv/.installed"
}

# tests/sdk/node_modules as its lock file says; again when that file, the checkout's place or Node changes.
node_modules_install() {
    sdk=$root/tests/sdk
    wanted="$(cat "$sdk/package.json" "$sdk/package-lock.json" | cksum) in $root, $(node --version)"
    [ "$(cat "$sdk/node_modules/.installed" 2>/dev/null)" = "$wanted" ] && return 0
    say "Setting up tests/sdk/node_modules"
    rm -rf "$sdk/node_modules"
    (cd "$sdk" && npm ci --ignore-scripts --no-audit --no-fund >&2) || die "npm ci failed"
    printf '%s' "$wanted" >"$sdk/node_modules/.installed"
}
