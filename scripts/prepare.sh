# Sourced by scripts/quickstart, scripts/test and what they run: what these need on a bare machine. POSIX sh.
set -eu
umask 022   # others, such as a user without root, run what is installed
say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

as_root() {   # as_root SCRIPT [ARGUMENT...]: run it again as root unless we are
  [ "$(id -u)" -ne 0 ] || return 0
  command -v sudo >/dev/null || die "needs root (or sudo)"
  exec sudo "$@"
}

need_packages() {   # Debian packages, installed when they are missing
  missing=
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing="$missing $package"
  done
  [ -n "$missing" ] || return 0
  command -v apt-get >/dev/null || die "needs these packages, which it can install on Debian only:$missing"
  say "Installing$missing"
  quietly apt-get update -q
  DEBIAN_FRONTEND=noninteractive quietly apt-get -o DPkg::Lock::Timeout=600 install -yq --no-install-recommends $missing
}

quietly() {   # quietly COMMAND...: its output is shown only when it fails
  output=$(mktemp)
  "$@" >"$output" 2>&1 || { tail -n 20 "$output" >&2; rm -f "$output"; die "failed: $*"; }
  rm -f "$output"
}

find_mirror() {   # where this machine's apt has Debian's main archive from, unless MIRROR says it
  found=${MIRROR:-$(apt-get indextargets --format '$(CODENAME) $(SITE)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' |
    awk '$1 !~ /-/ { print $2; exit }')}
  [ -n "$found" ] || die "apt knows no Debian mirror: run apt-get update, or set MIRROR to its address"
  say "$found"
}

need_venv() {   # need_venv WHAT: a virtual environment in .venv with WHAT installed from this clone
  [ -x .venv/bin/python ] || quietly /usr/bin/python3 -I -m venv .venv
  say "Installing Plancton into .venv"
  rm -rf build   # else modules that were deleted since the last build are installed as well
  quietly .venv/bin/python -I -m pip install --quiet "$1"
  quietly .venv/bin/python -I -m pip install --quiet --force-reinstall --no-deps .   # the version may be the same, the code is not
}

docker_answers() {   # by Plancton's own client: Debian has the docker command line in a package of its own
  .venv/bin/python -I -c "from plancton.docker.client import Docker; Docker('/var/run/docker.sock', timeout=5).ping()" 2>/dev/null
}

need_docker() {   # an Engine that answers; where we started it, $dockerd is its pid
  dockerd=
  docker_answers && return 0
  if [ -d /run/systemd/system ]; then
    systemctl start docker || die "systemctl could not start docker; see journalctl -u docker"
  else
    say "Starting dockerd"
    dockerd_log=$(mktemp)
    dockerd --bridge=none >"$dockerd_log" 2>&1 &   # no docker0 that would stay when it has ended
    dockerd=$!
  fi
  tries=0
  until docker_answers; do
    tries=$((tries + 1))
    [ "$tries" -lt 60 ] || { [ -z "$dockerd" ] || tail -n 5 "$dockerd_log" >&2; die "dockerd does not answer after 60 s"; }
    [ -z "$dockerd" ] || kill -0 "$dockerd" 2>/dev/null || { tail -n 5 "$dockerd_log" >&2; die "dockerd has ended"; }
    sleep 1
  done
}

end_docker() {   # the one that need_docker started
  [ -z "${dockerd:-}" ] || { kill "$dockerd" 2>/dev/null || :; wait "$dockerd" 2>/dev/null || :; rm -f "$dockerd_log"; }
}
