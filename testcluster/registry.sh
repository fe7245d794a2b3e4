#!/bin/bash
# Two plain-http registries on loopback: 127.0.0.1:5050 open, 127.0.0.1:5051 with basic auth (user tc / password tc-secret). Pushes busybox to both.
set -euo pipefail
B=${TESTCLUSTER:-$HOME/.cache/stepyard/testcluster}; RUN=$B/run; mkdir -p $RUN/pid $RUN/log $RUN/reg
/usr/bin/python3 -W ignore -c 'import crypt; print("tc:"+crypt.crypt("tc-secret", crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=2**6)).replace("$2b$","$2y$",1))' > $RUN/reg/htpasswd
for p in 5050 5051; do
  auth=""; [ $p = 5051 ] && auth="auth: {htpasswd: {realm: tc, path: $RUN/reg/htpasswd}}"
  cat > $RUN/reg/$p.yml <<E
version: 0.1
log: {level: info}
storage: {filesystem: {rootdirectory: $RUN/reg/data-$p}, delete: {enabled: true}}
http: {addr: "127.0.0.1:$p"}
$auth
E
  setsid nohup docker-registry serve $RUN/reg/$p.yml > $RUN/log/registry-$p.log 2>&1 </dev/null & echo $! > $RUN/pid/registry-$p
  mkdir -p "$RUN/certs.d/127.0.0.1:$p"
  printf 'server = "http://127.0.0.1:%s"\n[host."http://127.0.0.1:%s"]\n  capabilities = ["pull", "resolve"]\n' $p $p > "$RUN/certs.d/127.0.0.1:$p/hosts.toml"
done
for p in 5050 5051; do for _ in $(seq 50); do curl -s -o /dev/null http://127.0.0.1:$p/v2/ && break; sleep 0.1; done; done
skopeo copy -q --insecure-policy --dest-tls-verify=false docker-archive:$B/img/busybox.tar docker://127.0.0.1:5050/tc/busybox:1
skopeo copy -q --insecure-policy --dest-tls-verify=false --dest-creds tc:tc-secret docker-archive:$B/img/busybox.tar docker://127.0.0.1:5051/priv/busybox:1
echo "registries up"
