package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The pause between two looks at a server: the only one that starts, and one of many, which all are looked at.
const labsLook, labsLookMany = 10 * time.Millisecond, 50 * time.Millisecond

// The time from when a pod is made until its server answers, alone on the machine and as one of many.
const labsAnswer, labsAnswerMany = 2 * time.Minute, 5 * time.Minute

// takeAlone takes starts on the remote system, one after the other, and after each the same pod without a hub: from
// when client-go creates it until its server answers.
func (b *labsBench) takeAlone(ctx context.Context) error {
	labs, err := b.users(ctx, "alone", 1)
	if err != nil {
		return err
	}
	lab := labs[0]
	for round := range pick(b.run, 21, 3) {
		b.run.say("labs: a start, round %d", round+1)
		if err := calm(ctx); err != nil {
			return err
		}
		begin := time.Now()
		if err := lab.start(ctx, map[string]any{"system": labsOne}); err != nil {
			return err
		}
		took := time.Since(begin)
		if err := calm(ctx); err != nil {
			return err
		}
		bare, err := b.bare(ctx, round)
		if err = errors.Join(err, lab.stop(ctx)); err != nil {
			return err
		}
		if round == 0 {
			continue // it makes the user's home
		}
		b.run.add("labs/start/until ready", projectSubject, "s", "less", took.Seconds())
		b.run.add("labs/start/until ready", barePods, "s", "less", bare.Seconds())
		b.run.add("labs/start/above the bare pod", projectSubject, "s", "less", (took - bare).Seconds())
	}
	return nil
}

// bare makes a pod that is like that of the only server of the remote system but for its names, waits until its server
// answers, and removes it. It returns how long that took until the answer.
func (b *labsBench) bare(ctx context.Context, round int) (took time.Duration, err error) {
	pods := b.clusters[labsOne].CoreV1().Pods(labsNamespace)
	list, err := pods.List(ctx, metav1.ListOptions{LabelSelector: labsPods})
	if err != nil {
		return 0, err
	}
	if len(list.Items) != 1 {
		return 0, fmt.Errorf("%d pods of servers on %s", len(list.Items), labsOne)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, labsAnswer, fmt.Errorf("it has had %s", labsAnswer))
	defer cancel()
	begin := time.Now()
	pod, err := pods.Create(ctx, bareLike(list.Items[0], round), metav1.CreateOptions{})
	if err != nil {
		return 0, err
	}
	defer func() {
		err = errors.Join(err, pods.Delete(context.WithoutCancel(ctx), pod.Name, *metav1.NewDeleteOptions(0)))
	}()
	if err := waitForAnswer(ctx, pod, labsLook); err != nil {
		return 0, err
	}
	return time.Since(begin), nil
}

// labsBare is the label of bare pods; nobody else selects them.
const labsBare = "bench.outposts.dev/bare"

// bareLike returns a pod that is like that of a server but for its names and labels.
func bareLike(server corev1.Pod, i int) *corev1.Pod {
	pod := &corev1.Pod{Spec: server.Spec}
	pod.Name, pod.Labels = fmt.Sprintf("bare-%d", i), map[string]string{labsBare: ""}
	pod.Spec.NodeName = "" // the scheduler chooses
	return pod
}

