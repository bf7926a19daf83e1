// Package config holds every setting of the outpost process: its name, its meaning, its default, and what is wrong with
// a value.
//
// Settings come from the environment ([FromEnv]; [Variables] is the one table of names), from one YAML file that the
// environment names (OUTPOST_CONFIG_FILE) and from mounted Secrets. Everything that is wrong is reported at once, each
// by the name that the operator typed ([Problems]).
package config
