// Package config is every knob of the outpost process: what it is called, what it means, what it is when nobody says,
// and what is wrong with a value.
//
// Settings come from the environment ([FromEnv]; [Variables] is the one table of names), from one YAML file that the
// environment names (OUTPOST_CONFIG_FILE) and from mounted Secrets. Whatever is wrong is reported at once, each by
// the name that the operator typed ([Problems]).
package config
