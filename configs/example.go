package configs

import _ "embed"

//go:embed postrider.example.yaml
var example string

// Example returns a commented postrider.yaml that holds every key with its
// default.
func Example() string { return example }
