#!/bin/bash
# One-node Kubernetes 1.35 on loopback: etcd, apiserver, controller manager, scheduler, kubelet (one binary, build.sh), Debian's containerd and runc.
# State under $TESTCLUSTER (default ~/.cache/stepyard/testcluster). Idempotent start; stop with down.sh. Needs root.
set -euo pipefail
B=${TESTCLUSTER:-$HOME/.cache/stepyard/testcluster}; BIN=$B/bin; RUN=$B/run; IMG=$B/img; PKI=$RUN/pki; LOG=$RUN/log; PID=$RUN/pid
NODE=127.0.0.1; API=127.0.0.1:6443; ETCD=127.0.0.1:23790; ETCDP=127.0.0.1:23800
SOCK=$RUN/containerd.sock; BR=sybr0; PODNET=10.244.0.0/24; SVC_IP=10.96.0.1
t0=$(date +%s.%N); step(){ printf '%6.2f s  %s\n' "$(echo "$(date +%s.%N)-$t0" | bc)" "$*"; }
mkdir -p $PKI $LOG $PID $RUN/{cni/net.d,certs.d,kubelet,etcd,pods}
start(){ local n=$1; shift; setsid nohup "$@" >$LOG/$n.log 2>&1 </dev/null & echo $! >$PID/$n; }
waitfor(){ local what=$1 n=0; shift; until "$@" >/dev/null 2>&1; do n=$((n+1)); [ $n -gt 600 ] && { echo "timeout: $what; see $LOG" >&2; exit 1; }; sleep 0.1; done; step "$what"; }

[ -f $RUN/netns.before ] || { ls /run/netns 2>/dev/null || true; } > $RUN/netns.before
# sysctls that the kubelet changes: remembered for down.sh
[ -f $RUN/sysctl.saved ] || for k in vm.overcommit_memory kernel.panic kernel.panic_on_oops kernel.keys.root_maxkeys kernel.keys.root_maxbytes net.ipv4.ip_forward; do echo "$k=$(sysctl -n $k)"; done > $RUN/sysctl.saved

# --- certificates
if ! [ -f $PKI/done ]; then ( cd $PKI
  ec(){ openssl ecparam -name prime256v1 -genkey -noout -out $1.key; }
  ec ca; openssl req -x509 -new -key ca.key -subj /CN=testcluster-ca -days 3650 -out ca.crt \
    -addext 'basicConstraints=critical,CA:TRUE' -addext 'keyUsage=critical,digitalSignature,keyEncipherment,keyCertSign'
  cert(){ # name subject extension
    ec $1; openssl req -new -key $1.key -subj "$2" -out $1.csr
    printf 'keyUsage=digitalSignature,keyEncipherment\nextendedKeyUsage=serverAuth,clientAuth\n%s\n' "${3:-}" > $1.ext
    openssl x509 -req -in $1.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -extfile $1.ext -out $1.crt 2>/dev/null; }
  cert apiserver /CN=kube-apiserver "subjectAltName=DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,IP:127.0.0.1,IP:$SVC_IP"
  cert apiserver-kubelet /O=system:masters/CN=kube-apiserver-kubelet-client
  cert admin /O=system:masters/CN=admin
  cert kcm /CN=system:kube-controller-manager
  cert sched /CN=system:kube-scheduler
  cert kubelet /O=system:nodes/CN=system:node:$NODE "subjectAltName=IP:127.0.0.1"
  openssl genrsa -out sa.key 2048 2>/dev/null; openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
  for u in admin kcm sched kubelet; do cat > $RUN/$u.kubeconfig <<E
apiVersion: v1
kind: Config
clusters: [{name: testcluster, cluster: {server: "https://$API", certificate-authority-data: $(base64 -w0 ca.crt)}}]
users: [{name: $u, user: {client-certificate-data: $(base64 -w0 $u.crt), client-key-data: $(base64 -w0 $u.key)}}]
contexts: [{name: testcluster, context: {cluster: testcluster, user: $u}}]
current-context: testcluster
E
  done; touch done ); fi
step "certificates"

# --- configuration
cat > $RUN/containerd.toml <<E
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
E
cat > $RUN/cni/net.d/10-testcluster.conflist <<E
{"cniVersion":"0.4.0","name":"testcluster","plugins":[
 {"type":"bridge","bridge":"$BR","isGateway":true,"ipMasq":true,"hairpinMode":true,
  "ipam":{"type":"host-local","dataDir":"$RUN/cni/ipam","ranges":[[{"subnet":"$PODNET"}]],"routes":[{"dst":"0.0.0.0/0"}]}},
 {"type":"portmap","capabilities":{"portMappings":true}}]}
E
cat > $RUN/kubelet.yaml <<E
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 127.0.0.1
healthzBindAddress: 127.0.0.1
containerRuntimeEndpoint: unix://$SOCK
podLogsDir: $RUN/pods
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $PKI/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $PKI/kubelet.crt
tlsPrivateKeyFile: $PKI/kubelet.key
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
makeIPTablesUtilChains: false
serializeImagePulls: false
registryPullQPS: 0
nodeStatusUpdateFrequency: 1s
syncFrequency: 10s
eventRecordQPS: 0
kubeAPIQPS: 200
kubeAPIBurst: 400
imageGCHighThresholdPercent: 100
imageMinimumGCAge: 8760h
evictionHard: {memory.available: 50Mi, nodefs.available: "1%", nodefs.inodesFree: "1%", imagefs.available: "1%"}
resolvConf: $RUN/resolv.conf
maxPods: ${MAXPODS:-250}
E
echo "nameserver 127.0.0.1" > $RUN/resolv.conf

