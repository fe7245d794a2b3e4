# What the scripts share. An instance is a cluster of its own beside the others: its state, ports and bridge follow from its number.
V=${KUBE_VERSION:-1.37.2}
B=${TESTCLUSTER:-$HOME/.cache/stepyard/testcluster}
N=${INSTANCE:-0}
RUN=$B/run-$N; PKI=$RUN/pki; LOG=$RUN/log; PID=$RUN/pid; PART=$RUN/part
BIN=$B/kube-$V; DEB=$B/deb
SOCK=$RUN/containerd.sock
NAME=stepyard$N; BR=syk$N; PODNET=10.244.$N
API=127.0.0.1:$((6443 + 10 * N)); ETCD=127.0.0.1:$((23790 + 10 * N)); ETCD_PEER=127.0.0.1:$((23791 + 10 * N))
KUBELET=$((10250 + 20 * N)); KUBELET_HEALTH=$((10248 + 20 * N)); KCM=$((10257 + 20 * N)); SCHED=$((10259 + 20 * N))
NODE=127.0.0.1; SVC_IP=10.96.0.1
export PATH=$DEB/usr/bin:$DEB/usr/sbin:$PATH:/usr/sbin:/sbin

# The process of a part, if it lives and still is that part: numbers are given again.
alive() {
  local pid; pid=$(cat "$PID/$1" 2>/dev/null) || return 1
  [ -e "/proc/$pid" ] && tr '\0' ' ' < "/proc/$pid/cmdline" 2>/dev/null | grep -qF -- "$RUN/"
}
# Starts a part that does not run. Its command line stays in $PART, so that a test can start it again as it was.
start() {
  local name=$1; shift
  { echo '#!/bin/sh'; printf 'exec'; printf ' %q' "$@"; echo " >>$LOG/$name.log 2>&1 </dev/null"; } > "$PART/$name.new"
  chmod +x "$PART/$name.new"; mv "$PART/$name.new" "$PART/$name"
  alive "$name" && return
  setsid nohup "$PART/$name" </dev/null >/dev/null 2>&1 & echo $! > "$PID/$name"
}
# Ends a part: asked first, then not.
end() {
  if alive "$1"; then
    local pid; pid=$(cat "$PID/$1"); kill "$pid" 2>/dev/null
    for _ in $(seq 50); do [ -e "/proc/$pid" ] || break; sleep 0.1; done
    kill -9 "$pid" 2>/dev/null
  fi
  rm -f "$PID/$1"
}
waitfor() {
  local what=$1 n=0; shift
  until "$@" >/dev/null 2>&1; do
    n=$((n + 1)); [ $n -gt 900 ] && { echo "$what: not in 90 s; the logs are in $LOG" >&2; exit 1; }; sleep 0.1
  done
}
