# Sourced by scripts/test after prepare.sh: parts that run beside each other. POSIX sh.
# shellcheck shell=sh
logs=$(mktemp -d)   # of each part; in `failed` the names of those that failed, in `times` how long each took
mkdir "$logs/groups"
pids=

begin() {   # begin NAME COMMAND...: run it beside the others; what it says is shown when it has ended
  name=$1
  shift
  ( { started=$(date +%s)
      temporary=$(mktemp -d "${TMPDIR:-/tmp}/p.XXXX")   # a pytest closes the one that they share to other users
      export PYTEST_DEBUG_TEMPROOT="$temporary"
      env --default-signal=INT,QUIT setsid "$@" &   # which a shell has its background ignore
      group=$!
      touch "$logs/groups/$group"
      [ ! -e "$logs/ending" ] || interrupt "$group"   # it was too new to be seen
      wait $group || echo "$name" >>"$logs/failed"
      rm -rf --one-file-system "$temporary" "$logs/groups/$group"
      echo "$name took $(($(date +%s) - started)) s" >>"$logs/times"
    } >"$logs/$name.log" 2>&1
    flock "$logs/times" cat "$logs/$name.log" ) &
  pids="$pids $!"
}

finish() {   # finish PID...: wait for these; whether they have failed is in a file
  [ $# -eq 0 ] || wait "$@" || :   # without a pid, `wait` is for every child, such as a dockerd that stays
}

finish_all() {
  # shellcheck disable=SC2086
  finish $pids
  pids=
}

interrupt() {   # interrupt GROUP: as soon as it is one, unless it has ended
  while kill -0 "$1" 2>/dev/null && ! kill -s INT -- "-$1" 2>/dev/null; do sleep 0.1; done
}

end_parts() {   # those that still run are interrupted, and end in order
  : >"$logs/ending"
  for group in "$logs"/groups/*; do interrupt "${group##*/}"; done
  finish_all
  rm -rf "$logs"
}
