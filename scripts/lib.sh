# Shell functions that the scripts share: timed stages, a private Postgres server, pictures and models to test with.
# Source it from bash with the repository as working folder, under `set -euo pipefail`.

PG_BIN=${PG_BIN:-/usr/lib/postgresql/15/bin}
LOGS=build/logs
work=

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Postgres refuses to run as root.
as_server() {
  if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi
}

fail() {
  echo "$*" >&2
  exit 1
}

# stage NAME COMMAND...: runs it quietly and says how long it took; its output is shown only where it fails.
stage() {
  local name=$1 log begin=$SECONDS
  shift
  mkdir -p "$LOGS"
  log="$LOGS/${name//[^A-Za-z0-9_]/-}.log"
  printf '%-34s' "$name"
  if "$@" >"$log" 2>&1; then
    printf '%4d s\n' $((SECONDS - begin))
  else
    printf '%4d s  FAILED\n' $((SECONDS - begin))
    tail -n 60 "$log"
    echo "the whole output: $log"
    return 1
  fi
}

# A folder of this run's own, which holds the server's data and all that the tests write; it goes when the script ends,
# however it ends.
make_work_folder() {
  work=$(mktemp -d "${TMPDIR:-/tmp}/imagecalc.XXXXXX")
  trap clean_up EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  mkdir "$work/socket" "$work/pictures" "$work/models" "$work/tap"
  own_work_folder
}

own_work_folder() {
  if [ "$(id -u)" = 0 ]; then chown -R postgres: "$work"; fi
}

# The logs of the servers outlive them.
clean_up() {
  trap - EXIT
  trap '' HUP INT TERM
  stop_server || true
  mkdir -p "$LOGS"
  cp "$work/server.log" "$work"/tap/tmp_check/log/* "$LOGS/" 2>/dev/null || true
  rm -rf "$work"
}

# Reached by a socket in a folder of its own only, so that no port can be in use already.
start_server() {
  (cd "$work" && as_server "$PG_BIN/initdb" -D "$work/data" -U postgres -A trust -E UTF8 --no-locale --no-sync) || return
  cat >>"$work/data/postgresql.conf" <<END
listen_addresses = ''
unix_socket_directories = '$work/socket'
fsync = off
max_worker_processes = 16
log_line_prefix = '%m [%p] %b '
END
  export PGHOST="$work/socket" PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
  (cd "$work" && as_server "$PG_BIN/pg_ctl" -D "$work/data" -l "$work/server.log" -w start)
}

stop_server() {
  [ -f "$work/data/postmaster.pid" ] || return 0
  (cd "$work" && as_server "$PG_BIN/pg_ctl" -D "$work/data" -m fast -t 30 -w stop ||
    as_server "$PG_BIN/pg_ctl" -D "$work/data" -m immediate -w stop) >/dev/null 2>&1
}

# Pictures with labels.csv (file, label, split), where the server can read them: photographs where they are at hand, else
# drawn ones.
prepare_pictures() {
  local source=$IMAGECALC_DATA/weather
  if [ -f "$source/labels.csv" ]; then
    cp "$source"/*.jpg "$source/labels.csv" "$work/pictures/"
  else
    /usr/bin/python3 scripts/draw_pictures.py "$work/pictures"
  fi
}

count_classes() {
  tail -n +2 "$work/pictures/labels.csv" | cut -d, -f2 | sort -u | wc -l
}

# export_net NET-FORM FILE: a network with as many outputs as the pictures have labels; exported once and kept.
export_net() {
  local name=$1 classes kept
  classes=$(count_classes)
  kept=build/models/$name-$classes.pt
  mkdir -p build/models
  if [ ! "$kept" -nt scripts/export_model.py ]; then
    /usr/bin/python3 scripts/export_model.py "$kept" --classes "$classes" --net "${name%-*}" --as "${name##*-}" || return
  fi
  cp "$kept" "$2"
}

# A small network that can be trained, in three forms that cannot, too, and one that reads a single size.
prepare_models() {
  local name
  for name in small-cnn-script small-cnn-trace small-cnn-frozen linear-script; do
    export_net "$name" "$work/models/$name.pt" || return
  done
  export_net small-cnn-onnx "$work/models/small-cnn.onnx"
}

# Puts a model and a picture where a relative path starts for the server: its data directory.
place_files() {
  cp "$1" "$work/data/model.pt"
  cp "$(find "$work/pictures" -name '*.jp*g' | sort | head -n 1)" "$work/data/new.jpg"
  if [ "$(id -u)" = 0 ]; then chown postgres: "$work/data/model.pt" "$work/data/new.jpg"; fi
}

# The pictures as a table of the current database.
load_pictures() {
  psql -X -q -v ON_ERROR_STOP=1 <<END
CREATE TABLE images (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, jpeg bytea, label text, split text);
CREATE TEMP TABLE listed (file text, label text, split text);
\copy listed FROM '$work/pictures/labels.csv' (FORMAT csv, HEADER)
INSERT INTO images (jpeg, label, split)
  SELECT pg_read_binary_file('$work/pictures/' || file), label, split FROM listed ORDER BY file;
ANALYZE images;
END
}
