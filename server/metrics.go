package server

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/outposts-dev/outposts/server/lifecycle"
	"github.com/outposts-dev/outposts/server/offer"
	"github.com/outposts-dev/outposts/server/outpost"
)

// metrics are the metrics of this process. Labels come from closed sets and from the names of the configured hubs.
type metrics struct {
	registry *prometheus.Registry

	starts        *prometheus.CounterVec
	startFailures *prometheus.CounterVec
	startSeconds  *prometheus.HistogramVec
	startsRefused *prometheus.CounterVec
	stops         *prometheus.CounterVec
	stopSeconds   *prometheus.HistogramVec
	stopRetries   *prometheus.CounterVec
	hubCalls      *prometheus.CounterVec

	databaseSeconds *prometheus.HistogramVec
	databaseErrors  *prometheus.CounterVec
	reloads         *prometheus.CounterVec
	leader          prometheus.Gauge
	oldKeys         prometheus.Gauge
	auditDropped    prometheus.Counter
	dropped         *prometheus.CounterVec
	dials           *prometheus.CounterVec
	dialled         *prometheus.GaugeVec

	ssh sshMetrics
}

var (
	startBuckets    = []float64{0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600}
	databaseBuckets = []float64{0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10}
)

// lastBackupTimeout bounds how long a request for metrics waits for the database. Only tests have another one.
var lastBackupTimeout = 2 * time.Second

func newMetrics() *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "outpost_" + name, Help: help}, labels)
		m.registry.MustRegister(c)
		return c
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(
			prometheus.HistogramOpts{Name: "outpost_" + name, Help: help, Buckets: buckets}, labels)
		m.registry.MustRegister(h)
		return h
	}
	m.starts = counter("starts_total", "Servers started.", "hub")
	m.startFailures = counter("start_failures_total", "Starts that failed, by reason.", "hub", "reason")
	m.startSeconds = histogram("start_seconds",
		"Time from a start request until the server is ready.", startBuckets, "hub")
	m.startsRefused = counter("starts_refused_total",
		"Starts refused before anything was created, by reason.", "hub", "reason")
	m.stops = counter("stops_total", "Servers removed, by reason.", "hub", "reason")
	m.stopSeconds = histogram("stop_seconds", "Time from a stop request until the pod is gone.", startBuckets, "hub")
	m.stopRetries = counter("stop_retries_total", "Removals that failed and are retried.", "hub")
	m.hubCalls = counter("hub_calls_total",
		"Calls to hubs (event, flavors, tunnel, restart, servers), by result.", "hub", "call", "result")
	m.databaseSeconds = histogram("database_seconds", "Duration of a database operation.", databaseBuckets, "operation")
	m.databaseErrors = counter("database_errors_total", "Database operations that failed.", "operation")
	m.dropped = counter("http_connections_dropped_total",
		"HTTP connections closed because of a limit, by listener (api, metrics) and reason.", "listener", "reason")
	m.reloads = counter("reloads_total", "Reloads of changed files, by result.", "what", "result")
	m.auditDropped = counter("audit_lines_dropped_total",
		"Audit lines that were lost: writing failed or was too slow.").WithLabelValues()
	m.dials = counter("dial_out_total", "Attempts to connect to a hub's tunnels, by result.", "url", "result")
	m.dialled = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "outpost_dial_out_connections", Help: "Connections to the replicas of a hub's tunnels.",
	}, []string{"url"})
	m.leader = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "outpost_leader", Help: "1 if this process does the periodic work, otherwise 0.",
	})
	m.oldKeys = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "outpost_old_key_services",
		Help: "Services that the process which leads has found sealed with another key than the first.",
	})
	m.registry.MustRegister(m.leader, m.oldKeys, m.dialled, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.ssh.init(counter, histogram, m.registry)
	return m
}

// handler answers /metrics.
func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry})
}

// ServiceStarted implements [outpost.Observer].
func (m *metrics) ServiceStarted(s outpost.Subject, d time.Duration, reason string) {
	if reason != "" {
		m.startFailures.WithLabelValues(s.Hub, reason).Inc()
		return
	}
	m.starts.WithLabelValues(s.Hub).Inc()
	m.startSeconds.WithLabelValues(s.Hub).Observe(d.Seconds())
}

