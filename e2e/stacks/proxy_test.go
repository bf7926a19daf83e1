//go:build e2e

package stacks

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/outposts-dev/outposts/e2e/deployed"
)

// pipes is what both programs of throughProxy do: they hand on the bytes of two connections, perhaps for some seconds.
const pipes = `
import asyncio, contextlib, ssl, sys
async def pipe(reader, writer):
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
async def join(reader, writer, host, port, greeting=b"", seconds=None):
    with contextlib.suppress(OSError):
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        writer.write(greeting)
        pipes = (pipe(reader, far_writer), pipe(far_reader, writer))
        ended, _ = await asyncio.wait(map(asyncio.create_task, pipes), timeout=seconds, return_when="FIRST_COMPLETED")
        if not ended:
            print(f"cut {host}:{port}", flush=True)
        far_writer.close()
    writer.close()
async def listen(serve, port, **options):
    async with await asyncio.start_server(serve, "", port, **options) as server:
        await server.serve_forever()
`

// frontProgram is the hub's URL with TLS; its argument is what is behind it.
const frontProgram = pipes + `
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain("/tls/tls.crt", "/tls/tls.key")
asyncio.run(listen(lambda r, w: join(r, w, *sys.argv[1].split(":")), 8443, ssl=context))
`

// proxyProgram is an HTTP proxy that takes CONNECT alone, and cuts whatever it leads to 20 s after the first request
// for the same place.
const proxyProgram = pipes + `
cuts = {}
async def serve(reader, writer):
    method, place, _ = (await reader.readline()).decode().split()
    while (await reader.readline()).strip():
        pass
    print(method, place, flush=True)
    if method != "CONNECT":
        writer.write(b"HTTP/1.1 405 Method Not Allowed\r\n\r\n")
        return writer.close()
    now = asyncio.get_running_loop().time()
    left = cuts.setdefault(place, now + 20) - now
    await join(reader, writer, *place.split(":"), b"HTTP/1.1 200 OK\r\n\r\n", left if left > 0 else None)
asyncio.run(listen(serve, 3128))
`

// throughProxy lets the outpost connect through an HTTP proxy: to the hub's URL as it is, and then to one with TLS and
// a CA of its own. Each time it waits until the proxy has cut the connections to both replicas of the tunnels.
func (s *site) throughProxy(ctx context.Context, t *testing.T) error {
	t.Helper()
	s.remote.program(t, "proxy", proxyProgram, 3128, 0)
	s.set(t, "remote", "http://proxy.default.svc:3128", "outposts:outpost", "dialOut", "proxy")
	s.up(t, "remote")
	if err := s.isCut(ctx, t, s.hub.node+":30000"); err != nil {
		return err
	}
	certificate, key := deployed.NewCertificate(t, s.hub.node)
	s.hub.MakeSecret(t, "default", "front", map[string]string{"tls.crt": certificate, "tls.key": key})
	s.hub.program(t, "front", frontProgram, 8443, 30443, s.hub.node+":30000")
	s.remote.MakeSecret(t, deployed.OutpostNamespace, "hub-ca", map[string]string{"ca.crt": certificate})
	s.set(t, "local", "https://"+s.hub.node+":30443", "outposts:hub", "url")
	s.set(t, "local", "http://"+s.hub.node+":30000/hub/api", "outposts:outposts", 1, "hubApiUrl")
	s.set(t, "remote", "hub-ca", "outposts:outpost", "values", "hubCaSecret")
	s.up(t, "local")
	s.up(t, "remote")
	return s.isCut(ctx, t, s.hub.node+":30443")
}

// isCut waits until the proxy has cut connections to both replicas of the tunnels.
func (s *site) isCut(ctx context.Context, t *testing.T, place string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, answerIn)
	defer cancel()
	return deployed.Eventually(ctx, func(ctx context.Context) error {
		text, err := s.remote.API.CoreV1().Pods("default").GetLogs("proxy", &corev1.PodLogOptions{}).DoRaw(ctx)
		if err != nil {
			return err // it may not run yet
		}
		log := string(text)
		if !strings.Contains(log, "CONNECT "+place+"\n") || strings.Count(log, "cut "+place+"\n") < 2 {
			return fmt.Errorf("the proxy has not cut two connections to %s:\n%s", place, log)
		}
		return nil
	})
}

// program runs a program of Python in namespace default, behind a Service of the same name, whose node port is given or
// 0 for none. A Secret of that name is at /tls.
func (c cluster) program(t *testing.T, name, text string, port, nodePort int32, args ...string) {
	t.Helper()
	meta := metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": name}}
	svc := &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{
		Selector: meta.Labels, Ports: []corev1.ServicePort{{Port: port, NodePort: nodePort}},
	}}
	if nodePort != 0 {
		svc.Spec.Type = corev1.ServiceTypeNodePort
	}
	optional := true
	tls := &corev1.SecretVolumeSource{SecretName: name, Optional: &optional}
	pod := &corev1.Pod{ObjectMeta: meta, Spec: corev1.PodSpec{
		Containers: []corev1.Container{{
			Name: name, Image: deployed.LabImage, Command: append([]string{"python3", "-c", text}, args...),
			VolumeMounts: []corev1.VolumeMount{{Name: "tls", MountPath: "/tls"}},
		}},
		Volumes: []corev1.Volume{{Name: "tls", VolumeSource: corev1.VolumeSource{Secret: tls}}},
	}}
	api := c.API.CoreV1()
	if _, err := api.Services("default").Create(t.Context(), svc, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := api.Pods("default").Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}
