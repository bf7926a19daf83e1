package config

import (
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/outposts-dev/outposts/server/outpost"
)

// assign sets a field from what was typed; it returns what is wrong with that, or "".
func assign(field any, typed string) string {
	switch f := field.(type) {
	case *string:
		*f = typed
	case *outpost.Secret:
		*f = outpost.Secret(typed)
	case *[]outpost.Secret:
		for _, key := range strings.FieldsFunc(typed, isSeparator) {
			*f = append(*f, outpost.Secret(key))
		}
	case *[]string:
		*f = strings.FieldsFunc(typed, isSeparator)
	case *bool:
		switch strings.ToLower(typed) {
		case "true", "1":
			*f = true
		case "false", "0", "no", "off":
			*f = false
		default:
			return "neither true nor false"
		}
	case *int:
		n, err := strconv.Atoi(typed)
		if err != nil {
			return "not a whole number"
		}
		*f = n
	case *time.Duration:
		d, err := time.ParseDuration(typed)
		if seconds, numberErr := strconv.ParseInt(typed, 10, 32); numberErr == nil {
			d, err = time.Duration(seconds)*time.Second, nil
		}
		if err != nil {
			return "not a number of seconds"
		}
		*f = d
	case *slog.Level:
		if f.UnmarshalText([]byte(typed)) != nil {
			return "not one of debug, info, warn, error"
		}
	}
	return ""
}

// isSeparator reports whether a character stands between the entries of a list.
func isSeparator(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }

// show returns a field as it would be typed; "" for a secret.
func show(field any) string {
	switch f := field.(type) {
	case *string:
		return *f
	case *bool:
		return strconv.FormatBool(*f)
	case *int:
		return strconv.Itoa(*f)
	case *time.Duration:
		return strconv.Itoa(int(*f / time.Second))
	case *slog.Level:
		return strings.ToLower(f.String())
	}
	return ""
}

// LogValue shows where services are kept, without the password.
func (d Database) LogValue() slog.Value {
	if d.Type == SQLite {
		return slog.GroupValue(slog.String("type", d.Type), slog.String("path", d.Path))
	}
	return slog.GroupValue(slog.String("type", d.Type), slog.String("host", d.Host), slog.Int("port", d.Port),
		slog.String("database", d.Name))
}
