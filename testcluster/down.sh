#!/bin/bash
# Stops what up.sh started (by its process ids), and removes what it made: tasks of pods, mounts, control groups, bridge, rules.
# WIPE=1: the state too. The registries stay: `registry.sh down`.
HERE=$(cd "$(dirname "$0")" && pwd); . "$HERE/lib.sh"
[ -d "$RUN" ] || exit 0
end kubelet
CTR="ctr -a $SOCK -n k8s.io"
if alive containerd; then
  for t in $($CTR tasks ls -q 2>/dev/null); do $CTR tasks kill -s SIGKILL "$t" 2>/dev/null; done
  for _ in $(seq 30); do $CTR tasks ls 2>/dev/null | grep -q RUNNING || break; sleep 0.1; done
  for t in $($CTR tasks ls -q 2>/dev/null); do $CTR tasks rm -f "$t" >/dev/null 2>&1; done
fi
for n in sched kcm apiserver etcd containerd mntns; do end $n; done
# Shims of our containerd carry its socket in their command line.
for p in $(grep -slaF -- "$SOCK" /proc/[0-9]*/cmdline | cut -d/ -f3); do
  grep -qa containerd-shim "/proc/$p/cmdline" 2>/dev/null && kill -9 "$p" 2>/dev/null
done
awk '{print $5}' /proc/self/mountinfo | grep "^$RUN/" | sort -r | xargs -r -n1 umount -l 2>/dev/null
iptables -t nat -D PREROUTING -i $BR -d $SVC_IP -p tcp --dport 443 -m comment --comment $NAME -j DNAT --to-destination "$API" 2>/dev/null
ip link del $BR 2>/dev/null
# CNI's masquerading chains name their network.
for c in $(iptables -t nat -S 2>/dev/null | grep "name: .*\"$NAME.*\"" | grep -o 'CNI-[0-9a-f]*' | sort -u); do
  iptables -t nat -S POSTROUTING | grep -- "-j $c" | sed 's/^-A/-D/' | while read -r l; do eval "iptables -t nat $l"; done
  iptables -t nat -F "$c"; iptables -t nat -X "$c"
done
tree=kubepods; [ "$N" = 0 ] || tree=$NAME
for c in /sys/fs/cgroup/$tree /sys/fs/cgroup/*/$tree; do [ -d "$c" ] && find "$c" -depth -type d -exec rmdir {} \; 2>/dev/null; done
ls "$B"/run-*/pid/kubelet >/dev/null 2>&1 || { sysctl -q -p "$B/sysctl.saved" >/dev/null 2>&1; rm -f "$B/sysctl.saved"; }
if [ -n "${WIPE:-}" ]; then rm -rf "$RUN" /var/lib/cni/results/$NAME-*; fi
true
