// Package published tests on real clusters what docs/examples describes: the published scenarios, from files as an
// operator has them. It exists because they need an ACME server and stacks of their own beside those of `make up`,
// which is itself the test of the scenario by node ports.
package published
