package node

import (
	"github.com/outposts-dev/outposts/dev/clusters/plan"
)

func kube(name string, args ...string) program {
	return program{name: name, argv: append([]string{at("kube/bin/" + name)}, args...)}
}

func pkiFile(name string) string { return at("state/pki/" + name) }

// controlPlane are the programs that need no API server.
func controlPlane(cluster plan.Cluster) []program {
	node := cluster.Node().String()
	return []program{
		kube("etcd", "--data-dir="+at("state/etcd"), "--name=default",
			"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
			"--listen-peer-urls=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380",
			"--initial-cluster=default=http://127.0.0.1:2380",
			// a machine that loses power loses a development cluster; every write would wait for the disk otherwise
			"--unsafe-no-fsync", "--snapshot-count=10000", "--auto-compaction-retention=0", "--log-level=warn"),
		{name: "containerd", argv: []string{at("runtime/bin/containerd"), "--config", at("config/containerd.toml")}},
		kube("kube-apiserver",
			"--bind-address="+node, "--advertise-address="+node, "--secure-port=6443",
			"--etcd-servers=http://127.0.0.1:2379", "--service-cluster-ip-range="+cluster.Services().String(),
			"--client-ca-file="+pkiFile("ca.crt"), "--tls-cert-file="+pkiFile("apiserver.crt"),
			"--tls-private-key-file="+pkiFile("apiserver.key"),
			"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
			"--service-account-key-file="+pkiFile("sa.pub"), "--service-account-signing-key-file="+pkiFile("sa.key"),
			"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
			"--kubelet-certificate-authority="+pkiFile("ca.crt"),
			"--kubelet-client-certificate="+pkiFile("apiserver-kubelet-client.crt"),
			"--kubelet-client-key="+pkiFile("apiserver-kubelet-client.key"),
			"--kubelet-preferred-address-types=InternalIP",
			"--requestheader-client-ca-file="+pkiFile("front-proxy-ca.crt"),
			"--requestheader-allowed-names=front-proxy-client",
			"--requestheader-extra-headers-prefix=X-Remote-Extra-", "--requestheader-group-headers=X-Remote-Group",
			"--requestheader-username-headers=X-Remote-User",
			"--proxy-client-cert-file="+pkiFile("front-proxy-client.crt"),
			"--proxy-client-key-file="+pkiFile("front-proxy-client.key"),
			"--enable-aggregator-routing=true", "--allow-privileged=true", "--profiling=false",
			"--shutdown-delay-duration=0s"),
	}
}

// workers are the programs that begin by asking the API server.
func workers(cluster plan.Cluster) []program {
	node := cluster.Node().String()
	// as=FILE for all three places where a component takes its credentials
	as := func(file string) []string {
		k := pkiFile(file + ".kubeconfig")
		return []string{
			"--kubeconfig=" + k, "--authentication-kubeconfig=" + k,
			"--authorization-kubeconfig=" + k, "--leader-elect=false",
			"--bind-address=127.0.0.1", "--tls-cert-file=" + pkiFile("apiserver.crt"),
			"--tls-private-key-file=" + pkiFile("apiserver.key"),
			// the default of 20 requests a second is what one waits for when a chart is installed
			"--kube-api-qps=500", "--kube-api-burst=1000",
		}
	}
	return []program{
		kube("kubelet", "--config="+at("config/kubelet.yaml"), "--kubeconfig="+pkiFile("kubelet.kubeconfig"),
			"--node-ip="+node, "--hostname-override="+cluster.Name),
		kube("kube-controller-manager", append(as("controller-manager"),
			"--service-account-private-key-file="+pkiFile("sa.key"), "--root-ca-file="+pkiFile("ca.crt"),
			"--use-service-account-credentials=true",
			"--cluster-signing-cert-file="+pkiFile("ca.crt"), "--cluster-signing-key-file="+pkiFile("ca.key"),
			"--allocate-node-cidrs=false", "--cluster-cidr="+cluster.Pods().String())...),
		kube("kube-scheduler", as("scheduler")...),
		kube("kube-proxy", "--config="+at("config/kube-proxy.yaml")),
		kube("addons", "--kubeconfig="+pkiFile("admin.kubeconfig"), "--lb-pool="+cluster.ServicePool().String(),
			"--node-ip="+node, "--node-name="+cluster.Name, "--volume-dir="+kept["volumes"]),
		kube("gateway", "--kubeconfig="+pkiFile("admin.kubeconfig"), "--pool="+cluster.GatewayPool().String()),
		{name: "kube-router", argv: []string{
			at("netpol/kube-router"), "--kubeconfig=" + pkiFile("admin.kubeconfig"),
			"--hostname-override=" + cluster.Name,
			"--run-firewall=true", "--run-router=false", "--run-service-proxy=false", "--run-loadbalancer=false",
			"--service-cluster-ip-range=" + cluster.Services().String(),
			"--loadbalancer-ip-range=" + cluster.LoadBalancers().String(),
			"--metrics-port=0", "--health-port=0",
		}},
	}
}
