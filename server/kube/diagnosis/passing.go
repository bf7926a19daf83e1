package diagnosis

import (
	"slices"
	"strings"
)

// passingTexts are parts of messages about what passes by itself: a limit that is exceeded for a while, a network or a
// service that does not answer yet, as on a node that has just come, and work that takes its time.
var passingTexts = []string{
	"too many requests", "toomanyrequests", "rate limit", "rate exceeded", "qps exceeded", "throttl",
	"timeout", "timed out", "deadline exceeded", "deadlineexceeded",
	"connection refused", "connection reset", "no route to host", "network is unreachable", "unexpected eof",
	"no such host", "server misbehaving", "name resolution", "tls handshake",
	"internal server error", "bad gateway", "unavailable", "temporarily",
	"code = aborted", "operation with the given volume", "in progress",
	"not registered", "failed to sync", "registered csi drivers", "csinode", "available topology",
	"failed to get target node", "not ready", "being used by another",
}

// passing reports whether a message is about something that passes by itself.
func passing(message string) bool { return containsAny(strings.ToLower(message), passingTexts) }

// finalTexts are parts of messages of registries about images that no attempt will pull.
var finalTexts = []string{
	"not found", "manifest unknown", "name unknown", "does not exist", "no match for platform", "invalid reference",
	"no matching manifest",
}

// deniedTexts are parts of messages of registries that refuse access. A node that has just come may get its own
// credentials a moment later.
var deniedTexts = []string{"unauthorized", "authentication required", "denied", "forbidden"}

// final reports whether no attempt will pull an image; newNode says that its node has just come.
func final(message string, newNode bool) bool {
	message = strings.ToLower(message)
	return !passing(message) && (containsAny(message, finalTexts) || !newNode && containsAny(message, deniedTexts))
}

// heldBack is what the scheduler says of nodes that `kubectl cordon` keeps pods off.
const heldBack = "were unschedulable"

// comingTexts are parts of the scheduler's messages about nodes that are there and may be used a moment later: they
// have just come, restart, or are held back by a person.
var comingTexts = []string{"not-ready", "unreachable", "uninitialized", "unregistered", heldBack}

// NodesComing reports whether the scheduler says that there are nodes which it may use later.
func NodesComing(message string) bool { return containsAny(message, comingTexts) }

func containsAny(text string, parts []string) bool {
	return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(text, part) })
}
