package config

import (
	"log/slog"
	"net"
	"regexp"
	"strconv"
	"time"
)

// Tunnels are the settings of the process that leads a hub's cluster to servers on others.
type Tunnels struct {
	Name          string        // OUTPOST_TUNNELS_NAME: whose Services are served, the value of outposts.dev/tunnels
	Namespace     string        // OUTPOST_TUNNELS_NAMESPACE: where they are; empty for that of this process
	Ports         string        // OUTPOST_TUNNELS_PORTS: what may be listened on for them, "20000-29999"
	SystemsFile   string        // OUTPOST_TUNNELS_SYSTEMS_FILE: YAML, addresses and host keys of the outposts
	KeyFile       string        // OUTPOST_TUNNELS_KEY_FILE: private key to log in to them with
	Drain         time.Duration // OUTPOST_TUNNELS_DRAIN: for streams to end when the process does
	MetricsListen string        // OUTPOST_METRICS_LISTEN: address of metrics, probes and states, ":8081"
	DialOutListen string        // OUTPOST_TUNNELS_DIAL_OUT_LISTEN: address where outposts connect; empty for none
	APIListen     string        // OUTPOST_TUNNELS_API_LISTEN: address of the APIs of those outposts; empty for none
	LogLevel      slog.Level    // OUTPOST_LOG_LEVEL
	LogFormat     string        // OUTPOST_LOG_FORMAT: "json" or "text"
}

// DefaultTunnels returns the defaults.
func DefaultTunnels() Tunnels {
	general := Default()
	return Tunnels{
		Ports: "20000-29999", Drain: 5 * time.Minute,
		SystemsFile: "/mnt/tunnels/systems.yaml", KeyFile: "/mnt/tunnels_key/ssh-privatekey",
		MetricsListen: general.MetricsListen, LogLevel: general.LogLevel, LogFormat: general.LogFormat,
	}
}

// TunnelsVariables is the table of names, in the order of the help text.
func TunnelsVariables() []Variable {
	c := DefaultTunnels()
	return c.variables()
}

func (c *Tunnels) variables() []Variable {
	return []Variable{
		{"OUTPOST_TUNNELS_NAME", "Whose Services are served: the value of their label outposts.dev/tunnels.", &c.Name},
		{"OUTPOST_TUNNELS_NAMESPACE", "Namespace of the Services; empty for that of this process.", &c.Namespace},
		{
			"OUTPOST_TUNNELS_PORTS",
			"Ports that Services may have; below those that Linux gives to outgoing connections.",
			&c.Ports,
		},
		{"OUTPOST_TUNNELS_SYSTEMS_FILE", "YAML file of the systems; read again on change.", &c.SystemsFile},
		{
			"OUTPOST_TUNNELS_KEY_FILE",
			"Private key to log in to the systems with; read again on change, for the next connection.",
			&c.KeyFile,
		},
		{"OUTPOST_TUNNELS_DRAIN", "Seconds that open streams may last when this process is to end.", &c.Drain},
		{
			"OUTPOST_METRICS_LISTEN",
			"Address of /healthz, /readyz, /metrics, /systems/NAME and /services/NAME; empty for none.",
			&c.MetricsListen,
		},
		{
			"OUTPOST_TUNNELS_DIAL_OUT_LISTEN",
			"Address where outposts connect that dial out, by WebSocket at any path ending in /SYSTEM; empty for none.",
			&c.DialOutListen,
		},
		{
			"OUTPOST_TUNNELS_API_LISTEN",
			"Address where the hub finds the APIs of those outposts, at /systems/SYSTEM; empty for none.",
			&c.APIListen,
		},
		{"OUTPOST_LOG_LEVEL", "debug, info, warn or error.", &c.LogLevel},
		{"OUTPOST_LOG_FORMAT", "json or text.", &c.LogFormat},
	}
}

// labelValue is what Kubernetes takes for the value of a label.
var labelValue = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)

// TunnelsFromEnv reads the settings as [FromEnv] does those of an outpost.
func TunnelsFromEnv(lookup func(string) (string, bool)) (Tunnels, error) {
	c := DefaultTunnels()
	var p Problems
	p.assign(c.variables(), lookup)
	if c.Name == "" {
		p.addf("OUTPOST_TUNNELS_NAME", "is empty; set the value of outposts.dev/tunnels that the hub's Services have")
	} else if !labelValue.MatchString(c.Name) {
		p.addf("OUTPOST_TUNNELS_NAME", "%q cannot be the value of a label", c.Name)
	}
	if c.Drain < 0 {
		p.addf("OUTPOST_TUNNELS_DRAIN", "%v is less than 0", c.Drain)
	}
	for _, l := range c.listeners() {
		if l.address != "" {
			p.address(l.name, l.address)
		}
	}
	if c.LogFormat != "json" && c.LogFormat != "text" {
		p.addf("OUTPOST_LOG_FORMAT", "%q is neither json nor text", c.LogFormat)
	}
	return c, p.orNil()
}

// ListenerIn returns the variable of a listener whose port fulfils a condition; "" for none.
func (c *Tunnels) ListenerIn(taken func(port int) bool) string {
	for _, l := range c.listeners() {
		_, port, _ := net.SplitHostPort(l.address)
		if n, err := strconv.Atoi(port); err == nil && taken(n) { // checked with the settings
			return l.name
		}
	}
	return ""
}

type namedAddress struct{ name, address string }

// listeners are what is listened on beside the ports of Services.
func (c *Tunnels) listeners() []namedAddress {
	return []namedAddress{
		{"OUTPOST_METRICS_LISTEN", c.MetricsListen},
		{"OUTPOST_TUNNELS_DIAL_OUT_LISTEN", c.DialOutListen},
		{"OUTPOST_TUNNELS_API_LISTEN", c.APIListen},
	}
}
