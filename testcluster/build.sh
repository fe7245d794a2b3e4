#!/bin/bash
# Everything that up.sh needs, from nothing on Debian 12 with Go >= 1.25: packages, one `kube` binary (k8s as Go modules), images. Cached; a second call takes a second.
set -euo pipefail; HERE=$(cd "$(dirname "$0")" && pwd)
V=${KUBE_VERSION:-1.37.2}; B=${TESTCLUSTER:-$HOME/.cache/stepyard/testcluster}; mkdir -p "$B"/{bin,img,src}
need=(containerd runc containernetworking-plugins iptables iproute2 socat conntrack ethtool busybox-static docker-registry skopeo gcc libc6-dev openssl curl bc)
dpkg -s "${need[@]}" >/dev/null 2>&1 || { apt-get update -q >/dev/null; DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${need[@]}" >/dev/null; }
if ! [ -x "$B/bin/kube-$V" ]; then
  S=$B/src/kube-$V; mkdir -p "$S"; minor=${V#1.}; minor=${minor%%.*}
  cp "$HERE"/kube/* "$S"; cd "$S"
  # go.mod and go.sum are checked in for the version tested in full; for another one they are made anew.
  if ! grep -q "k8s.io/kubernetes v$V\$" go.mod; then
    [ "$minor" -gt 33 ] || sed -i 's/NewKubeletCommand(context.Background())/NewKubeletCommand()/; /"context"/d' main.go
    printf 'module testcluster/kube\n\ngo 1.25\n\nrequire k8s.io/kubernetes v%s\n' "$V" > go.mod; rm -f go.sum
    # its staging modules are published as v0.MINOR.PATCH; its own go.mod requires them as v0.0.0
    mod=$(go mod download -json "k8s.io/kubernetes@v$V" | sed -n 's/.*"GoMod": "\(.*\)".*/\1/p')
    grep -oE '^\s+k8s.io/[a-z0-9-]+ v0\.0\.0$' "$mod" | awk -v v="v0.${V#1.}" '{print "replace " $1 " => " $1 " " v}' | sort -u >> go.mod
  fi
  L="-s -w"
  for p in k8s.io/component-base/version k8s.io/client-go/pkg/version; do L="$L -X $p.gitVersion=v$V -X $p.gitMajor=1 -X $p.gitMinor=$minor"; done
  CGO_ENABLED=0 GOFLAGS=-mod=mod go build -trimpath -ldflags "$L" -o "$B/bin/kube-$V" .
fi
ln -sfn "kube-$V" "$B/bin/kube"; for n in etcd kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl; do ln -sfn kube "$B/bin/$n"; done
[ -f "$B/img/busybox.tar" ] || "$HERE/images.sh" "$B/img" >/dev/null
"$B/bin/kubelet" --version
