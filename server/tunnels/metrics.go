package tunnels

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what is counted. Labels are the systems of the file, and closed sets.
type metrics struct {
	connections    *prometheus.CounterVec
	connectSeconds *prometheus.HistogramVec
	streams        *prometheus.CounterVec
	openSeconds    *prometheus.HistogramVec
	services       *prometheus.GaugeVec
}

func newMetrics() *metrics {
	quick := []float64{0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "outpost_tunnels_" + name, Help: help}, labels)
	}
	histogram := func(name, help string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(
			prometheus.HistogramOpts{Name: "outpost_tunnels_" + name, Help: help, Buckets: quick}, []string{"system"})
	}
	return &metrics{
		connections:    counter("connections_total", "Attempts to connect to a system, by result.", "system", "result"),
		connectSeconds: histogram("connect_seconds", "Duration of an attempt to connect to a system."),
		streams:        counter("streams_total", "Streams, by how they began.", "system", "result"),
		openSeconds:    histogram("open_seconds", "Time to open a stream, the wait for a connection included."),
		services: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "outpost_tunnels_services", Help: "Services for remote servers, by state: Served, or why not.",
		}, []string{"state"}),
	}
}

// Descriptions of what is read from lines when metrics are requested.
var (
	connectedDesc = prometheus.NewDesc("outpost_tunnels_connected",
		"1 if there is a connection to the system, otherwise 0.", []string{"system"}, nil)
	seenDesc = prometheus.NewDesc("outpost_tunnels_last_seen_timestamp_seconds",
		"When there was a connection to the system last; 0 for never, and now while there is one.",
		[]string{"system"}, nil)
	streamsDesc = prometheus.NewDesc("outpost_tunnels_streams", "Open streams.", []string{"system"}, nil)
	bytesDesc   = prometheus.NewDesc("outpost_tunnels_bytes_total",
		"Bytes forwarded; up is to the servers.", []string{"system", "direction"}, nil)
)

// Describe implements [prometheus.Collector].
func (t *Tunnels) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range t.metrics.all() {
		c.Describe(ch)
	}
	ch <- connectedDesc
	ch <- seenDesc
	ch <- streamsDesc
	ch <- bytesDesc
}

// Collect implements [prometheus.Collector].
func (t *Tunnels) Collect(ch chan<- prometheus.Metric) {
	for _, c := range t.metrics.all() {
		c.Collect(ch)
	}
	for name, l := range t.shown() {
		connected, seen := 0.0, l.lastSeen()
		if _, state, _ := l.current(); state == Connected {
			connected, seen = 1, time.Now()
		}
		ch <- prometheus.MustNewConstMetric(seenDesc, prometheus.GaugeValue, seconds(seen), name)
		ch <- prometheus.MustNewConstMetric(connectedDesc, prometheus.GaugeValue, connected, name)
		ch <- prometheus.MustNewConstMetric(streamsDesc, prometheus.GaugeValue, float64(l.streams.Load()), name)
		ch <- prometheus.MustNewConstMetric(bytesDesc, prometheus.CounterValue, float64(l.up.Load()), name, "up")
		ch <- prometheus.MustNewConstMetric(bytesDesc, prometheus.CounterValue, float64(l.down.Load()), name, "down")
	}
}

// seconds is the Unix time; 0 for the zero time.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.Unix())
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.connections, m.connectSeconds, m.streams, m.openSeconds, m.services}
}
