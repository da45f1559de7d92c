# Shared by the scripts beside it; sourced by bash with the repository's root as the current directory.

# The Go of go.mod's toolchain line is the Go that is used, whichever is installed: the rules of ring 0 depend on it.
GOTOOLCHAIN=$(sed -n 's/^toolchain //p' go.mod)
export GOTOOLCHAIN
# A C compiler is not needed: culvert is a static binary.
export CGO_ENABLED=0

# say MESSAGE: progress goes to standard error.
say() { printf '== %s\n' "$*" >&2; }

# need PROGRAM:PACKAGE...: installs the packages of missing programs; an absolute PROGRAM is a file that must be there.
need() {
  local missing=() pair
  for pair in "$@"; do
    if [[ ${pair%%:*} == /* ]]; then
      [ -e "${pair%%:*}" ] || missing+=("${pair#*:}")
    else
      command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
    fi
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  say "installing ${missing[*]}"
  local sudo=()
  [ "$(id -u)" = 0 ] || sudo=(sudo)
  "${sudo[@]}" apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

# need_python_suite: installs the distribution's Python and its test suite, whose package is named after the version.
need_python_suite() {
  need /usr/bin/python3:python3
  local version
  version=$(/usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  need "/usr/lib/python$version/test/test_subprocess.py:libpython$version-testsuite"
}

# build: makes ./culvert.
build() {
  command -v go >/dev/null || { echo "$0: go is not installed; see https://go.dev/doc/install" >&2; exit 1; }
  go build -trimpath -o culvert ./cmd/culvert
}
