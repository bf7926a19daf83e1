package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/outposts-dev/outposts/e2e/process"
)

// openSSH is the usual alternative to the tunnels: one client with a local forwarding for each server.
const openSSH = "ssh"

// measureTunnels takes what `outpost tunnels` cost and how quick they are: the shipped program with a simulated
// Kubernetes API, before the outpost's SSH server. Where data moves, OpenSSH's client leads to the same server.
func measureTunnels(ctx context.Context, r *run) (err error) {
	b, err := newTunnelsBench(ctx, r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	for _, step := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"tunnels/throughput", b.throughputs},
		{"tunnels/service", b.firstBytes},
		{"tunnels/idle", b.idle},
		{"tunnels/service", b.firstBytesAmongMany},
		{"tunnels/start", b.starts},
	} {
		if !r.wants(step.name) {
			continue
		}
		r.say("%s", step.name)
		if err := step.run(ctx); err != nil {
			return fmt.Errorf("%s: %w%s%s", step.name, err, b.complaint(), b.complaints())
		}
	}
	return nil
}

// moving is one way to move bytes.
type moving struct {
	system  string
	way     string
	ask     byte
	streams int
	amount  int64 // bytes
}

// throughputs moves bytes each way, with 1 and with 8 streams, without and with delay. CPU is that of the client.
func (b *tunnelsBench) throughputs(ctx context.Context) error {
	if err := b.start(ctx); err != nil {
		return err
	}
	for _, system := range []string{near, far} {
		for range pick(b.run, 5, 2) {
			for _, streams := range []int{1, 8} {
				amount := pick[int64](b.run, 3*gibibyte/2, gibibyte/2)
				if system == far { // a stream has one window on the way, so that it takes seconds
					amount = pick[int64](b.run, gibibyte/4, gibibyte/16) * int64(min(streams, 4))
				}
				for _, m := range []moving{
					{system, "down", askDown, streams, amount},
					{system, "up", askUp, streams, amount},
				} {
					if err := b.throughputOf(ctx, m); err != nil {
						return fmt.Errorf("%+v: %w", m, err)
					}
				}
			}
		}
	}
	return nil
}

// throughputOf moves bytes through the tunnels, then through OpenSSH's client.
func (b *tunnelsBench) throughputOf(ctx context.Context, m moving) error {
	name := fmt.Sprintf("%s/%s/%d", delayOf[m.system], m.way, m.streams)
	for _, subject := range []string{outpostSubject, openSSH} {
		if err := ctx.Err(); err != nil {
			return err
		}
		took, used, err := b.throughput(subject, m)
		if err != nil {
			return fmt.Errorf("%s: %w", subject, err)
		}
		b.run.add("tunnels/throughput/"+name, subject, "MB/s", "more", float64(m.amount)/1e6/took.Seconds())
		b.run.add("tunnels/cpu/"+name, subject, "CPU-s/GiB", "less", used.Seconds()/(float64(m.amount)/gibibyte))
	}
	return nil
}

// throughput moves bytes and returns how long it took, and the processor time of the client.
func (b *tunnelsBench) throughput(subject string, m moving) (took, used time.Duration, err error) {
	client, local := b.program.process, localOf(b.first[m.system])
	if subject == openSSH {
		if client, local, err = b.tunnel(b.servers[0], b.addresses[m.system], ""); err != nil {
			return 0, 0, err
		}
		defer client.Stop()
	}
	if _, err := transfer(local, m.ask, m.streams, int64(m.streams)<<23); err != nil { // warm
		return 0, 0, err
	}
	before := process.CPU(client.Pid())
	took, err = transfer(local, m.ask, m.streams, m.amount)
	return took, process.CPU(client.Pid()) - before, err
}

// firstBytes takes the time from when a Service is made until a byte has come through its port.
func (b *tunnelsBench) firstBytes(ctx context.Context) error { return b.firstBytesOf(ctx, "alone") }

// firstBytesAmongMany is firstBytes where there are many Services.
func (b *tunnelsBench) firstBytesAmongMany(ctx context.Context) error {
	if err := b.fill(ctx, manyTunnels); err != nil {
		return err
	}
	return b.firstBytesOf(ctx, fmt.Sprintf("among %d", manyTunnels))
}

