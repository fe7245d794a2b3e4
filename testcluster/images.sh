#!/bin/bash
# Two images made here: pause (static C), and busybox (Debian's busybox-static), as archives.
set -euo pipefail; HERE=$(cd "$(dirname "$0")" && pwd); . "$HERE/lib.sh"
W=$(mktemp -d); trap 'rm -rf "$W"' EXIT; cd "$W"
arch=$(dpkg --print-architecture)
image() { # name:tag root config
  local layer id
  tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$2" -cf layer.tar .
  id=$(sha256sum layer.tar | cut -d' ' -f1)
  printf '{"architecture":"%s","os":"linux","created":"1970-01-01T00:00:00Z","config":%s,"rootfs":{"type":"layers","diff_ids":["sha256:%s"]},"history":[{"created":"1970-01-01T00:00:00Z","created_by":"images.sh"}]}' "$arch" "$3" "$id" > config.json
  printf '[{"Config":"config.json","RepoTags":["%s"],"Layers":["layer.tar"]}]' "$1" > manifest.json
  local name=${1%%:*}; name=${name##*/}
  tar -cf "$B/img/$name.tar.new" manifest.json config.json layer.tar; mv "$B/img/$name.tar.new" "$B/img/$name.tar"
}
mkdir pause busybox
gcc -static -Os -s -o pause/pause "$HERE/pause.c"
image testcluster.local/pause:1 pause '{"Entrypoint":["/pause"],"User":"65535:65535"}'
mkdir -p busybox/{bin,etc,tmp,proc,sys,dev,root,usr/bin,usr/sbin,sbin,var,home}; chmod 1777 busybox/tmp
cp "$(command -v busybox)" busybox/bin/busybox
for a in $(busybox/bin/busybox --list-full); do
  [ "$a" = bin/busybox ] || { mkdir -p "busybox/$(dirname "$a")"; ln -sf /bin/busybox "busybox/$a"; }
done
printf 'root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n' > busybox/etc/passwd
printf 'root:x:0:\nann:x:1000:\nnogroup:x:65534:\n' > busybox/etc/group
image testcluster.local/busybox:1 busybox '{"Cmd":["sh"],"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}'
