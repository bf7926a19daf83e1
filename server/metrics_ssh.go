package server

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// sshMetrics are the metrics of the SSH server; it implements sshd.Observer.
type sshMetrics struct {
	handshakes       *prometheus.CounterVec
	handshakeSeconds *prometheus.HistogramVec
	connections      *prometheus.GaugeVec
	tunnels          *prometheus.GaugeVec
	refused          *prometheus.CounterVec
	closed           *prometheus.CounterVec
	dials            *prometheus.CounterVec
	dialSeconds      *prometheus.HistogramVec
	bytes            *prometheus.CounterVec
	keyReloads       *prometheus.CounterVec
}

// init creates the metrics with the constructors of [newMetrics].
func (m *sshMetrics) init(
	counter func(name, help string, labels ...string) *prometheus.CounterVec,
	histogram func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec,
	registry *prometheus.Registry,
) {
	gauge := func(name, help string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "outpost_" + name, Help: help}, []string{"hub"})
		registry.MustRegister(g)
		return g
	}
	quick := []float64{0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10}
	m.handshakes = counter("ssh_handshakes_total", "SSH handshakes, by result.", "result")
	m.handshakeSeconds = histogram("ssh_handshake_seconds", "Duration of a successful SSH handshake.", quick)
	m.connections = gauge("ssh_connections", "Open SSH connections of a hub.")
	m.tunnels = gauge("tunnels", "Open forwarded connections.")
	m.refused = counter(
		"ssh_refused_total", "SSH channels, requests and connections refused, by reason.", "hub", "reason",
	)
	m.closed = counter("ssh_closed_total", "SSH channels closed by the outpost, by reason.", "hub", "reason")
	m.dials = counter("ssh_dials_total", "Connections attempted to the hub's servers, by result.", "hub", "result")
	m.dialSeconds = histogram("ssh_dial_seconds", "Time to connect to a server.", quick, "hub")
	m.bytes = counter("ssh_bytes_total", "Bytes forwarded; up is from the hub to its servers.", "hub", "direction")
	m.keyReloads = counter("ssh_key_reloads_total", "Reloads of changed keys, by result.", "result")
}

// Handshake implements sshd.Observer.
func (m *sshMetrics) Handshake(how string, took time.Duration) {
	m.handshakes.WithLabelValues(how).Inc()
	if how == "ok" {
		m.handshakeSeconds.WithLabelValues().Observe(took.Seconds())
	}
}

// Connection implements sshd.Observer.
func (m *sshMetrics) Connection(hub string, delta int) {
	m.connections.WithLabelValues(hub).Add(float64(delta))
}

// Channel implements sshd.Observer.
func (m *sshMetrics) Channel(hub string, delta int) {
	m.tunnels.WithLabelValues(hub).Add(float64(delta))
}

// Refused implements sshd.Observer.
func (m *sshMetrics) Refused(hub, reason string) { m.refused.WithLabelValues(hub, reason).Inc() }

// Closed implements sshd.Observer.
func (m *sshMetrics) Closed(hub, reason string) { m.closed.WithLabelValues(hub, reason).Inc() }

// Dialled implements sshd.Observer.
func (m *sshMetrics) Dialled(hub string, took time.Duration, err error) {
	m.dials.WithLabelValues(hub, result(err)).Inc()
	m.dialSeconds.WithLabelValues(hub).Observe(took.Seconds())
}

// Copied implements sshd.Observer.
func (m *sshMetrics) Copied(hub string, up, down int64) {
	m.bytes.WithLabelValues(hub, "up").Add(float64(up))
	m.bytes.WithLabelValues(hub, "down").Add(float64(down))
}

// Reloaded implements sshd.Observer.
func (m *sshMetrics) Reloaded(err error) { m.keyReloads.WithLabelValues(result(err)).Inc() }