func (b *tunnelsBench) firstBytesOf(ctx context.Context, where string) error {
	if err := errors.Join(b.start(ctx), b.untilByte(ctx, b.first[near])); err != nil {
		return err
	}
	for range pick(b.run, 40, 10) {
		begin := time.Now()
		if err := b.fill(ctx, len(b.made)+1); err != nil {
			return err
		}
		if err := b.untilByte(ctx, b.made[len(b.made)-1]); err != nil {
			return err
		}
		b.run.add("tunnels/service/first byte, "+where, outpostSubject, "ms", "less", milliseconds(time.Since(begin)))
	}
	return nil
}

// untilByte asks at a port until a byte has come through it.
func (b *tunnelsBench) untilByte(ctx context.Context, port int) error {
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if err = oneByte(localOf(port)); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return fmt.Errorf("port %d: %w", port, err)
}

// oneByte lets a byte come through a port.
func oneByte(address string) error {
	conn, err := openByte(address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// byteTime is how long a byte may take: longer than the tunnels let a stream wait for its system and its server.
const byteTime = 30 * time.Second

// openByte opens a stream at a port, through which a byte has come.
func openByte(address string) (net.Conn, error) {
	conn, err := net.DialTimeout("tcp", address, byteTime)
	if err != nil {
		return nil, err
	}
	err = conn.SetDeadline(time.Now().Add(byteTime))
	if err == nil {
		_, err = conn.Write(request(askDown, 1))
	}
	if err == nil {
		_, err = io.ReadFull(conn, make([]byte, 1))
	}
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// idle takes what many tunnels cost that nobody uses: without streams, and with one open in each.
func (b *tunnelsBench) idle(ctx context.Context) error {
	if err := b.fill(ctx, manyTunnels); err != nil {
		return err
	}
	for range pick(b.run, 3, 1) {
		if err := b.start(ctx); err != nil {
			return err
		}
		if err := b.rest(ctx, fmt.Sprintf("%d tunnels", manyTunnels)); err != nil {
			return err
		}
		open, err := openEach(b.made[:manyTunnels])
		if err == nil {
			err = b.rest(ctx, fmt.Sprintf("%d tunnels, a stream in each", manyTunnels))
		}
		closeAll(open)
		if err != nil {
			return err
		}
	}
	return nil
}

// openEach opens a stream at each of many ports, through which a byte has come.
func openEach(ports []int) (open []net.Conn, err error) {
	for _, port := range ports {
		conn, err := openByte(localOf(port))
		if err != nil {
			return open, fmt.Errorf("port %d: %w", port, err)
		}
		open = append(open, conn)
	}
	return open, nil
}

// rest takes memory and processor time while nothing moves.
func (b *tunnelsBench) rest(ctx context.Context, name string) error {
	const settled = 5 * time.Second
	quiet := pick(b.run, 30*time.Second, 15*time.Second)
	pid := b.program.process.Pid()
	sleep(ctx, settled)
	before := process.CPU(pid)
	sleep(ctx, quiet)
	used := process.CPU(pid) - before
	memory, err := process.Memory(pid)
	if err = errors.Join(err, ctx.Err()); err != nil {
		return err
	}
	b.run.add("tunnels/idle/busy, "+name, outpostSubject, "% of a core", "less",
		used.Seconds()/quiet.Seconds()*100)
	b.run.add("tunnels/idle/memory, "+name, outpostSubject, "MiB", "less", memory)
	return nil
}

// starts takes how long a process with very many Services takes until it says that it is ready, and until a byte has
// come through each of them, which are asked one after the other on several connections.
func (b *tunnelsBench) starts(ctx context.Context) error {
	if err := b.fill(ctx, mostTunnels); err != nil {
		return err
	}
	for range pick(b.run, 5, 2) {
		begin := time.Now()
		if err := b.start(ctx); err != nil {
			return err
		}
		ready := time.Since(begin)
		if err := b.allBytes(ctx, b.made[:mostTunnels]); err != nil {
			return err
		}
		all := time.Since(begin)
		for name, took := range map[string]time.Duration{"ready": ready, "a byte through each": all} {
			b.run.add(fmt.Sprintf("tunnels/start/%s, %d Services", name, mostTunnels), outpostSubject, "s", "less",
				took.Seconds())
		}
	}
	return nil
}

// allBytes lets a byte come through each of many ports.
func (b *tunnelsBench) allBytes(ctx context.Context, ports []int) error {
	const asking = 8
	errs := make(chan error, asking)
	for i := range asking {
		go func() {
			var err error
			for k := i; k < len(ports) && err == nil; k += asking {
				err = b.untilByte(ctx, ports[k])
			}
			errs <- err
		}()
	}
	var all []error
	for range asking {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}
