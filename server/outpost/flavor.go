package outpost

// Flavor is a named set of resources and limits that a user picks, as the hub is told it: the mapping from the
// flavors file with every key, known or not, and "current" added by usage. Known keys: display_name,
// description, weight, max, maxPerUser, runtime, resources (contract 3.2).
type Flavor map[string]any
