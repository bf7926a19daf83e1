package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/outposts-dev/outposts/e2e/process"
)

const gibibyte = 1 << 30

// measureSSH compares the outpost's SSH server with Debian's sshd: the same client, the same backend, the same keys,
// taken alternately, so that both meet the same load of the machine.
func measureSSH(ctx context.Context, r *run) error {
	b, err := newSSHBench()
	if err != nil {
		return err
	}
	defer b.close()
	if err := b.addSSHD(); err != nil {
		return err
	}
	for _, step := range []struct {
		name string
		run  func(context.Context, *run, *sshBench) error
	}{
		{"ssh/throughput", sshThroughput},
		{"ssh/latency", sshLatency},
		{"ssh/connect", sshConnect},
		{"ssh/delay", sshDelay},
		{"ssh/memory", sshMemory},
	} {
		if !r.wants(step.name) {
			continue
		}
		r.say("%s", step.name)
		if err := step.run(ctx, r, b); err != nil {
			return fmt.Errorf("%s: %w%s", step.name, err, b.complaints())
		}
	}
	return nil
}

// sshThroughput moves bytes each way, with 1 and with 8 streams, with the client's default cipher and aes128-gcm.
// CPU is that of the server alone.
func sshThroughput(ctx context.Context, r *run, b *sshBench) error {
	amount := pick[int64](r, 3*gibibyte/2, gibibyte/2)
	for range pick(r, 5, 2) {
		for _, cipher := range []string{"aes128-gcm@openssh.com", ""} {
			for _, streams := range []int{1, 8} {
				for _, way := range []struct {
					name string
					ask  byte
				}{{"down", askDown}, {"up", askUp}} {
					for _, p := range b.servers {
						if err := ctx.Err(); err != nil {
							return err
						}
						name := fmt.Sprintf("%s/%s/%d", way.name, cipherName(cipher), streams)
						if !r.wants("ssh/throughput/" + name) {
							continue
						}
						took, used, err := b.throughput(p, cipher, way.ask, streams, amount)
						if err != nil {
							return fmt.Errorf("%s, %s: %w", p.name, name, err)
						}
						r.add("ssh/throughput/"+name, p.name, "MB/s", "more", float64(amount)/1e6/took.Seconds())
						r.add("ssh/cpu/"+name, p.name, "CPU-s/GiB", "less", used.Seconds()/(float64(amount)/gibibyte))
					}
				}
			}
		}
	}
	return nil
}

func cipherName(c string) string {
	if c == "" {
		return "default"
	}
	return "aes128-gcm"
}

func (b *sshBench) throughput(
	p *sshServer, cipher string, ask byte, streams int, amount int64,
) (took, used time.Duration, err error) {
	client, local, err := b.tunnel(p, p.addr, cipher)
	if err != nil {
		return 0, 0, err
	}
	defer client.Stop()
	if _, err := transfer(local, ask, streams, 64<<20); err != nil { // warm
		return 0, 0, err
	}
	before := process.CPU(p.process.Pid())
	took, err = transfer(local, ask, streams, amount)
	return took, process.CPU(p.process.Pid()) - before, err
}

// sshLatency sends 64 bytes there and back through an idle tunnel.
func sshLatency(ctx context.Context, r *run, b *sshBench) error {
	const size = 64
	rounds := pick(r, 10000, 2000)
	for range pick(r, 5, 2) {
		for _, p := range b.servers {
			if err := ctx.Err(); err != nil {
				return err
			}
			client, local, err := b.tunnel(p, p.addr, "aes128-gcm@openssh.com")
			if err != nil {
				return err
			}
			times, err := pingPong(local, size, rounds)
			client.Stop()
			if err != nil {
				return err
			}
			slices.Sort(times)
			r.add("ssh/latency/p50", p.name, "us", "less", float64(times[len(times)/2].Nanoseconds())/1e3)
			r.add("ssh/latency/p99", p.name, "us", "less", float64(times[len(times)*99/100].Nanoseconds())/1e3)
		}
	}
	return nil
}

func pingPong(addr string, size, rounds int) ([]time.Duration, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if _, err := c.Write(request(askEcho, 0)); err != nil {
		return nil, err
	}
	msg := make([]byte, size)
	var out []time.Duration
	for i := range rounds + rounds/10 {
		begin := time.Now()
		if _, err := c.Write(msg); err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(c, msg); err != nil {
			return nil, err
		}
		if i >= rounds/10 { // the first are for warming up
			out = append(out, time.Since(begin))
		}
	}
	return out, nil
}

