#!/bin/bash
# Self-built images: pause (static C) and busybox (Debian busybox-static) as OCI archives, via docker-archive tars made by hand.
set -euo pipefail; HERE=$(cd "$(dirname "$0")" && pwd)
D=${1:-${TESTCLUSTER:-$HOME/.cache/stepyard/testcluster}/img}; mkdir -p "$D"; cd "$D"
mk() { # name:tag rootfs-dir config-json-fragment
  local ref=$1 root=$2 cfg=$3 t; t=$(mktemp -d)
  tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$root" -cf "$t/layer.tar" .
  local id; id=$(sha256sum "$t/layer.tar" | cut -d' ' -f1)
  printf '{"architecture":"amd64","os":"linux","created":"1970-01-01T00:00:00Z","config":%s,"rootfs":{"type":"layers","diff_ids":["sha256:%s"]},"history":[{"created":"1970-01-01T00:00:00Z","created_by":"images.sh"}]}' "$cfg" "$id" > "$t/config.json"
  printf '[{"Config":"config.json","RepoTags":["%s"],"Layers":["layer.tar"]}]' "$ref" > "$t/manifest.json"
  tar -C "$t" -cf "$D/$(basename "${ref%%:*}").tar" manifest.json config.json layer.tar; rm -rf "$t"
}
gcc -static -Os -s -o pause "$HERE/pause.c"
rm -rf r-pause r-bb; mkdir r-pause; cp pause r-pause/pause
mk testcluster.local/pause:1 r-pause '{"Entrypoint":["/pause"],"User":"65535:65535"}'
mkdir -p r-bb/{bin,etc,tmp,proc,sys,dev,root,usr/bin,usr/sbin,sbin,var,home}; chmod 1777 r-bb/tmp
cp "$(command -v /bin/busybox || echo /usr/bin/busybox)" r-bb/bin/busybox
for a in $(r-bb/bin/busybox --list-full); do case $a in bin/busybox) ;; *) mkdir -p "r-bb/$(dirname "$a")"; ln -sf /bin/busybox "r-bb/$a";; esac; done
echo 'root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/:/bin/sh' > r-bb/etc/passwd; echo 'root:x:0:
nogroup:x:65534:' > r-bb/etc/group
mk testcluster.local/busybox:1 r-bb '{"Cmd":["sh"],"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}'
ls -la "$D"/*.tar
