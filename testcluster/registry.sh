#!/bin/bash
# Two registries on loopback for all instances: 127.0.0.1:5050 open (tc/busybox:1), 127.0.0.1:5051 with a login (priv/busybox:1; tc / tc-secret).
set -euo pipefail; HERE=$(cd "$(dirname "$0")" && pwd); . "$HERE/lib.sh"
RUN=$B/registry; LOG=$RUN/log; PID=$RUN/pid; PART=$RUN/part; mkdir -p "$LOG" "$PID" "$PART"
if [ "${1:-up}" = down ]; then end 5050; end 5051; exit; fi
# tc:tc-secret as `htpasswd -B` writes it; it protects nothing.
echo 'tc:$2y$04$UbEkTR73WPm6scveRoMuUOMfsg8b5VlFZRA7TX.5d1jmHlw7wKkIm' > "$RUN/htpasswd"
for p in 5050 5051; do
  auth=""; [ $p = 5051 ] && auth="auth: {htpasswd: {realm: tc, path: $RUN/htpasswd}}"
  cat > "$RUN/$p.yml" <<Y
version: 0.1
log: {level: warn}
storage: {filesystem: {rootdirectory: $RUN/data-$p}, delete: {enabled: true}}
http: {addr: "127.0.0.1:$p"}
$auth
Y
  start $p docker-registry serve "$RUN/$p.yml"
done
for p in 5050 5051; do waitfor "a registry on port $p" curl -s -o /dev/null "http://127.0.0.1:$p/v2/"; done
put() { skopeo copy -q --insecure-policy --dest-tls-verify=false "$@"; }
[ -d "$RUN/data-5050/docker/registry/v2/repositories/tc/busybox" ] || put "docker-archive:$B/img/busybox.tar" docker://127.0.0.1:5050/tc/busybox:1
[ -d "$RUN/data-5051/docker/registry/v2/repositories/priv/busybox" ] || put --dest-creds tc:tc-secret "docker-archive:$B/img/busybox.tar" docker://127.0.0.1:5051/priv/busybox:1
