# Sourced: make_venv DIR makes an environment, or mends it when it does not work. Wants `fail`, which reports and exits.
# PYTHON names the interpreter; without it a working environment keeps its own.

find_python() {
  python=${PYTHON:-$(command -v python3.11 || command -v python3 || true)}
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null \
    || fail "Python 3.11 or newer is needed, and ${python:-python3} is not: install it, or name it with PYTHON=/path/to/python3."
}

identity() { "$1" -c 'import sys; print(sys.base_prefix, sys.version)' 2> /dev/null; }

# In a folder that was moved or copied, the script names the interpreter of another place: in its first line or, if the
# path has spaces, quoted in the second.
has_pip() {
  local interpreter quoted
  { read -r interpreter && read -r quoted; } 2> /dev/null < "$1/bin/pip" || return 1
  interpreter=${interpreter#'#!'}
  if [ "$interpreter" = /bin/sh ]; then quoted=${quoted#*'"'} interpreter=${quoted%%'"'*}; fi
  [ -x "$interpreter" ] && [ "${interpreter%/*}" -ef "$1/bin" ]
}

make_venv() {
  find_python
  local broken=
  if [ -e "$1" ]; then
    if ! "$1/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then broken="its Python does not run"
    elif ! has_pip "$1"; then broken="its pip does not run"
    elif [ -n "${PYTHON:-}" ] && [ "$(identity "$python")" != "$(identity "$1/bin/python")" ]; then broken="it is of another Python"
    else return 0; fi
    echo "Making $1 again: $broken."
    rm -rf "$1"
  fi
  if ! "$python" -m venv "$1" > /dev/null 2>&1; then
    rm -rf "$1"
    fail "$python could not make the environment $1: install its venv module (on Debian and Ubuntu: python3-venv), or name another Python with PYTHON=/path/to/python3."
  fi
}

# Requirements name every package, with hashes. Allowed to look further, pip before 23.3 takes a newer release for an extra
# (coverage[toml]) than the pinned one, and stops.
install_pinned() { # ENVIRONMENT REQUIREMENTS
  "$1/bin/pip" install --quiet --quiet --disable-pip-version-check --no-deps --require-hashes -r "$2" \
    || fail "the packages of $2 could not be installed: is a package index reachable? Then run the same command again."
}
