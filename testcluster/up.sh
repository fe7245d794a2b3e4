#!/bin/bash
# One-node Kubernetes on loopback: etcd, API server, controller manager, scheduler and kubelet (one binary, build.sh), Debian's containerd and runc.
# What already runs is left alone. Stopped by down.sh. Needs root.
set -euo pipefail; HERE=$(cd "$(dirname "$0")" && pwd); . "$HERE/lib.sh"
mkdir -p "$PKI" "$LOG" "$PID" "$PART" "$RUN"/{cni/net.d,certs.d,kubelet,etcd,pods,volumes}
if [ -f "$RUN/version" ] && [ "$(cat "$RUN/version")" != "$V" ]; then
  echo "instance $N was made as Kubernetes $(cat "$RUN/version"): take it down with its state first, or choose another INSTANCE" >&2; exit 1
fi
echo "$V" > "$RUN/version"

# What kubelets change, remembered for down.sh.
[ -f "$B/sysctl.saved" ] || for k in vm.overcommit_memory kernel.panic kernel.panic_on_oops kernel.keys.root_maxkeys kernel.keys.root_maxbytes net.ipv4.ip_forward; do
  echo "$k=$(sysctl -n $k)"
done > "$B/sysctl.saved"

# --- certificates
if ! [ -f "$PKI/done" ]; then ( cd "$PKI"
  key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }
  key ca; openssl req -x509 -new -key ca.key -subj "/CN=$NAME-ca" -days 3650 -out ca.crt \
    -addext 'basicConstraints=critical,CA:TRUE' -addext 'keyUsage=critical,digitalSignature,keyEncipherment,keyCertSign' 2>/dev/null
  cert() { # name subject extension
    key "$1"; openssl req -new -key "$1.key" -subj "$2" -out "$1.csr" 2>/dev/null
    printf 'keyUsage=digitalSignature,keyEncipherment\nextendedKeyUsage=serverAuth,clientAuth\n%s\n' "${3:-}" > "$1.ext"
    openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -extfile "$1.ext" -out "$1.crt" 2>/dev/null
  }
  cert apiserver /CN=kube-apiserver "subjectAltName=DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,IP:127.0.0.1,IP:$SVC_IP"
  cert apiserver-kubelet /O=system:masters/CN=kube-apiserver-kubelet-client
  cert admin /O=system:masters/CN=admin
  cert kcm /CN=system:kube-controller-manager
  cert sched /CN=system:kube-scheduler
  cert kubelet "/O=system:nodes/CN=system:node:$NODE" "subjectAltName=IP:127.0.0.1"
  openssl genrsa -out sa.key 2048 2>/dev/null; openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
  for u in admin kcm sched kubelet; do
    context=$NAME; [ $u = admin ] || context=$u
    cat > "$RUN/$u.kubeconfig" <<Y
apiVersion: v1
kind: Config
clusters: [{name: $NAME, cluster: {server: "https://$API", certificate-authority-data: $(base64 -w0 ca.crt)}}]
users: [{name: $u, user: {client-certificate-data: $(base64 -w0 $u.crt), client-key-data: $(base64 -w0 $u.key)}}]
contexts: [{name: $context, context: {cluster: $NAME, user: $u}}]
current-context: $context
Y
  done; touch done )
fi

# --- configuration
# restrict_oom_score_adj: machines without CAP_SYS_RESOURCE. Network namespaces below the state: they go with it.
cat > "$RUN/containerd.toml" <<Y
version = 2
root = "$RUN/containerd/root"
state = "$RUN/containerd/state"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs","io.containerd.snapshotter.v1.btrfs","io.containerd.snapshotter.v1.zfs","io.containerd.snapshotter.v1.devmapper","io.containerd.internal.v1.opt"]
[grpc]
  address = "$SOCK"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "testcluster.local/pause:1"
  disable_apparmor = true
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$RUN/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "$RUN/certs.d"
Y
cat > "$RUN/cni/net.d/10-$NAME.conflist" <<Y
{"cniVersion":"0.4.0","name":"$NAME","plugins":[
 {"type":"bridge","bridge":"$BR","isGateway":true,"ipMasq":true,"hairpinMode":true,
  "ipam":{"type":"host-local","dataDir":"$RUN/cni/ipam","ranges":[[{"subnet":"$PODNET.0/24"}]],"routes":[{"dst":"0.0.0.0/0"}]}},
 {"type":"portmap","capabilities":{"portMappings":true}}]}
