#!/bin/bash
# Everything that up.sh needs, from nothing but Debian and Go: packages, one `kube` binary (Kubernetes as Go modules), two images.
# Cached; a second call takes a second.
set -euo pipefail; HERE=$(cd "$(dirname "$0")" && pwd); . "$HERE/lib.sh"
mkdir -p "$B"/{img,src,deb}
apt() {
  [ -n "${REFRESHED:-}" ] || { apt-get update -qq; REFRESHED=1; }
  DEBIAN_FRONTEND=noninteractive apt-get "$@"
}
need=(runc containernetworking-plugins iptables iproute2 socat conntrack ethtool busybox-static skopeo gcc libc6-dev openssl curl util-linux procps)
dpkg -s "${need[@]}" >/dev/null 2>&1 || apt install -y -qq --no-install-recommends "${need[@]}"
# Unpacked, not installed: installing them would start services on this machine.
for p in containerd docker-registry; do
  [ -x "$DEB/usr/bin/$p" ] && continue
  (cd "$DEB" && apt download -qq "$p" && dpkg-deb -x "$p"_*.deb . && rm "$p"_*.deb)
done
if ! [ -x "$BIN/kube" ]; then
  minor=${V#1.}; minor=${minor%%.*}; S=$B/src/kube-$V; pinned=$HERE/kube/1.$minor
  rm -rf "$S"; mkdir -p "$S" "$BIN"; cp "$HERE/kube/main.go" "$S"; cd "$S"
  # Until 1.33 the kubelet's command takes no context.
  [ "$minor" -gt 33 ] || sed -i 's/NewKubeletCommand(context.Background())/NewKubeletCommand()/; /"context"/d' main.go
  if grep -qs "k8s.io/kubernetes v$V\$" "$pinned/go.mod"; then
    cp "$pinned"/go.* .; mod=readonly
  else
    # Another version than those that are pinned: its staging modules are published as v0.MINOR.PATCH, its own go.mod requires them as v0.0.0.
    mod=mod; printf 'module testcluster/kube\n\ngo 1.25\n\nrequire k8s.io/kubernetes v%s\n' "$V" > go.mod
    its=$(go mod download -json "k8s.io/kubernetes@v$V" | sed -n 's/.*"GoMod": "\(.*\)".*/\1/p')
    grep -oE '^\s+k8s.io/[a-z0-9-]+ v0\.0\.0$' "$its" | awk -v v="v0.${V#1.}" '{print "replace " $1 " => " $1 " " v}' | sort -u >> go.mod
  fi
  L="-s -w"
  for p in k8s.io/component-base/version k8s.io/client-go/pkg/version; do L="$L -X $p.gitVersion=v$V -X $p.gitMajor=1 -X $p.gitMinor=$minor"; done
  CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS="-mod=$mod -buildvcs=false" go build -trimpath -ldflags "$L" -o "$BIN/kube.new" .
  mv "$BIN/kube.new" "$BIN/kube"
  for n in etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kubectl; do ln -sfn kube "$BIN/$n"; done
fi
[ -f "$B/img/busybox.tar" ] || "$HERE/images.sh"