// StartRefused implements [outpost.Observer].
func (m *metrics) StartRefused(s outpost.Subject, reason string) {
	m.startsRefused.WithLabelValues(s.Hub, reason).Inc()
}

// ServiceEnded implements [outpost.Observer].
func (m *metrics) ServiceEnded(outpost.Subject, int, string) {}

// ServiceStopped implements [outpost.Observer].
func (m *metrics) ServiceStopped(s outpost.Subject, d time.Duration, reason string) {
	m.stops.WithLabelValues(s.Hub, reason).Inc()
	m.stopSeconds.WithLabelValues(s.Hub).Observe(d.Seconds())
}

// StopRetried implements [outpost.Observer].
func (m *metrics) StopRetried(hub string) { m.stopRetries.WithLabelValues(hub).Inc() }

// HubCalled implements [outpost.Observer].
func (m *metrics) HubCalled(hub, call string, err error) {
	m.hubCalls.WithLabelValues(hub, call, result(err)).Inc()
}

// database counts an operation of the store.
func (m *metrics) database(operation string, d time.Duration, err error) {
	m.databaseSeconds.WithLabelValues(operation).Observe(d.Seconds())
	if err != nil {
		m.databaseErrors.WithLabelValues(operation).Inc()
	}
}

// reloaded counts a reload of a changed file.
func (m *metrics) reloaded(what string, err error) {
	m.reloads.WithLabelValues(what, result(err)).Inc()
}

// connectionDropped returns what counts the connections of a listener that are closed because of a limit.
func (m *metrics) connectionDropped(listener string) func(reason string) {
	return func(reason string) { m.dropped.WithLabelValues(listener, reason).Inc() }
}

func result(err error) string {
	if err != nil {
		return "error"
	}
	return "ok"
}

// gauge adds a number that is read when metrics are requested.
func (m *metrics) gauge(name, help string, labels prometheus.Labels, read func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(
		prometheus.GaugeOpts{Name: "outpost_" + name, Help: help, ConstLabels: labels}, read))
}

// counter is the part of a Manager that counts.
type counter interface {
	Counts() []lifecycle.Count
	FlavorUse() []offer.FlavorUse
	ServersOf(hub string) (limit *int)
	Watches() map[string]int
	Unseen() []string
}

// watchManager adds what a Manager counts. age is the time since Kubernetes last sent something; nil if it is unknown.
func (m *metrics) watchManager(c counter, age func() time.Duration) {
	m.registry.MustRegister(services{c}, flavorUse(c.FlavorUse), watches(c.Watches))
	m.gauge("unseen_namespaces",
		"Configured namespaces whose pods cannot be listed; their services are kept as they are.", nil,
		func() float64 { return float64(len(c.Unseen())) })
	if age != nil {
		m.gauge("informer_age_seconds", "Time since Kubernetes last sent something about pods.", nil,
			func() float64 { return age().Seconds() })
	}
}

// watchMaintenance adds what a Keeper sees.
func (m *metrics) watchMaintenance(state func() int) {
	m.gauge("maintenance", "0 if no maintenance is announced, 1 before one, 2 in one.", nil,
		func() float64 { return float64(state()) })
}

// watchCertificate adds the time that a certificate is for.
func (m *metrics) watchCertificate(c *certificate) {
	m.gauge("certificate_begin_timestamp_seconds",
		"When the certificate of the API begins, in seconds since 1970.", nil,
		func() float64 { return float64(c.current.Load().Leaf.NotBefore.Unix()) })
	m.gauge("certificate_end_timestamp_seconds", "When the certificate of the API ends, in seconds since 1970.", nil,
		func() float64 { return float64(c.current.Load().Leaf.NotAfter.Unix()) })
}

// watchBackups adds when the last backup was made, which the database says.
func (m *metrics) watchBackups(last func(context.Context) (time.Time, error)) {
	m.registry.MustRegister(lastBackup(last))
}

// lastBackup is when the last backup was made. It is read when metrics are requested: another process makes backups.
type lastBackup func(context.Context) (time.Time, error)

var lastBackupDesc = prometheus.NewDesc("outpost_backup_timestamp_seconds",
	"When the last backup of the database was made, in Unix time. Absent if there was none.", nil, nil)

// Describe implements [prometheus.Collector].
func (lastBackup) Describe(ch chan<- *prometheus.Desc) { ch <- lastBackupDesc }