Y
for p in 5050 5051; do
  mkdir -p "$RUN/certs.d/127.0.0.1:$p"
  printf 'server = "http://127.0.0.1:%s"\n[host."http://127.0.0.1:%s"]\n  capabilities = ["pull", "resolve"]\n' $p $p > "$RUN/certs.d/127.0.0.1:$p/hosts.toml"
done
# Two kubelets on one machine must not tidy up each other's control groups.
CGROOT=/; [ "$N" = 0 ] || CGROOT=/$NAME
if [ $CGROOT != / ]; then
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    cat /sys/fs/cgroup/cgroup.controllers | tr ' ' '\n' | sed 's/^/+/' | while read -r c; do echo "$c" > /sys/fs/cgroup/cgroup.subtree_control 2>/dev/null || true; done
    mkdir -p "/sys/fs/cgroup$CGROOT"
  else
    for c in /sys/fs/cgroup/*/; do
      [ -e "${c}cgroup.procs" ] || continue
      mkdir -p "$c$CGROOT"
      for f in cpuset.cpus cpuset.mems; do [ ! -e "${c}$f" ] || cat "${c}$f" > "$c$CGROOT/$f"; done
    done
  fi
fi
cat > "$RUN/kubelet.yaml" <<Y
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 127.0.0.1
port: $KUBELET
healthzBindAddress: 127.0.0.1
healthzPort: $KUBELET_HEALTH
containerRuntimeEndpoint: unix://$SOCK
podLogsDir: $RUN/pods
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $PKI/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $PKI/kubelet.crt
tlsPrivateKeyFile: $PKI/kubelet.key
cgroupDriver: cgroupfs
cgroupRoot: $CGROOT
failCgroupV1: false
failSwapOn: false
makeIPTablesUtilChains: false
serializeImagePulls: false
registryPullQPS: 0
nodeStatusUpdateFrequency: 1s
syncFrequency: 10s
eventRecordQPS: 1000
eventBurst: 2000
kubeAPIQPS: 200
kubeAPIBurst: 400
imageGCHighThresholdPercent: 100
imageMinimumGCAge: 8760h
evictionHard: {memory.available: 50Mi, nodefs.available: "1%", nodefs.inodesFree: "1%", imagefs.available: "1%"}
resolvConf: $RUN/resolv.conf
maxPods: ${MAXPODS:-250}
Y
echo "nameserver 127.0.0.1" > "$RUN/resolv.conf"
# Who wrote what, for those who count.
cat > "$RUN/audit.yaml" <<Y
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, users: [system:apiserver, system:kube-controller-manager, system:kube-scheduler]}
- {level: None, userGroups: [system:nodes, "system:serviceaccounts:kube-system"]}
- {level: Metadata}
Y

# --- etcd, containerd and the kubelet's helpers
start etcd "$BIN/etcd" --name tc --data-dir "$RUN/etcd" --listen-client-urls "http://$ETCD" --advertise-client-urls "http://$ETCD" \
  --listen-peer-urls "http://$ETCD_PEER" --initial-advertise-peer-urls "http://$ETCD_PEER" --initial-cluster "tc=http://$ETCD_PEER" \
  --log-level warn ${ETCD_FLAGS---unsafe-no-fsync}
# A mount namespace of its own with shared propagation for containerd and kubelet: Bidirectional mounts work where "/" is
# private, and all their mounts vanish with it. Something that does nothing holds it.
start mntns unshare --mount --propagation shared tail -f "$RUN/version"
waitfor "a mount namespace" grep -q ^tail "/proc/$(cat "$PID/mntns")/cmdline"
NS="nsenter --mount=/proc/$(cat "$PID/mntns")/ns/mnt"
# The pods' bridge, and the API server for pods at 10.96.0.1:443 (there is no kube-proxy).
ip link add $BR type bridge 2>/dev/null || true; ip addr replace $PODNET.1/24 dev $BR; ip link set $BR up
sysctl -qw "net.ipv4.conf.$BR.route_localnet=1" net.ipv4.ip_forward=1
rule="PREROUTING -i $BR -d $SVC_IP -p tcp --dport 443 -m comment --comment $NAME -j DNAT --to-destination $API"
iptables -t nat -C $rule 2>/dev/null || iptables -t nat -A $rule
start containerd $NS containerd -c "$RUN/containerd.toml"
waitfor "etcd" curl -sf "http://$ETCD/health"
start apiserver "$BIN/kube-apiserver" "--etcd-servers=http://$ETCD" --bind-address=127.0.0.1 "--secure-port=${API#*:}" --advertise-address=127.0.0.1 \
  --endpoint-reconciler-type=none --service-cluster-ip-range=10.96.0.0/16 --allow-privileged=true \
  "--client-ca-file=$PKI/ca.crt" "--tls-cert-file=$PKI/apiserver.crt" "--tls-private-key-file=$PKI/apiserver.key" \
  --service-account-issuer=https://kubernetes.default.svc "--service-account-key-file=$PKI/sa.pub" "--service-account-signing-key-file=$PKI/sa.key" \
  "--kubelet-client-certificate=$PKI/apiserver-kubelet.crt" "--kubelet-client-key=$PKI/apiserver-kubelet.key" --kubelet-preferred-address-types=InternalIP,Hostname \
  --default-not-ready-toleration-seconds=5 --default-unreachable-toleration-seconds=5 \
  "--audit-policy-file=$RUN/audit.yaml" "--audit-log-path=$RUN/audit.log" --audit-log-maxsize=100 --audit-log-maxbackup=1 \
  --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction "--cert-dir=$RUN/apiserver-certs" ${APISERVER_FLAGS:-}
waitfor "containerd" ctr -a "$SOCK" version
[ -f "$RUN/imported" ] || { ctr -a "$SOCK" -n k8s.io images import "$B/img/pause.tar" >/dev/null; touch "$RUN/imported"; }
K="$BIN/kubectl --kubeconfig $RUN/admin.kubeconfig"
waitfor "the API server" $K get --raw /readyz
# A node is gone sooner than by default (tests stop the kubelet); volumes of claims are directories below /tmp/hostpath_pv.
start kcm "$BIN/kube-controller-manager" "--kubeconfig=$RUN/kcm.kubeconfig" "--authentication-kubeconfig=$RUN/kcm.kubeconfig" "--authorization-kubeconfig=$RUN/kcm.kubeconfig" \
  --bind-address=127.0.0.1 "--secure-port=$KCM" --leader-elect=false "--service-account-private-key-file=$PKI/sa.key" "--root-ca-file=$PKI/ca.crt" --use-service-account-credentials=true \
  --enable-hostpath-provisioner=true --node-monitor-grace-period=20s --node-monitor-period=1s \
  "--cluster-signing-cert-file=$PKI/ca.crt" "--cluster-signing-key-file=$PKI/ca.key" "--tls-cert-file=$PKI/kcm.crt" "--tls-private-key-file=$PKI/kcm.key"
start sched "$BIN/kube-scheduler" "--kubeconfig=$RUN/sched.kubeconfig" "--authentication-kubeconfig=$RUN/sched.kubeconfig" "--authorization-kubeconfig=$RUN/sched.kubeconfig" \
  --bind-address=127.0.0.1 "--secure-port=$SCHED" --leader-elect=false "--tls-cert-file=$PKI/sched.crt" "--tls-private-key-file=$PKI/sched.key"
# containerd answers a kubelet a moment after everybody else: one that is too early ends, and is started again. That the node is known as
# ready says nothing: it may be from the time before.
kubelet() {
  start kubelet $NS "$BIN/kubelet" "--config=$RUN/kubelet.yaml" "--kubeconfig=$RUN/kubelet.kubeconfig" --hostname-override=$NODE "--root-dir=$RUN/kubelet" "--cert-dir=$RUN/kubelet-certs" "--v=${KUBELET_V:-2}"
  curl -sf --max-time 5 -o /dev/null "http://127.0.0.1:$KUBELET_HEALTH/healthz"
}
waitfor "the kubelet" kubelet
waitfor "the node's registration" $K get node $NODE
waitfor "the default service account" $K get serviceaccount default
waitfor "the node's readiness" sh -c "$K get node $NODE -o jsonpath='{.status.conditions[?(@.type==\"Ready\")].status}' | grep -q True"
waitfor "the node's last taint" sh -c "test -z \"\$($K get node $NODE -o jsonpath='{.spec.taints}')\""
$K get storageclass standard >/dev/null 2>&1 || $K create -f - >/dev/null <<Y
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: standard, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}
provisioner: kubernetes.io/host-path
Y
"$HERE/registry.sh"