# --- etcd, containerd and the kubelet's helpers
start etcd $BIN/etcd --name tc --data-dir $RUN/etcd --listen-client-urls http://$ETCD --advertise-client-urls http://$ETCD \
  --listen-peer-urls http://$ETCDP --initial-advertise-peer-urls http://$ETCDP --initial-cluster tc=http://$ETCDP --log-level warn ${ETCD_FLAGS:---unsafe-no-fsync}
# A mount namespace of its own with shared propagation for containerd and kubelet: Bidirectional mounts work where "/" is private, and all their mounts vanish with it.
start mntns unshare --mount --propagation shared sleep infinity
until [ "$(readlink /proc/$(cat $PID/mntns)/ns/mnt 2>/dev/null)" != "$(readlink /proc/self/ns/mnt)" ] && grep -q sleep /proc/$(cat $PID/mntns)/cmdline; do sleep 0.02; done
NS="nsenter --mount=/proc/$(cat $PID/mntns)/ns/mnt"
# The pods' bridge beforehand, and the apiserver for pods at 10.96.0.1:443 (no kube-proxy): DNAT to loopback
ip link add $BR type bridge 2>/dev/null || true; ip addr replace 10.244.0.1/24 dev $BR; ip link set $BR up; sysctl -qw net.ipv4.conf.$BR.route_localnet=1
R="PREROUTING -i $BR -d $SVC_IP -p tcp --dport 443 -m comment --comment testcluster -j DNAT --to-destination $API"
iptables -t nat -C $R 2>/dev/null || iptables -t nat -A $R
start containerd $NS containerd -c $RUN/containerd.toml
waitfor "etcd healthy" curl -sf http://$ETCD/health
start apiserver $BIN/kube-apiserver --etcd-servers=http://$ETCD --bind-address=127.0.0.1 --secure-port=6443 --advertise-address=127.0.0.1 \
  --endpoint-reconciler-type=none --service-cluster-ip-range=10.96.0.0/16 --allow-privileged=true \
  --client-ca-file=$PKI/ca.crt --tls-cert-file=$PKI/apiserver.crt --tls-private-key-file=$PKI/apiserver.key \
  --service-account-issuer=https://kubernetes.default.svc --service-account-key-file=$PKI/sa.pub --service-account-signing-key-file=$PKI/sa.key \
  --kubelet-client-certificate=$PKI/apiserver-kubelet.crt --kubelet-client-key=$PKI/apiserver-kubelet.key --kubelet-preferred-address-types=InternalIP,Hostname \
  --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --cert-dir=$RUN/apiserver-certs ${APISERVER_FLAGS:-}
waitfor "containerd answers" ctr -a $SOCK version
for i in $IMG/*.tar; do ctr -a $SOCK -n k8s.io images import $i >/dev/null; done; step "images imported"
K="$BIN/kubectl --kubeconfig $RUN/admin.kubeconfig"
waitfor "apiserver /readyz" $K get --raw /readyz
start kcm $BIN/kube-controller-manager --kubeconfig=$RUN/kcm.kubeconfig --authentication-kubeconfig=$RUN/kcm.kubeconfig --authorization-kubeconfig=$RUN/kcm.kubeconfig \
  --bind-address=127.0.0.1 --leader-elect=false --service-account-private-key-file=$PKI/sa.key --root-ca-file=$PKI/ca.crt --use-service-account-credentials=true \
  --cluster-signing-cert-file=$PKI/ca.crt --cluster-signing-key-file=$PKI/ca.key --tls-cert-file=$PKI/kcm.crt --tls-private-key-file=$PKI/kcm.key
start sched $BIN/kube-scheduler --kubeconfig=$RUN/sched.kubeconfig --authentication-kubeconfig=$RUN/sched.kubeconfig --authorization-kubeconfig=$RUN/sched.kubeconfig \
  --bind-address=127.0.0.1 --leader-elect=false --tls-cert-file=$PKI/sched.crt --tls-private-key-file=$PKI/sched.key
start kubelet $NS $BIN/kubelet --config=$RUN/kubelet.yaml --kubeconfig=$RUN/kubelet.kubeconfig --hostname-override=$NODE --root-dir=$RUN/kubelet --cert-dir=$RUN/kubelet-certs --v=${KUBELET_V:-2}
waitfor "node registered" $K get node $NODE
waitfor "default service account" $K get serviceaccount default
waitfor "node Ready" sh -c "$K get node $NODE -o jsonpath='{.status.conditions[?(@.type==\"Ready\")].status}' | grep -q True"
waitfor "node untainted" sh -c "test -z \"\$($K get node $NODE -o jsonpath='{.spec.taints}')\""
echo "export KUBECONFIG=$RUN/admin.kubeconfig"