// Collect implements [prometheus.Collector].
func (read lastBackup) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), lastBackupTimeout)
	defer cancel()
	if at, err := read(ctx); err == nil && !at.IsZero() {
		ch <- prometheus.MustNewConstMetric(lastBackupDesc, prometheus.GaugeValue, float64(at.Unix()))
	}
}

// watchConnections adds how many connections of the API have not logged in and how many have.
func (m *metrics) watchConnections(counts func() (newcomers, loggedIn int)) {
	const name, help = "api_connections", "Open connections of the API, by whether a hub has logged in on them."
	m.gauge(name, help, prometheus.Labels{"login": "no"}, func() float64 { n, _ := counts(); return float64(n) })
	m.gauge(name, help, prometheus.Labels{"login": "yes"}, func() float64 { _, n := counts(); return float64(n) })
}

// services counts the services in memory when metrics are requested, by state, and as the limits of hubs count them.
type services struct{ counter }

var (
	servicesDesc = prometheus.NewDesc("outpost_services",
		"Services in memory, by hub and state.", []string{"hub", "state"}, nil)
	hubUsedDesc = prometheus.NewDesc("outpost_hub_used",
		"Services of a hub that are not being stopped.", []string{"hub"}, nil)
	hubLimitDesc = prometheus.NewDesc("outpost_hub_limit",
		"Limit of a hub's services, of any flavor. Absent without a limit.", []string{"hub"}, nil)
)

// Describe implements [prometheus.Collector].
func (services) Describe(ch chan<- *prometheus.Desc) {
	ch <- servicesDesc
	ch <- hubUsedDesc
	ch <- hubLimitDesc
}

// Collect implements [prometheus.Collector].
func (s services) Collect(ch chan<- prometheus.Metric) {
	used := map[string]int{}
	for _, c := range s.Counts() {
		ch <- prometheus.MustNewConstMetric(servicesDesc, prometheus.GaugeValue, float64(c.Services), c.Hub, c.State)
		if c.State != "stopping" {
			used[c.Hub] += c.Services
		}
	}
	for hub, n := range used {
		ch <- prometheus.MustNewConstMetric(hubUsedDesc, prometheus.GaugeValue, float64(n), hub)
		if limit := s.ServersOf(hub); limit != nil {
			ch <- prometheus.MustNewConstMetric(hubLimitDesc, prometheus.GaugeValue, float64(*limit), hub)
		}
	}
}

// watches counts the open watches when metrics are requested.
type watches func() map[string]int

var watchesDesc = prometheus.NewDesc("outpost_watches", "Open watches of a hub.", []string{"hub"}, nil)

// Describe implements [prometheus.Collector].
func (watches) Describe(ch chan<- *prometheus.Desc) { ch <- watchesDesc }

// Collect implements [prometheus.Collector].
func (w watches) Collect(ch chan<- prometheus.Metric) {
	for hub, n := range w() {
		ch <- prometheus.MustNewConstMetric(watchesDesc, prometheus.GaugeValue, float64(n), hub)
	}
}

// flavorUse counts the services of each flavor in memory when metrics are requested.
type flavorUse func() []offer.FlavorUse

var (
	flavorUsedDesc = prometheus.NewDesc("outpost_flavor_used",
		"Services of a flavor that are not being stopped, by hub.", []string{"hub", "flavor"}, nil)
	flavorLimitDesc = prometheus.NewDesc("outpost_flavor_limit",
		"Limit of a flavor's services for a hub; those of other hubs count too, unless an override sets it. "+
			"Absent without a limit.", []string{"hub", "flavor"}, nil)
)

// Describe implements [prometheus.Collector].
func (flavorUse) Describe(ch chan<- *prometheus.Desc) {
	ch <- flavorUsedDesc
	ch <- flavorLimitDesc
}

// Collect implements [prometheus.Collector].
func (f flavorUse) Collect(ch chan<- prometheus.Metric) {
	for _, u := range f() {
		ch <- prometheus.MustNewConstMetric(
			flavorUsedDesc, prometheus.GaugeValue, float64(u.Used), u.Hub, u.Flavor)
		if u.Limit != nil {
			ch <- prometheus.MustNewConstMetric(
				flavorLimitDesc, prometheus.GaugeValue, float64(*u.Limit), u.Hub, u.Flavor)
		}
	}
}
