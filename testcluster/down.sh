#!/bin/bash
# Stop what up.sh started (by PID), delete its pods' tasks, mounts, cgroups, bridge, iptables leftovers, and restore sysctls.
B=${TESTCLUSTER:-$HOME/.cache/stepyard/testcluster}; RUN=$B/run; PID=$RUN/pid; SOCK=$RUN/containerd.sock; BR=sybr0
K="$B/bin/kubectl --kubeconfig $RUN/admin.kubeconfig --request-timeout=5s"
if [ -z "${FAST:-}" ]; then $K delete pods --all -A --grace-period=1 --timeout=40s >/dev/null 2>&1; fi
end(){ local f=$PID/$1 p; [ -f $f ] || return 0; p=$(cat $f); kill $p 2>/dev/null; for _ in $(seq 50); do kill -0 $p 2>/dev/null || break; sleep 0.1; done; kill -9 $p 2>/dev/null; rm -f $f; }
end kubelet
for t in $(ctr -a $SOCK -n k8s.io tasks ls -q 2>/dev/null); do ctr -a $SOCK -n k8s.io tasks kill -s SIGKILL $t 2>/dev/null; done; sleep 1
for t in $(ctr -a $SOCK -n k8s.io tasks ls -q 2>/dev/null); do ctr -a $SOCK -n k8s.io tasks rm -f $t >/dev/null 2>&1; done
for n in sched kcm apiserver etcd registry-5050 registry-5051 containerd mntns; do end $n; done
# any shim left by our containerd (they carry our socket in their argument list)
for p in $(grep -slaF -- "$SOCK" /proc/[0-9]*/cmdline | cut -d/ -f3); do grep -qa containerd-shim /proc/$p/cmdline 2>/dev/null && kill -9 $p 2>/dev/null; done
awk -v r="$RUN/" '{print $5}' /proc/self/mountinfo | grep "^$RUN/" | sort -r | xargs -r -n1 umount -l 2>/dev/null
for ns in $(ls /run/netns 2>/dev/null | grep '^cni-' | grep -vxFf $RUN/netns.before 2>/dev/null); do ip netns del $ns 2>/dev/null; done; rm -f $RUN/netns.before
R="PREROUTING -i $BR -d 10.96.0.1 -p tcp --dport 443 -m comment --comment testcluster -j DNAT --to-destination 127.0.0.1:6443"; iptables -t nat -D $R 2>/dev/null
ip link del $BR 2>/dev/null
if iptables -t nat -S 2>/dev/null | grep -q 'name: \\"testcluster\\"'; then  # CNI ipMasq chains of the network "testcluster"
  for c in $(iptables -t nat -S | grep 'name: \\"testcluster\\"' | grep -o 'CNI-[0-9a-f]*' | sort -u); do
    iptables -t nat -S POSTROUTING | grep -- "-j $c" | sed 's/^-A/-D/' | while read -r l; do eval iptables -t nat $l; done
    iptables -t nat -F $c; iptables -t nat -X $c; done; fi
for c in $(ls -d /sys/fs/cgroup/*/kubepods 2>/dev/null); do find $c -depth -type d -exec rmdir {} \; 2>/dev/null; done
[ -f $RUN/sysctl.saved ] && sysctl -q -p $RUN/sysctl.saved >/dev/null 2>&1; rm -f $RUN/sysctl.saved
if [ -n "${WIPE:-}" ]; then rm -rf "$RUN" /var/log/pods/default_* /var/log/containers/*_default_* /var/lib/cni/results/testcluster-*; fi   # kubelet 1.20 hard-codes /var/log/pods; libcni caches in /var/lib/cni
true