// takeBare makes a pod like each of those of servers, which go on to run, as their tokens are the new ones' too, all at
// once and by client-go alone, waits until every server answers, and removes them.
func (b *labsBench) takeBare(ctx context.Context, namespace string, like []corev1.Pod) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, labsAnswerMany, fmt.Errorf("they have had %s", labsAnswerMany))
	defer cancel()
	b.run.say("labs: %d bare pods at once", len(like))
	if err := calm(ctx); err != nil {
		return err
	}
	pods, watch := b.clusters[labsMany].CoreV1().Pods(namespace), watchPods(ctx, b.clusters[labsMany], namespace)
	defer func() {
		err = errors.Join(err, pods.DeleteCollection(context.WithoutCancel(ctx), *metav1.NewDeleteOptions(0),
			metav1.ListOptions{LabelSelector: labsBare}))
	}()
	busy, err := busyTime()
	if err != nil {
		return err
	}
	made := make([]corev1.Pod, len(like))
	took, err := atOnce(len(like), func(i int) error {
		pod, err := pods.Create(ctx, bareLike(like[i], i), metav1.CreateOptions{})
		if err != nil {
			return err
		}
		made[i] = *pod
		if err := watch.waitReady(ctx, pod.Name); err != nil {
			return err
		}
		return waitForAnswer(ctx, pod, labsLookMany)
	})
	if err != nil {
		return err
	}
	later, err := busyTime()
	if err != nil {
		return err
	}
	b.together(barePods, len(made), "until the last is ready", "s", took.Seconds())
	return b.allReady(barePods, made, took, later-busy)
}

// waitForAnswer waits until a server answers in its pod, whose containers are processes of this machine.
func waitForAnswer(ctx context.Context, pod *corev1.Pod, look time.Duration) error {
	inside, err := networkOf(ctx, pod)
	if err != nil {
		return err
	}
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(_ context.Context, _, address string) (net.Conn, error) {
			return dialIn(inside, address)
		},
	}}
	for ; ; sleep(ctx, look) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, urlOf(pod), nil)
		if err != nil {
			return err
		}
		answer, err := client.Do(request)
		if ctx.Err() != nil {
			return fmt.Errorf("pod %s does not answer: %w; %w", pod.Name, context.Cause(ctx), err)
		}
		if err != nil {
			continue // it does not listen yet
		}
		_ = answer.Body.Close() // its status says all
		if answer.StatusCode < http.StatusInternalServerError {
			return nil
		}
	}
}

// dialIn connects to an address, in IPv4, in the network of a process.
func dialIn(pid int, address string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	space, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return nil, err
	}
	defer space.Close()
	socket, err := socketIn(space)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(socket), address)
	defer file.Close()
	// It is not left waiting: the address is the pod's own.
	if err := unix.Connect(socket, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}); err != nil {
		return nil, err
	}
	return net.FileConn(file)
}

// socketIn makes a socket in another network: it stays there.
func socketIn(space *os.File) (int, error) {
	runtime.LockOSThread()
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return -1, err
	}
	defer here.Close()
	if err := unix.Setns(int(space.Fd()), unix.CLONE_NEWNET); err != nil {
		return -1, err
	}
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if back := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET); back != nil {
		return -1, errors.Join(err, back) // the thread, which is locked, ends with its goroutine
	}
	runtime.UnlockOSThread()
	return socket, err
}

// networkOf waits for the process that holds the network of a pod, and returns it. The one before it in the pod, which
// becomes it, begins in the network of the node.
func networkOf(ctx context.Context, pod *corev1.Pod) (int, error) {
	for {
		pids, err := processesOf(pod)
		if err != nil {
			return 0, err
		}
		for _, pid := range pids {
			if name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err == nil && string(name) == "pause\n" {
				return pid, nil
			}
		}
		if sleep(ctx, labsLook); ctx.Err() != nil {
			return 0, fmt.Errorf("pod %s has no process: %w", pod.Name, context.Cause(ctx))
		}
	}
}

// urlOf returns what the hub asks a server for first, as the pod itself reaches it.
func urlOf(pod *corev1.Pod) string {
	for _, env := range pod.Spec.Containers[0].Env {
		if env.Name == "JUPYTERHUB_SERVICE_URL" {
			return strings.TrimSuffix(strings.Replace(env.Value, "0.0.0.0", "127.0.0.1", 1), "/") + "/api"
		}
	}
	return ""
}

// processesOf returns the processes of a pod of a cluster on this machine, in the order in which they began.
func processesOf(pod *corev1.Pod) ([]int, error) {
	groups, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, path := range groups {
		text, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(text), "pod"+string(pod.UID)) {
			continue // it has ended, or is of another pod
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	slices.Sort(pids)
	return pids, nil
}