// sshConnect takes the time from dialling to a finished authentication, alone and with 1,000 other connections open.
func sshConnect(ctx context.Context, r *run, b *sshBench) error {
	others := pick(r, 1000, 200)
	rounds := pick(r, 40, 20)
	for _, p := range b.servers {
		if err := b.connects(ctx, r, p, "ssh/connect/alone", rounds); err != nil {
			return err
		}
	}
	for _, p := range b.servers {
		open, err := b.dialMany(p, others)
		if err == nil {
			err = b.connects(ctx, r, p, fmt.Sprintf("ssh/connect/among-%d", others), rounds)
		}
		closeAll(open)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

func (b *sshBench) connects(ctx context.Context, r *run, p *sshServer, name string, rounds int) error {
	for range rounds {
		if err := ctx.Err(); err != nil {
			return err
		}
		begin := time.Now()
		c, err := b.dial(p, 0)
		if err != nil {
			return err
		}
		took := time.Since(begin)
		if err := c.Close(); err != nil {
			return err
		}
		r.add(name, p.name, "ms", "less", float64(took.Microseconds())/1e3)
	}
	return nil
}

// dialMany opens connections, eight at a time.
func (b *sshBench) dialMany(p *sshServer, n int) ([]*ssh.Client, error) {
	var mu sync.Mutex
	var open []*ssh.Client
	var errs []error
	work := make(chan int, n)
	for i := range n {
		work <- i
	}
	close(work)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range work {
				c, err := b.dial(p, i)
				mu.Lock()
				if err != nil {
					errs = append(errs, err)
				} else {
					open = append(open, c)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return open, errors.Join(errs...)
}

func closeAll[C io.Closer](open []C) {
	for _, c := range open {
		_ = c.Close() // the other end may have been first
	}
}

// sshMemory takes what the server holds for 1,000 open channels of one connection: idle, and after 1 MiB each way.
func sshMemory(ctx context.Context, r *run, b *sshBench) error {
	for _, p := range b.servers {
		var idle, used float64
		var err error
		for range 5 { // sshd sometimes closes one of so many channels without a reason; then from the beginning
			if idle, used, err = b.manyChannels(ctx, p, 1000); err == nil || ctx.Err() != nil {
				break
			}
			r.say("ssh/memory: %s: %v; once more", p.name, err)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		r.add("ssh/memory/1000-channels-idle", p.name, "MiB", "less", idle)
		r.add("ssh/memory/1000-channels-after-1-MiB-each", p.name, "MiB", "less", used)
	}
	return nil
}

// manyChannels returns the memory in MiB with n channels open, before and after each has moved 1 MiB down and up.
func (b *sshBench) manyChannels(ctx context.Context, p *sshServer, n int) (idle, used float64, err error) {
	c, err := b.dial(p, 0)
	if err != nil {
		return 0, 0, err
	}
	defer c.Close()
	var open []net.Conn
	each := func(amount int64) (float64, error) {
		for i, ch := range open {
			if err := onlyBytes(ch, amount); err != nil {
				return 0, fmt.Errorf("channel %d: %w", i, err)
			}
		}
		if err := settle(ctx); err != nil {
			return 0, err
		}
		return process.Memory(p.process.Pid())
	}
	for i := range n {
		ch, err := c.Dial("tcp", p.targetOf(i))
		if err != nil {
			return 0, 0, err
		}
		open = append(open, ch)
	}
	if idle, err = each(1); err != nil { // so that all are open
		return 0, 0, err
	}
	used, err = each(1 << 20)
	return idle, used, err
}

// settle waits for what a server does after the work: it is part of "idle" that memory was given back.
func settle(ctx context.Context) error {
	t := time.NewTimer(2 * time.Second)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// onlyBytes moves n bytes down and n bytes up.
func onlyBytes(c net.Conn, n int64) error {
	if _, err := c.Write(request(askDown, n)); err != nil {
		return err
	}
	if k, err := io.CopyN(io.Discard, c, n); err != nil {
		return fmt.Errorf("after %d bytes down: %w", k, err)
	}
	if _, err := c.Write(request(askUp, n)); err != nil {
		return err
	}
	if err := pour(c, n); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}
